"""What a TLS client is shown: by the name it asks for, and by what it is."""

from __future__ import annotations

import ssl
from typing import TYPE_CHECKING

import pytest
import trustme
from cryptography import x509
from tests.tls.issued import issue
from tests.tls.shaking import read_tickets, shake

from registry_proxy.tls.certificate_store import CertificateStore
from registry_proxy.tls.challenges import Challenges
from registry_proxy.tls.contexts import ListenerContext

if TYPE_CHECKING:
    from pathlib import Path

    from tests.kit.certificates import Authority

ACME_IDENTIFIER = x509.ObjectIdentifier("1.3.6.1.5.5.7.1.31")


@pytest.fixture
def challenges(tmp_path: Path) -> Challenges:
    return Challenges(tmp_path / "challenges")


@pytest.fixture
def listener(tmp_path: Path, authority: Authority, challenges: Challenges) -> ListenerContext:
    files = [issue(authority.ca, tmp_path, name) for name in ("a.example.com", "*.b.example.com")]
    store = CertificateStore(files, lambda: 0.0, lambda: True)
    store.load()
    return ListenerContext.create(store.select, challenges)


@pytest.fixture
def client(authority: Authority) -> ssl.SSLContext:
    return authority.client_context()


def names(certificate: x509.Certificate) -> list[str]:
    extension = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    return extension.value.get_values_for_type(x509.DNSName)


