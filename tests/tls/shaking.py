"""Handshakes in memory."""

from __future__ import annotations

import ssl
from dataclasses import dataclass

from cryptography import x509


@dataclass(frozen=True, slots=True)
class Handshake:
    """Both ends of a handshake that succeeded."""

    client: ssl.SSLObject
    server: ssl.SSLObject

    @property
    def certificate(self) -> x509.Certificate:
        """What the client was shown."""
        der = self.client.getpeercert(binary_form=True)
        assert der is not None
        return x509.load_der_x509_certificate(der)


def shake(
    server_context: ssl.SSLContext,
    client_context: ssl.SSLContext,
    hostname: str | None,
    *,
    session: ssl.SSLSession | None = None,
    piece: int = 1 << 16,
) -> Handshake:
    """Shake hands; the server receives `piece` bytes at a time. Raises what the client raises."""
    to_server, to_client, from_client = ssl.MemoryBIO(), ssl.MemoryBIO(), ssl.MemoryBIO()
    server = server_context.wrap_bio(to_server, to_client, server_side=True)
    client = client_context.wrap_bio(to_client, from_client, server_hostname=hostname, session=session)
    for _ in range(10):
        try:
            client.do_handshake()
            client_done = True
        except ssl.SSLWantReadError:
            client_done = False
        server_done = False
        while (sent := from_client.read(piece)) or not server_done:
            to_server.write(sent)
            try:
                server.do_handshake()
                server_done = True
            except ssl.SSLWantReadError:
                if not from_client.pending:
                    break
        if client_done and server_done:
            return Handshake(client, server)
    raise AssertionError("the handshake comes to no end")


def read_tickets(handshake: Handshake) -> None:
    """Let the client take what the server sends after a handshake of TLS 1.3."""
    try:
        handshake.client.read(1)
    except ssl.SSLWantReadError:
        return
