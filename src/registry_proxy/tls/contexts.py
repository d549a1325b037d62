"""TLS contexts of listeners: protocol versions, ciphers, and selection of the certificate by SNI."""

from __future__ import annotations

import ssl
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

HTTP = "http/1.1"
ACME = "acme-tls/1"  # RFC 8737, section 6.2
# For TLS 1.2: forward secrecy and authenticated encryption only (Mozilla's "intermediate", without finite fields).
_CIPHERS = "ECDHE+AESGCM:ECDHE+CHACHA20"


class PendingChallenges(Protocol):
    """The pending `tls-alpn-01` challenges."""

    def has_tls(self) -> bool:
        """Return whether there are any."""
        ...

    def tls_context(self, hostname: str) -> ssl.SSLContext | None:
        """Return the context that answers the challenge for `hostname`."""
        ...


def harden(context: ssl.SSLContext, protocol: str, client_ca: Path | None = None) -> None:
    """Restrict a context to TLS 1.2 and 1.3 with strong ciphers, and to the ALPN `protocol` (RFC 7301).

    With `client_ca`, request a client certificate from one of these CAs; clients may send none. Raise OSError.
    """
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers(_CIPHERS)
    # The client knows which cipher is fast for it. All remaining ones are strong.
    context.options &= ~ssl.OP_CIPHER_SERVER_PREFERENCE
    context.options |= ssl.OP_NO_RENEGOTIATION
    context.set_alpn_protocols([protocol])
    if client_ca is not None:
        context.verify_mode = ssl.CERT_OPTIONAL
        context.load_verify_locations(client_ca)


class ListenerContext(ssl.SSLContext):
    """A context without a certificate: `select` returns the context for a host name (None: the client sent none).

    A name without a certificate causes the alert `unrecognized_name` (RFC 6066, section 3). Session tickets belong to
    this context, so they survive a change of certificates.
    """

    _select: Callable[[str | None], ssl.SSLContext | None]
    _pending: PendingChallenges | None

    @classmethod
    def create(
        cls,
        select: Callable[[str | None], ssl.SSLContext | None],
        pending: PendingChallenges | None = None,
        client_ca: Path | None = None,
    ) -> ListenerContext:
        """Return a context for a server's sockets. `pending` answers `tls-alpn-01`. Raise OSError."""
        context = cls(ssl.PROTOCOL_TLS_SERVER)
        harden(context, HTTP, client_ca)
        context._select = select
        context._pending = pending
        context.sni_callback = context._choose
        return context

    def wrap_bio(
        self,
        incoming: ssl.MemoryBIO,
        outgoing: ssl.MemoryBIO,
        server_side: bool = False,
        server_hostname: str | bytes | None = None,
        session: ssl.SSLSession | None = None,
    ) -> ssl.SSLObject:
        """Return a connection. It checks for a CA's validation only while a challenge is pending."""
        self.sslobject_class = _Connection
        connection = super().wrap_bio(incoming, outgoing, server_side, server_hostname, session)
        assert isinstance(connection, _Connection)
        connection.outgoing = outgoing
        if self._pending is not None and self._pending.has_tls():
            connection.expect_validation(incoming, self._pending)
        return connection

    def _choose(self, connection: ssl.SSLObject, name: str | None, _: ssl.SSLContext) -> int | None:
        challenge = connection.challenge if isinstance(connection, _Connection) else None
        context = challenge or self._select(name)
        if context is None:
            return ssl.ALERT_DESCRIPTION_UNRECOGNIZED_NAME
        connection.context = context
        return None


class _Connection(ssl.SSLObject):
    """A connection that answers a CA's validation, and sends the alert when it refuses a client."""

    outgoing: ssl.MemoryBIO
    challenge: ssl.SSLContext | None = None
    _incoming: ssl.MemoryBIO
    _pending: PendingChallenges | None = None
    _refused = False

    def expect_validation(self, incoming: ssl.MemoryBIO, pending: PendingChallenges) -> None:
        """Check whether the first message in `incoming` begins a CA's validation.

        Only a CA offers the protocol `acme-tls/1`, and the certificate depends on it (RFC 8737, section 3). Python
        exposes the offered protocols only after the certificate was selected. Therefore a temporary connection reads
        the client's first message before this one does.
        """
        self._incoming = incoming
        self._pending = pending

    def do_handshake(self) -> None:
        """Shake hands, and send OpenSSL's alert on refusal.

        asyncio would drop the connection before it sends the alert. One SSLWantReadError makes it send the pending
        bytes first.
        """
        if self._pending is not None:
            received = self._incoming.read()
            self._incoming.write(received)
            self.challenge = _challenge_in(received, self._pending)
            self._pending = None
        try:
            super().do_handshake()
        except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
            raise
        except ssl.SSLError as error:
            if self._refused or not self.outgoing.pending:
                raise
            self._refused = True
            raise ssl.SSLWantReadError from error


def _challenge_in(hello: bytes, pending: PendingChallenges) -> ssl.SSLContext | None:
    """Return the context that answers the validation in `hello`, or None for any other message.

    Raise SSLWantReadError if the message is incomplete.
    """
    found: list[ssl.SSLContext | None] = []

    def choose(connection: ssl.SSLObject, name: str | None, _: ssl.SSLContext) -> int | None:
        context = pending.tls_context(name) if name else None
        found.append(context)
        if context is None:
            return ssl.ALERT_DESCRIPTION_UNRECOGNIZED_NAME
        connection.context = context
        return None

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.sni_callback = choose
    incoming = ssl.MemoryBIO()
    incoming.write(hello)
    trial = context.wrap_bio(incoming, ssl.MemoryBIO(), server_side=True)
    try:
        trial.do_handshake()
    except ssl.SSLWantReadError:
        if not found:
            raise
    except ssl.SSLError:
        return None
    return found[0] if trial.selected_alpn_protocol() == ACME else None
