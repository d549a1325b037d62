"""Many clients that read nothing, against the installed program."""

from __future__ import annotations

import resource
import socket
import time
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from tests.kit import images
from tests.kit.certificates import Authority
from tests.service.program import Program

if TYPE_CHECKING:
    import ssl
    from collections.abc import Iterator

    from tests.kit.remote import RemoteUpstream

READERS = 200
KIB = 1024
LARGE = images.oversized(4_000_000)
MANIFEST = "/v2/sim.test/acme/large/manifests/latest"


@pytest.fixture
def authority() -> Authority:
    return Authority.create()


@pytest.fixture
def tls_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


@pytest.fixture
def served(
    tmp_path: Path, upstream: RemoteUpstream, authority: Authority, tls_port: int
) -> Iterator[Program]:
    """Two workers with TLS next to the plain port. The large manifest is cached."""
    issued = authority.ca.issue_cert("127.0.0.1")
    issued.cert_chain_pems[0].write_to_path(tmp_path / "cert.pem")
    issued.private_key_pem.write_to_path(tmp_path / "key.pem")
    upstream.push("acme/large", LARGE, "latest")
    settings: dict[str, dict[str, object]] = {
        "upstreams.sim": {"registry": "sim.test", "url": upstream.url},
        "cache": {"tag_ttl": "1h"},
        "tls": {
            "listen": [f"127.0.0.1:{tls_port}"],
            "http": [],
            "cert": [str(tmp_path / "cert.pem")],
            "key": [str(tmp_path / "key.pem")],
        },
    }
    with Program(tmp_path, settings) as program:
        for _ in range(20):
            assert program.get(MANIFEST) == (200, LARGE.raw)
        yield program


def memory(program: Program) -> int:
    """The resident memory of all workers, in bytes."""
    pages = [int(Path(f"/proc/{each}/statm").read_text().split()[1]) for each in program.workers()]
    return sum(pages) * resource.getpagesize()


@pytest.mark.parametrize("pipelined", [1, 50])
@pytest.mark.parametrize("is_tls", [False, True], ids=["plain", "tls"])
def test_a_client_that_reads_nothing_costs_at_most_128_kib(
    served: Program, authority: Authority, tls_port: int, *, is_tls: bool, pipelined: int
) -> None:
    before = memory(served)
    trust = authority.client_context() if is_tls else None
    request = f"GET {MANIFEST} HTTP/1.1\r\nHost: a\r\n\r\n".encode() * pipelined
    with ExitStack() as stack:
        for _ in range(READERS):
            connection = stack.enter_context(_connect(tls_port if is_tls else served.port, trust))
            connection.sendall(request)
        deadline = time.monotonic() + 1.0
        while time.monotonic() < deadline:
            assert served.get(MANIFEST)[0] == 200
        assert memory(served) - before < READERS * 128 * KIB + 8 * KIB * KIB
    assert served.get(MANIFEST) == (200, LARGE.raw)


def _connect(port: int, trust: ssl.SSLContext | None) -> socket.socket:
    connection = socket.socket()
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    connection.settimeout(60)
    connection.connect(("127.0.0.1", port))
    return trust.wrap_socket(connection, server_hostname="127.0.0.1") if trust else connection


def test_a_small_limit_of_open_files_is_enough(tmp_path: Path, upstream: RemoteUpstream) -> None:
    settings = {"upstreams.sim": {"registry": "sim.test", "url": upstream.url}}
    limited = ("prlimit", "--nofile=160:160", "--")
    with Program(tmp_path, settings, wrapper=limited) as program, ExitStack() as stack:
        for _ in range(300):
            stack.enter_context(_connect(program.port, None))
        assert program.get("/v2/sim.test/acme/app/manifests/latest")[0] == 200
        assert len(program.said().splitlines()) < 20