def acme_validator() -> ssl.SSLContext:
    """As RFC 8737 has it: one protocol, any certificate."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.set_alpn_protocols(["acme-tls/1"])
    return context


@pytest.mark.parametrize(
    ("hostname", "certified"),
    [
        ("a.example.com", "a.example.com"),
        ("A.Example.COM", "a.example.com"),
        ("x.b.example.com", "*.b.example.com"),
    ],
)
def test_the_certificate_goes_by_the_name(
    hostname: str, certified: str, listener: ListenerContext, client: ssl.SSLContext
) -> None:
    assert names(shake(listener, client, hostname).certificate) == [certified]


@pytest.mark.parametrize("hostname", ["c.example.com", "b.example.com", "x.y.b.example.com", "localhost"])
def test_a_name_without_a_certificate_is_refused_in_so_many_words(
    hostname: str, listener: ListenerContext, client: ssl.SSLContext
) -> None:
    with pytest.raises(ssl.SSLError, match="UNRECOGNIZED_NAME"):
        shake(listener, client, hostname)


def test_a_client_that_sends_no_name_is_shown_the_first(
    listener: ListenerContext, client: ssl.SSLContext
) -> None:
    client.check_hostname = False
    assert names(shake(listener, client, None).certificate) == ["a.example.com"]


@pytest.mark.parametrize(
    ("offered", "spoken"),
    [(["h2", "http/1.1"], "http/1.1"), (["h2"], None), (["acme-tls/1"], None), ([], None)],
)
def test_http_1_1_is_spoken_within(
    offered: list[str], spoken: str | None, listener: ListenerContext, client: ssl.SSLContext
) -> None:
    client.set_alpn_protocols(offered)
    assert shake(listener, client, "a.example.com").client.selected_alpn_protocol() == spoken


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_a_session_is_resumed_also_for_a_second_certificate(
    version: ssl.TLSVersion, listener: ListenerContext, client: ssl.SSLContext
) -> None:
    client.maximum_version = version
    first = shake(listener, client, "x.b.example.com")
    read_tickets(first)
    assert first.client.version() == {772: "TLSv1.3", 771: "TLSv1.2"}[version]
    again = shake(listener, client, "x.b.example.com", session=first.client.session)
    assert again.client.session_reused


def own_certificate(context: ssl.SSLContext, ca: trustme.CA) -> ssl.SSLContext:
    ca.issue_cert("client.example.com").configure_cert(context)
    return context


def test_a_client_may_show_a_certificate_of_the_authorities_for_clients(
    tmp_path: Path, authority: Authority
) -> None:
    clients = trustme.CA()
    clients.cert_pem.write_to_path(tmp_path / "clients.pem")
    store = CertificateStore(
        [issue(authority.ca, tmp_path, "a.example.com")],
        lambda: 0.0,
        lambda: True,
        client_ca=tmp_path / "clients.pem",
    )
    store.load()
    listener = ListenerContext.create(store.select, client_ca=tmp_path / "clients.pem")
    shown = shake(listener, own_certificate(authority.client_context(), clients), "a.example.com")
    certificate = shown.server.getpeercert()
    assert certificate is not None
    assert certificate["subjectAltName"] == (("DNS", "client.example.com"),)
    assert not shake(listener, authority.client_context(), "a.example.com").server.getpeercert()
    stranger = own_certificate(authority.client_context(), trustme.CA())
    stranger.maximum_version = ssl.TLSVersion.TLSv1_2  # in 1.3 a client is done before it is refused
    with pytest.raises(ssl.SSLError, match="UNKNOWN_CA"):
        shake(listener, stranger, "a.example.com")


def test_the_client_chooses_among_strong_ciphers(listener: ListenerContext, client: ssl.SSLContext) -> None:
    client.maximum_version = ssl.TLSVersion.TLSv1_2
    for cipher in ("ECDHE-ECDSA-AES128-GCM-SHA256", "ECDHE-ECDSA-CHACHA20-POLY1305"):
        client.set_ciphers(f"{cipher}:ECDHE-ECDSA-AES256-GCM-SHA384")
        chosen = shake(listener, client, "a.example.com").client.cipher()
        assert chosen is not None
        assert chosen[0] == cipher
    client.set_ciphers("ECDHE-ECDSA-AES128-SHA")
    with pytest.raises(ssl.SSLError, match="HANDSHAKE_FAILURE"):
        shake(listener, client, "a.example.com")


@pytest.mark.parametrize("piece", [1, 100, 65536])
@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_an_acme_server_is_answered_however_its_bytes_arrive(
    version: ssl.TLSVersion, piece: int, listener: ListenerContext, challenges: Challenges
) -> None:
    challenges.put_tls("new.example.com", "token.thumbprint")
    validator = acme_validator()
    validator.maximum_version = version
    handshake = shake(listener, validator, "new.example.com", piece=piece)
    assert handshake.client.selected_alpn_protocol() == "acme-tls/1"
    assert names(handshake.certificate) == ["new.example.com"]
    extension = handshake.certificate.extensions.get_extension_for_oid(ACME_IDENTIFIER)
    assert extension.critical


@pytest.mark.parametrize("piece", [1, 65536])
def test_a_challenge_under_way_disturbs_no_other_client(
    piece: int, listener: ListenerContext, challenges: Challenges, client: ssl.SSLContext
) -> None:
    challenges.put_tls("a.example.com", "token.thumbprint")
    client.set_alpn_protocols(["h2", "http/1.1"])
    handshake = shake(listener, client, "a.example.com", piece=piece)
    assert handshake.client.selected_alpn_protocol() == "http/1.1"
    assert names(shake(listener, client, "x.b.example.com", piece=piece).certificate) == ["*.b.example.com"]
    with pytest.raises(ssl.SSLError, match="UNRECOGNIZED_NAME"):
        shake(listener, client, "c.example.com", piece=piece)


def test_an_acme_server_gets_no_answer_without_a_challenge(
    listener: ListenerContext, challenges: Challenges
) -> None:
    challenges.put_tls("new.example.com", "token.thumbprint").unlink()
    with pytest.raises(ssl.SSLError, match="UNRECOGNIZED_NAME"):
        shake(listener, acme_validator(), "new.example.com")


def test_what_is_no_tls_is_refused_while_a_challenge_is_under_way(
    listener: ListenerContext, challenges: Challenges
) -> None:
    challenges.put_tls("new.example.com", "token.thumbprint")
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    server = listener.wrap_bio(incoming, outgoing, server_side=True)
    incoming.write(b"GET /v2/ HTTP/1.1\r\n\r\n")
    with pytest.raises(ssl.SSLError, match="HTTP_REQUEST"):
        server.do_handshake()
