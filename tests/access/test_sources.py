"""Where clients come from: by the connection, by a reverse proxy's header, by a load balancer's."""

from __future__ import annotations

import socket
import ssl
import struct
from contextlib import suppress
from ipaddress import ip_address
from typing import TYPE_CHECKING

import pytest
from tests.access.program import Program, ask, htpasswd

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.access.conftest import Serve
    from tests.kit.certificates import Authority

HELLO = "/v2/hello/manifests/latest"


IPV4 = [("127.0.0.1", "127.0.0.5", 200), ("127.0.0.1", "127.0.0.6", 403)]


@pytest.mark.parametrize(
    ("listen", "clients"),
    [
        ("0.0.0.0:0", IPV4),
        ("[::]:0", [*IPV4, ("::1", None, 200)]),  # where IPv4 addresses come in IPv6 form
    ],
)
def test_addresses_are_those_that_connect(
    serve: Serve, listen: str, clients: list[tuple[str, str | None, int]]
) -> None:
    program = serve('[access]\nsources = ["127.0.0.5", "::1"]\n', listen=listen, workers=1)
    for address, source, status in clients:
        assert program.get(HELLO, address=address, source=source).status == status
    refused = program.get(HELLO, source="127.0.0.6")
    assert refused.code == "DENIED"
    assert "127.0.0.6" in refused.json()["errors"][0]["message"]
    assert "127.0.0.6 was refused" in program.logged


def test_an_upstreams_sources_hold_on_each_way(serve: Serve) -> None:
    program = serve('access_sources = ["127.0.0.5"]\n')
    target = "/v2/acme/hello/tags/list"
    for source, status in (("127.0.0.5", 200), ("127.0.0.6", 403)):
        assert program.get(target, host="ghcr.example.com", source=source).status == status
        assert program.get(f"{target}?ns=ghcr.io", source=source).status == status
        assert program.get("/v2/ghcr.io/acme/hello/tags/list", source=source).status == status
        assert program.get("/v2/_catalog", source=source).status == status
        assert program.get(HELLO, source=source).status == 200


def test_what_a_client_writes_into_x_forwarded_for_is_not_believed(serve: Serve) -> None:
    program = serve('[access]\nsources = ["127.0.0.5"]\n', workers=1)
    for name in ("X-Forwarded-For", "X-Real-IP", "Forwarded", "Client-IP", "True-Client-IP", "X-Client-IP"):
        for value in ("127.0.0.5", "for=127.0.0.5"):
            connection = program.connect(source="127.0.0.6")
            assert ask(connection, HELLO, headers={name: value}).status == 403


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        (["127.0.0.5"], 200),
        (["192.0.2.1"], 403),
        ([], 403),
        (["127.0.0.5, 192.0.2.1"], 403),  # what the client wrote, and what the proxy added
        (["192.0.2.1, 127.0.0.5"], 200),
        (["127.0.0.5", "192.0.2.1"], 403),
        (["192.0.2.1", "127.0.0.5"], 200),
        (["127.0.0.5, 127.0.0.9"], 200),  # by two proxies
        (["unknown"], 403),
        (["127.0.0.5,"], 403),
        (["127.0.0.5:4711"], 200),
        (["::ffff:127.0.0.5"], 200),
    ],
)
def test_a_trusted_proxy_tells_the_client(trusting: Program, headers: list[str], status: int) -> None:
    lines = "".join(f"X-Forwarded-For: {value}\r\n" for value in headers)
    with trusting.connect(source="127.0.0.9") as connection:
        connection.sendall(f"GET {HELLO} HTTP/1.1\r\nHost: registry.example.com\r\n{lines}\r\n".encode())
        assert connection.recv(12) == f"HTTP/1.1 {status}".encode()


def test_another_proxy_tells_nothing(trusting: Program) -> None:
    assert trusting.get(HELLO, source="127.0.0.8", X_Forwarded_For="127.0.0.5").status == 403


@pytest.fixture(scope="module")
def trusting(tmp_path_factory: pytest.TempPathFactory, registries: str) -> Iterator[Program]:
    toml = f'{registries}[access]\nsources = ["127.0.0.5"]\ntrusted_proxies = ["127.0.0.9"]\n'
    with Program(tmp_path_factory.mktemp("trusting"), toml) as program:
        yield program


# Behind a load balancer


def header(source: str) -> bytes:
    """A PROXY header of version 1."""
    return f"PROXY TCP4 {source} 127.0.0.1 4711 443\r\n".encode()


def binary(source: str) -> bytes:
    """A PROXY header of version 2."""
    addresses = ip_address(source).packed + ip_address("127.0.0.1").packed + struct.pack("!HH", 4711, 443)
    return b"\r\n\r\n\0\r\nQUIT\n" + struct.pack("!BBH", 0x21, 0x11, len(addresses)) + addresses


@pytest.fixture(scope="module")
def balanced(
    tmp_path_factory: pytest.TempPathFactory, registries: str, authority: Authority
) -> Iterator[Program]:
    """Behind a load balancer, with TLS and without."""
    folder = tmp_path_factory.mktemp("balanced")
    certificate = authority.ca.issue_cert("registry.example.com")
    certificate.private_key_and_cert_chain_pem.write_to_path(folder / "tls.pem")
    users = htpasswd(folder / "users", ann="secret")
    tls = '[tls]\nlisten = ["127.0.0.1:0"]\nhttp = ["127.0.0.1:0"]\ncert = "tls.pem"\nkey = "tls.pem"\n'
    access = '[access]\nproxy_protocol = true\nsources = ["192.0.2.0/24", "127.0.0.7"]\n'
    toml = f'{registries}access_htpasswd = "{users}"\n{access}{tls}'
    with Program(folder, toml) as program:
        yield program


