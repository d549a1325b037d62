"""Serves simulated upstreams as a program: `python -m tests.kit.serve --control SOCKET dockerhub ghcr`.

It ends when its standard input does, so that it never outlives the test that started it.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import signal
import socket
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from tests.kit import control
from tests.kit.certificates import Authority
from tests.kit.profiles import FIVE, Profile, profile
from tests.kit.upstream import Place, SimulatedUpstream

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.kit.wire import Role


def main(arguments: Sequence[str] | None = None) -> None:
    """Run until standard input ends or a signal says so."""
    parser = argparse.ArgumentParser(prog="python -m tests.kit.serve", description=__doc__)
    parser.add_argument("profiles", nargs="*", help="names from tests/kit/profiles.py")
    parser.add_argument("--all", action="store_true", help="the five main registries")
    parser.add_argument("--control", type=Path, required=True, help="path of the Unix socket for commands")
    parser.add_argument("--authority", type=Path, help="folder with ca.pem and ca.key: serve TLS")
    parser.add_argument(
        "--address", default="127.0.0.1", help="address to listen on, each server on its own port"
    )
    parser.add_argument("--port", type=int, default=0, help="port of the registry, when it is only one")
    parser.add_argument(
        "--real-names", action="store_true", help="listen where the real names lead, port 443"
    )
    asyncio.run(serve(parser.parse_args(arguments)))


async def serve(options: argparse.Namespace) -> None:
    """Start the upstreams, then the control socket: when that exists, all is ready."""
    names = [each.name for each in FIVE] if options.all else options.profiles
    upstreams = {name: _upstream(profile(name), options) for name in names}
    async with contextlib.AsyncExitStack() as stack:
        for name, upstream in upstreams.items():
            await stack.enter_async_context(upstream)
            print(f"{name}: {upstream.url}", flush=True)
        preparing = options.control.with_suffix(".new")
        await stack.enter_async_context(await control.serve(upstreams, str(preparing)))
        preparing.rename(options.control)
        stack.callback(options.control.unlink)
        await _end()


def _real_place(host: str) -> Place:
    name, _, port = host.partition(":")
    return Place(socket.gethostbyname(name), int(port or 443), host)


def _upstream(kind: Profile, options: argparse.Namespace) -> SimulatedUpstream:
    hosts: dict[Role, str] = {
        "registry": kind.registry_host,
        "token": kind.token_host,
        "storage": kind.storage_host,
        "backend": kind.backend_host,
    }
    known = {role: host for role, host in hosts.items() if host}
    if options.real_names:
        places = {role: _real_place(host) for role, host in known.items()}
        names = [host.partition(":")[0] for host in known.values()]
    else:
        places = {role: Place(options.address) for role in known} | {
            "registry": Place(options.address, options.port)
        }
        names = [options.address, "localhost"]
    tls = Authority.load(options.authority).server_context(*names) if options.authority else None
    return SimulatedUpstream(kind, places=places, tls=tls)


async def _end() -> None:
    ended = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, ended.set)

    def read() -> None:
        if not os.read(sys.stdin.fileno(), 1024):
            ended.set()

    loop.add_reader(sys.stdin.fileno(), read)
    await ended.wait()
    loop.remove_reader(sys.stdin.fileno())


if __name__ == "__main__":
    main()
