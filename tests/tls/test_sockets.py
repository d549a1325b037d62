"""Listening: sockets that systemd hands over, ports that can't be had, and what is said of them."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from tests.e2e.program import PROGRAM
from tests.kit.processes import environment
from tests.tls.issued import issue
from tests.tls.visitor import client_context, get, visit

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.kit.certificates import Authority

NAME = "registry.example.com"
# What systemd does: sockets from descriptor 3 on, and their mention in the environment of the very process.
_HAND_OVER = """
import os, sys
names, *command = sys.argv[1:]
os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDNAMES=names, LISTEN_FDS=str(names.count(":") + 1))
os.execv(command[0], command)
"""


@pytest.fixture
def listeners() -> Iterator[list[socket.socket]]:
    made = [socket.create_server(("127.0.0.1", 0)) for _ in range(3)]
    yield made
    for sock in made:
        sock.close()


def settings_of(folder: Path, authority: Authority, **settings: str) -> dict[str, str]:
    files = issue(authority.ca, folder, NAME)
    wanted = {
        "storage_path": str(folder / "store"),
        "server_workers": "2",
        "server_listen": "127.0.0.1:0",
        "tls_listen": "127.0.0.1:0",
        "tls_http": "127.0.0.1:0",
        "tls_cert": str(files.cert),
        "tls_key": str(files.key),
    }
    return {f"REGISTRY_PROXY_{name.upper()}": value for name, value in (wanted | settings).items()}


def command(names: str) -> list[str]:
    return [sys.executable, "-c", _HAND_OVER, names, str(PROGRAM), "serve"]


def place(listeners: list[socket.socket]) -> Callable[[], None]:
    """For the child: its descriptors 3, 4, 5."""

    def move() -> None:
        # Out of the way first: a descriptor may be where another one shall be.
        high = [os.dup2(sock.fileno(), 100 + number) for number, sock in enumerate(listeners)]
        for number, descriptor in enumerate(high):
            os.dup2(descriptor, 3 + number)

    return move


def test_sockets_of_systemd_are_served_by_all_workers(
    listeners: list[socket.socket], tmp_path: Path, authority: Authority
) -> None:
    plain, tls, http = (sock.getsockname() for sock in listeners)
    program = subprocess.Popen(
        command("plain:tls:http"),
        env=environment(settings_of(tmp_path, authority)),
        preexec_fn=place(listeners),  # noqa: PLW1509
        pass_fds=(3, 4, 5),
        stderr=subprocess.PIPE,
        text=True,
    )
    trust = client_context(authority.pem.decode())
    try:
        # They listen already, so clients wait until the program has started.
        assert get(socket.create_connection(plain), NAME, "/v2/").status == 200
        for _ in range(20):
            assert visit(socket.create_connection(tls), NAME, trust).names == [NAME]
        assert get(socket.create_connection(tls), NAME, "/v2/", trust).status == 200
        redirected = get(socket.create_connection(http), NAME, "/v2/")
        assert redirected.headers["Location"] == f"https://{NAME}:{tls[1]}/v2/"
    finally:
        program.terminate()
        said = program.communicate(timeout=30)[1]
    assert program.returncode == 0
    assert f"listening on 127.0.0.1:{plain[1]}, 127.0.0.1:{tls[1]} (TLS)" in said


@pytest.mark.parametrize(
    ("names", "settings", "text"),
    [
        ("web:tls:http", {}, 'socket 1 of 3 from systemd is named "web"'),
        (
            "plain:tls:http",
            {"tls_cert": "", "tls_key": "", "tls_listen": "", "tls_http": ""},
            "but TLS is off",
        ),
    ],
)
def test_sockets_without_a_use_are_an_error(
    names: str,
    settings: dict[str, str],
    text: str,
    listeners: list[socket.socket],
    tmp_path: Path,
    authority: Authority,
) -> None:
    done = subprocess.run(
        command(names),
        env=environment(settings_of(tmp_path, authority, **settings)),
        preexec_fn=place(listeners),
        pass_fds=(3, 4, 5),
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert done.returncode == 1
    assert text in done.stderr


@pytest.mark.parametrize(
    ("key", "remedy"),
    [("server_listen", "server.listen"), ("tls_listen", "tls.listen"), ("tls_http", "tls.http = []")],
)
def test_a_port_that_is_taken_is_told_with_its_key(
    key: str, remedy: str, listeners: list[socket.socket], tmp_path: Path, authority: Authority
) -> None:
    address = f"127.0.0.1:{listeners[0].getsockname()[1]}"
    done = subprocess.run(
        [str(PROGRAM), "serve"],
        env=environment(settings_of(tmp_path, authority, **{key: address})),
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert done.returncode == 1
    assert f"cannot listen on {address}: Address already in use" in done.stderr
    assert remedy in done.stderr


def test_a_low_port_that_takes_a_capability_is_told() -> None:
    limit = "echo 1024 > /proc/sys/net/ipv4/ip_unprivileged_port_start"
    drop = "exec setpriv --reuid=65534 --clear-groups --bounding-set=-all --inh-caps=-all"
    done = subprocess.run(
        ["unshare", "--net", "sh", "-c", f"{limit}; ip link set lo up; {drop} {PROGRAM} serve"],
        env=environment({"REGISTRY_PROXY_SERVER_LISTEN": "127.0.0.1:443"}),
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert done.returncode == 1
    assert "cannot listen on 127.0.0.1:443: Permission denied" in done.stderr
    assert "CAP_NET_BIND_SERVICE" in done.stderr