@pytest.fixture(params=["plain", "TLS", "v2, plain", "v2, TLS"])
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def open_as(program: Program, kind: str, source: str, authority: Authority) -> socket.socket:
    """A connection that the load balancer passes on from `source`."""
    is_tls = kind.endswith("TLS")
    port = program.port("TLS" if is_tls else "")
    connection = socket.create_connection(("127.0.0.1", port), timeout=30)
    connection.sendall((binary if kind.startswith("v2") else header)(source))
    if not is_tls:
        return connection
    return authority.client_context().wrap_socket(connection, server_hostname="registry.example.com")


@pytest.mark.parametrize(("source", "status"), [("192.0.2.7", 200), ("198.51.100.7", 403)])
def test_a_load_balancer_tells_the_client(
    balanced: Program, kind: str, source: str, status: int, authority: Authority
) -> None:
    for _ in range(4):
        answer = ask(open_as(balanced, kind, source, authority), HELLO)
        assert answer.status == status
    if status == 403:
        assert f"{source} was refused" in balanced.logged


def test_a_header_in_front_is_no_login(balanced: Program, kind: str, authority: Authority) -> None:
    connection = open_as(balanced, kind, "192.0.2.7", authority)
    assert ask(connection, "/v2/ghcr.io/acme/hello/tags/list").status == 401


def test_the_balancers_own_connections_have_its_own_address(balanced: Program) -> None:
    for source, status in (("127.0.0.7", 200), ("127.0.0.8", 403)):
        connection = balanced.connect(source=source)
        connection.sendall(b"PROXY UNKNOWN\r\n")
        assert ask(connection, HELLO).status == status


def test_whoever_is_not_the_load_balancer_gets_no_answer(balanced: Program, authority: Authority) -> None:
    refused = balanced.logged.count("a connection from 127.0.0.7 was refused")
    with balanced.connect(source="127.0.0.7") as connection:
        connection.sendall(f"GET {HELLO} HTTP/1.1\r\nHost: registry.example.com\r\n\r\n".encode())
        with suppress(ConnectionResetError):
            assert connection.recv(1) == b""
    with pytest.raises((ssl.SSLError, ConnectionError)):
        balanced.connect(source="127.0.0.7", tls=authority.client_context())
    told = "a connection from 127.0.0.7 was refused: the connection does not start with a PROXY header"
    balanced.wait_until(lambda: balanced.logged.count(told) == refused + 2)


@pytest.mark.parametrize("sent", [b"", b"PROXY TCP4 192.0.2.7", b"\r\n\r\n\0\r\nQUIT\n\x21\x11\x00\x0c\xc0"])
def test_a_header_that_does_not_come_is_waited_for_as_long_as_any(balanced: Program, sent: bytes) -> None:
    """`header_timeout`, which is 2 s here."""
    with balanced.connect() as connection:
        connection.sendall(sent)
        connection.settimeout(20)
        with suppress(ConnectionResetError):
            assert connection.recv(1) == b""
    balanced.wait_until(lambda: "no PROXY header within 2 s" in balanced.logged)


def test_a_balancer_that_only_tries_the_port_out_is_not_logged(balanced: Program) -> None:
    before = balanced.logged
    for _ in range(5):
        balanced.connect().close()
    connection = balanced.connect()
    connection.sendall(header("192.0.2.7"))
    assert ask(connection, HELLO).status == 200
    assert balanced.logged == before


def test_a_second_header_is_no_request(balanced: Program) -> None:
    """A client that sends one of its own through the load balancer."""
    with balanced.connect() as connection:
        connection.sendall(header("198.51.100.7") + header("192.0.2.7"))
        assert connection.recv(12) == b"HTTP/1.1 400"


def test_requests_on_one_connection_have_one_client(balanced: Program) -> None:
    with balanced.connect() as connection:
        connection.sendall(header("198.51.100.7"))
        for _ in range(3):
            connection.sendall(
                f"HEAD {HELLO} HTTP/1.1\r\nHost: registry.example.com\r\nX-Forwarded-For: 192.0.2.7\r\n\r\n".encode()
            )
            assert connection.recv(12) == b"HTTP/1.1 403"
            while b"\r\n\r\n" not in connection.recv(65536):
                pass


def test_what_is_sent_on_to_tls_has_a_header_too(balanced: Program) -> None:
    port = balanced.port("redirects to HTTPS")
    connection = socket.create_connection(("127.0.0.1", port), timeout=30)
    connection.sendall(header("192.0.2.7"))
    assert ask(connection, "/v2/").status == 308


def test_a_stop_refuses_new_connections(balanced_alone: Program) -> None:
    program = balanced_alone
    connection = program.connect()
    connection.sendall(header("192.0.2.7"))
    assert ask(connection, HELLO).status == 200
    idle = program.connect()  # which has not sent its header, and holds up nothing
    assert program.daemon.stop(seconds=20) == 0
    with pytest.raises(ConnectionRefusedError):
        program.connect()
    idle.close()


@pytest.fixture
def balanced_alone(serve: Serve, tmp_path: Path) -> Program:
    return serve("[access]\nproxy_protocol = true\n")
