"""A TLS client that looks closely at what a server shows it."""

from __future__ import annotations

import http.client
import ssl
from dataclasses import dataclass
from typing import TYPE_CHECKING

from cryptography import x509

if TYPE_CHECKING:
    import socket


@dataclass(frozen=True, slots=True)
class Shown:
    """What a handshake showed: the certificate, who issued it, the protocols agreed on."""

    certificate: x509.Certificate
    version: str
    alpn: str | None

    @property
    def names(self) -> list[str]:
        """The host names that it is for."""
        extension = self.certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)
        return extension.value.get_values_for_type(x509.DNSName)


def client_context(*roots: str) -> ssl.SSLContext:
    """A client that trusts `roots` (PEM) and nobody else."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(cadata="".join(roots))
    context.set_alpn_protocols(["h2", "http/1.1"])
    return context


def visit(connection: socket.socket, hostname: str, context: ssl.SSLContext) -> Shown:
    """Shake hands as a client of `hostname`. Raises ssl.SSLError, for one when the chain isn't whole."""
    connection.settimeout(20)
    with context.wrap_socket(connection, server_hostname=hostname) as tls:
        der = tls.getpeercert(binary_form=True)
        assert der is not None
        return Shown(x509.load_der_x509_certificate(der), tls.version() or "", tls.selected_alpn_protocol())


def get(connection: socket.socket, hostname: str, path: str, context: ssl.SSLContext | None = None) -> Answer:
    """Get `path` of `hostname`, over TLS where there is a context."""
    connection.settimeout(60)
    client = http.client.HTTPConnection(hostname)
    client.sock = context.wrap_socket(connection, server_hostname=hostname) if context else connection
    try:
        client.request("GET", path)
        with client.getresponse() as answer:
            return Answer(answer.status, dict(answer.headers), answer.read())
    finally:
        client.close()


@dataclass(frozen=True, slots=True)
class Answer:
    """An HTTP answer, read to its end."""

    status: int
    headers: dict[str, str]
    body: bytes
