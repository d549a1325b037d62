"""What systemd is told: by the program itself, on a socket of the test."""

from __future__ import annotations

import os
import signal
import socket
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from tests.kit.processes import Daemon, Local, running

if TYPE_CHECKING:
    from collections.abc import Iterator

PROGRAM = Path(sys.executable).with_name("registry-proxy")
WORKERS = 3


@contextmanager
def serving(folder: Path, address: str, **more: str) -> Iterator[Daemon]:
    settings = {
        "NOTIFY_SOCKET": address,
        "REGISTRY_PROXY_STORAGE_PATH": str(folder / "store"),
        "REGISTRY_PROXY_SERVER_LISTEN": "127.0.0.1:0",
        "REGISTRY_PROXY_SERVER_WORKERS": str(WORKERS),
        **more,
    }
    (folder / "registry-proxy.toml").touch()
    command = [str(PROGRAM), "serve", "--config", str(folder / "registry-proxy.toml")]
    with running(Daemon(Local(), command, folder / "log", env=settings)) as daemon:
        yield daemon


@contextmanager
def listening(address: str) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.bind(f"\0{address[1:]}" if address.startswith("@") else address)
        sock.settimeout(30)
        yield sock


@pytest.mark.parametrize("abstract", [False, True], ids=["path", "abstract"])
def test_systemd_is_told_when_all_workers_serve_what_a_reload_left_and_the_end(
    tmp_path: Path, abstract: bool
) -> None:
    address = f"@registry-proxy-{os.getpid()}" if abstract else str(tmp_path / "notify")
    with listening(address) as sock, serving(tmp_path, address) as daemon:
        assert sock.recv(1000).decode().splitlines() == ["READY=1", f"STATUS={WORKERS} workers serve"]
        children = Path(f"/proc/{daemon.process.pid}/task/{daemon.process.pid}/children").read_text().split()
        assert len(children) == WORKERS
        daemon.process.send_signal(signal.SIGHUP)
        reloading = dict(line.split("=") for line in sock.recv(1000).decode().splitlines())
        assert reloading["RELOADING"] == "1"
        assert int(reloading["MONOTONIC_USEC"]) > 0
        assert sock.recv(1000).decode().splitlines() == ["READY=1", f"STATUS={WORKERS} workers serve"]
        assert daemon.log.read_text().count("were reloaded") == WORKERS
        (tmp_path / ".env").write_text("REGISTRY_PROXY_CACHE_TAG_TTL=5m\nREGISTRY_PROXY_LOG_FORMAT=json\n")
        daemon.process.send_signal(signal.SIGHUP)
        assert sock.recv(1000).startswith(b"RELOADING=1\n")
        waiting = "a restart is required for cache.tag_ttl, log.format"
        assert sock.recv(1000).decode().endswith(f"workers serve; {waiting}")
        told = "reload: changes to cache.tag_ttl, log.format require a restart of the server"
        assert daemon.log.read_text().count(told) == 1
        (tmp_path / ".env").write_text("REGISTRY_PROXY_CACHE_TAG_TTL=soon\n")
        daemon.process.send_signal(signal.SIGHUP)
        assert sock.recv(1000).startswith(b"RELOADING=1\n")
        assert sock.recv(1000).decode().endswith("workers serve; the configuration was not reloaded")
        daemon.process.terminate()
        assert sock.recv(1000).startswith(b"STOPPING=1\n")
        assert daemon.process.wait(30) == 0


def test_systemd_is_told_that_the_workers_respond(tmp_path: Path) -> None:
    address = str(tmp_path / "notify")
    with listening(address) as sock, serving(tmp_path, address, WATCHDOG_USEC="60000000"):
        messages = [sock.recv(1000).decode().splitlines()[0] for _ in range(5)]
        assert set(messages) == {"READY=1", "WATCHDOG=1"}
        assert messages.count("READY=1") == 1


def test_a_watchdog_that_is_for_another_process_is_left_alone(tmp_path: Path) -> None:
    address = str(tmp_path / "notify")
    with (
        listening(address) as sock,
        serving(tmp_path, address, WATCHDOG_USEC="60000000", WATCHDOG_PID="1") as daemon,
    ):
        assert sock.recv(1000).startswith(b"READY=1")
        daemon.process.terminate()
        assert sock.recv(1000).startswith(b"STOPPING=1")


def test_a_socket_that_nobody_listens_at_stops_nothing(tmp_path: Path) -> None:
    with serving(tmp_path, str(tmp_path / "none")) as daemon:
        daemon.wait_until(lambda: "cannot send READY=1 to systemd" in daemon.log.read_text())
        daemon.process.terminate()
        assert daemon.process.wait(30) == 0
