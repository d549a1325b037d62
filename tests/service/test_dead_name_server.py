"""A name server that never responds: what is cached is served as fast as ever."""

from __future__ import annotations

import contextlib
import os
import socket
import statistics
import threading
import time
from typing import TYPE_CHECKING, Self

import pytest
from tests.kit.waiting import wait_until
from tests.service.conftest import IMAGE
from tests.service.program import Program

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.kit.remote import RemoteUpstream

# More than the threads that asyncio shares between look-ups, disk and everything else.
DEAD = 40
LAYER = IMAGE.layers[0]
CACHED = {
    "/v2/sim.test/acme/app/manifests/latest": IMAGE.raw,
    f"/v2/sim.test/acme/app/manifests/{IMAGE.digest}": IMAGE.raw,
    f"/v2/sim.test/acme/app/blobs/{LAYER.digest}": LAYER.raw,
}


class DeadNameServer:
    """A name server that receives questions and sends no responses, and the files that make a program use it."""

    def __init__(self, folder: Path) -> None:
        self._resolv, self._hosts = folder / "resolv.conf", folder / "hosts"
        self.questions: set[bytes] = set()

    def __enter__(self) -> Self:
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        # An address of this test alone. 5 s and two attempts are the defaults of the C library.
        address = f"127.53.{os.getpid() >> 8 & 0xFF}.{os.getpid() & 0xFF}"
        self._socket.bind((address, 53))
        self._resolv.write_text(f"nameserver {address}\n")
        self._hosts.write_text("127.0.0.1 localhost sim.test\n")
        self._thread = threading.Thread(target=self._receive)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.closing(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) as other:
            other.sendto(b"", self._socket.getsockname())
        self._thread.join()
        self._socket.close()

    @property
    def wrapper(self) -> list[str]:
        """A command that starts another one with these files in /etc."""
        script = 'mount --bind "$1" /etc/resolv.conf && mount --bind "$2" /etc/hosts && shift 2 && exec "$@"'
        return ["unshare", "--mount", "--", "sh", "-c", script, "sh", str(self._resolv), str(self._hosts)]

    def forget_names(self) -> None:
        """Remove the names that are known without a name server."""
        self._hosts.write_text("127.0.0.1 localhost\n")

    def _receive(self) -> None:
        while question := self._socket.recv(512):
            self.questions.add(question[12:])  # without the number of the query


@contextlib.contextmanager
def waiting_clients(program: Program, targets: list[str]) -> Iterator[None]:
    """Clients that wait for responses until the end of the block."""
    with contextlib.ExitStack() as stack:
        for target in targets:
            stack.enter_context(program.connect()).request("GET", target)
        yield


@pytest.mark.machine
def test_what_is_cached_is_served_at_full_speed_also_after_a_restart(
    tmp_path: Path, upstream: RemoteUpstream
) -> None:
    port = upstream.url.rpartition(":")[2]
    settings = {"upstreams.sim": {"registry": "sim.test", "url": f"http://sim.test:{port}"}}
    settings |= {
        f"upstreams.dead{number}": {"registry": f"dead{number}.test", "url": f"https://dead{number}.test"}
        for number in range(DEAD)
    }
    dead = [f"/v2/dead{number}.test/acme/app/manifests/latest" for number in range(DEAD)]
    with DeadNameServer(tmp_path) as names, Program(tmp_path, settings, wrapper=names.wrapper) as program:
        for target, content in CACHED.items():
            assert program.get(target) == (200, content)
        program.wait_until(lambda: not list((program.store / "ingest").iterdir()))
        program.daemon.stop()
        names.forget_names()
        program.start()
        with waiting_clients(program, dead):
            wait_until(lambda: len(names.questions) >= DEAD)
            times = [timed(program, target) for _ in range(5) for target in CACHED]
        # Look-ups take ten seconds: any that delays these, on any machine, is noticed.
        assert statistics.median(times) < 0.1
        assert max(times) < 2


def timed(program: Program, target: str) -> float:
    """The seconds of one request for cached content, with its body."""
    began = time.perf_counter()
    assert program.get(target) == (200, CACHED[target])
    return time.perf_counter() - began
