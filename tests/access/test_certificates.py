"""Client certificates: whose they are, which names they have, on new connections and on resumed ones."""

from __future__ import annotations

import datetime
import ssl
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest
import trustme
from tests.access.program import Program, ask, basic, htpasswd

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.kit.certificates import Authority

HELLO, OTHER = "/v2/hello/manifests/latest", "/v2/ghcr.io/acme/hello/tags/list"
ANN = {"Authorization": basic("ann", "secret")}
VERSIONS = [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3]


@dataclass(frozen=True)
class Cluster:
    """The authority of the clients, and the server that trusts it."""

    program: Program
    ca: trustme.CA
    servers: Authority

    def context(self, certificate: trustme.LeafCert | None) -> ssl.SSLContext:
        context = self.servers.client_context()
        if certificate is not None:
            certificate.configure_cert(context)
        return context

    def status(self, certificate: trustme.LeafCert | None, target: str = HELLO, **headers: str) -> int:
        """How a request is answered that shows `certificate`."""
        connection = self.program.connect(tls=self.context(certificate))
        return ask(connection, target, headers=headers).status

    def node(self, *names: str, common_name: str | None = None) -> trustme.LeafCert:
        return self.ca.issue_cert(*names, common_name=common_name)


def serving(folder: Path, registries: str, servers: Authority, access: str, **users: str) -> Program:
    ca = trustme.CA()
    ca.cert_pem.write_to_path(folder / "clients.pem")
    (folder / "clients.key").write_bytes(ca.private_key_pem.bytes())
    for name in ("registry.example.com", "ghcr.example.com"):
        leaf = servers.ca.issue_cert(name)
        leaf.private_key_and_cert_chain_pem.write_to_path(folder / f"{name}.pem")
    files = '["registry.example.com.pem", "ghcr.example.com.pem"]'
    tls = f'[tls]\nlisten = ["127.0.0.1:0"]\nhttp = []\ncert = {files}\nkey = {files}\n'
    htpasswd(folder / "users", **users)
    return Program(folder, f"{registries}{access}{tls}")


def cluster(program: Program, servers: Authority) -> Cluster:
    pem = (program.folder / "clients.pem").read_bytes(), (program.folder / "clients.key").read_bytes()
    return Cluster(program, trustme.CA.from_pem(*pem), servers)


NAMES = 'client_ca = "clients.pem"\nclient_names = ["*.nodes.example.com", "builder"]\n'


@pytest.fixture(scope="module")
def nodes(
    tmp_path_factory: pytest.TempPathFactory, registries: str, authority: Authority
) -> Iterator[Cluster]:
    """Certificates only; ghcr.io is for others than the rest."""
    access = f'access_client_names = ["deploy"]\n[access]\n{NAMES}'
    with serving(tmp_path_factory.mktemp("nodes"), registries, authority, access) as program:
        yield cluster(program, authority)


@pytest.fixture(scope="module")
def mixed(
    tmp_path_factory: pytest.TempPathFactory, registries: str, authority: Authority
) -> Iterator[Cluster]:
    """Certificates or logins."""
    access = f'[access]\n{NAMES}htpasswd = "users"\n'
    with serving(tmp_path_factory.mktemp("mixed"), registries, authority, access, ann="secret") as program:
        yield cluster(program, authority)


@pytest.mark.parametrize(
    ("names", "common_name", "status"),
    [
        (["a.nodes.example.com"], None, 200),
        (["other.example.com", "a.nodes.example.com"], None, 200),
        (["nodes.example.com"], None, 403),
        (["a.nodes.example.com.evil.test"], None, 403),
        (["deploy"], None, 403),
        (["x.example.com"], "builder", 200),
        (["x.example.com"], "a.nodes.example.com", 200),
        (["x.example.com"], "other", 403),
        (["192.0.2.7"], None, 403),
    ],
)
def test_one_of_the_names_must_be_allowed(
    nodes: Cluster, names: list[str], common_name: str | None, status: int
) -> None:
    assert nodes.status(nodes.node(*names, common_name=common_name)) == status


def test_an_upstream_has_names_of_its_own(nodes: Cluster) -> None:
    node, deploy = nodes.node("a.nodes.example.com"), nodes.node("deploy")
    assert (nodes.status(node), nodes.status(node, OTHER)) == (200, 403)
    assert (nodes.status(deploy), nodes.status(deploy, OTHER)) == (403, 200)


def test_without_a_certificate_nothing_is_pulled_and_no_login_is_asked_for(nodes: Cluster) -> None:
    answer = ask(nodes.program.connect(tls=nodes.context(None)), HELLO, headers=ANN)
    assert (answer.status, answer.code) == (403, "DENIED")
    assert "client certificate" in answer.json()["errors"][0]["message"]
    assert "WWW-Authenticate" not in answer.headers


def test_without_tls_nothing_is_pulled(nodes: Cluster) -> None:
    assert nodes.program.get(HELLO).status == 403
    for header in ("X-SSL-Client-S-DN", "X-Client-Cert", "X-Forwarded-Client-Cert"):
        answer = ask(nodes.program.connect(), HELLO, headers={header: "CN=builder"})
        assert answer.status == 403


@pytest.mark.parametrize("version", VERSIONS)
def test_a_certificate_of_another_authority_is_refused_in_the_handshake(
    nodes: Cluster, version: ssl.TLSVersion
) -> None:
    context = nodes.context(trustme.CA().issue_cert("a.nodes.example.com"))
    context.maximum_version = version
    with pytest.raises((ssl.SSLError, ConnectionError)):
        ask(nodes.program.connect(tls=context), HELLO)


def test_an_expired_certificate_is_refused(nodes: Cluster) -> None:
    yesterday = datetime.datetime.now(datetime.UTC) - datetime.timedelta(days=1)
    expired = nodes.ca.issue_cert("a.nodes.example.com", not_after=yesterday)
    with pytest.raises((ssl.SSLError, ConnectionError)):
        nodes.status(expired)


def test_the_servers_own_authority_vouches_for_no_client(nodes: Cluster) -> None:
    with pytest.raises((ssl.SSLError, ConnectionError)):
        nodes.status(nodes.servers.ca.issue_cert("a.nodes.example.com"))


@pytest.mark.parametrize("version", VERSIONS)
def test_a_resumed_connection_keeps_its_certificate_whichever_worker_has_it(
    nodes: Cluster, version: ssl.TLSVersion
) -> None:
    for names, status in ((["a.nodes.example.com"], 200), (["other.example.com"], 403)):
        context = nodes.context(nodes.node(*names))
        context.maximum_version = version
        session, resumed = None, []
        for _ in range(12):
            connection = nodes.program.connect(tls=context, session=session)
            assert isinstance(connection, ssl.SSLSocket)
            resumed.append(connection.session_reused)
            connection.sendall(
                f"HEAD {HELLO} HTTP/1.1\r\nHost: registry.example.com\r\nConnection: close\r\n\r\n".encode()
            )
            head = connection.recv(4096)
            session = connection.session
            connection.close()
            assert head.startswith(f"HTTP/1.1 {status}".encode())
        assert any(resumed)


def test_each_host_name_asks_for_certificates(nodes: Cluster) -> None:
    deploy = nodes.context(nodes.node("deploy"))
    for name, status in (("ghcr.example.com", 200), ("registry.example.com", 403)):
        connection = nodes.program.connect(tls=deploy, name=name)
        assert ask(connection, "/v2/acme/hello/tags/list", host=name).status == status


def test_a_certificate_or_a_login_is_enough(mixed: Cluster) -> None:
    allowed, other = mixed.node("a.nodes.example.com"), mixed.node("other.example.com")
    assert mixed.status(allowed) == 200
    assert mixed.status(None) == 401
    assert mixed.status(None, **ANN) == 200
    assert mixed.status(other) == 401
    assert mixed.status(other, **ANN) == 200
    assert mixed.status(allowed, Authorization=basic("ann", "wrong")) == 200
    assert ask(mixed.program.connect(), HELLO, headers=ANN).status == 200
