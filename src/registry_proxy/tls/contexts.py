"""The TLS of a listener: protocol versions, ciphers, and the certificate by the name that a client asks for."""

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


class PendingAnswers(Protocol):
    """What `tls-alpn-01` needs of the challenges that are under way."""

    def any_over_tls(self) -> bool:
        """Whether there are any."""

    def over_tls(self, hostname: str) -> ssl.SSLContext | None:
        """What to answer for `hostname`."""


def harden(context: ssl.SSLContext, protocol: str, client_ca: Path | None = None) -> None:
    """TLS 1.2 and 1.3 with strong ciphers; `protocol` is what is spoken within (RFC 7301).

    With `client_ca` clients are asked for a certificate of these authorities, which they may lack. Raises OSError.
    """
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers(_CIPHERS)
    # The client knows which cipher is fast for it; all that are left are strong.
    context.options &= ~ssl.OP_CIPHER_SERVER_PREFERENCE
    context.options |= ssl.OP_NO_RENEGOTIATION
    context.set_alpn_protocols([protocol])
    if client_ca is not None:
        context.verify_mode = ssl.CERT_OPTIONAL
        context.load_verify_locations(client_ca)


class ListenerContext(ssl.SSLContext):
    """Has no certificate of its own; `select` finds the context with the one for a name (None: no name was sent).

    A name without a certificate is answered with the alert `unrecognized_name` (RFC 6066, section 3). Session tickets
    are this context's, so they outlive a change of certificates.
    """

    _select: Callable[[str | None], ssl.SSLContext | None]
    _pending: PendingAnswers | None

    @classmethod
    def create(
        cls,
        select: Callable[[str | None], ssl.SSLContext | None],
        pending: PendingAnswers | None = None,
        client_ca: Path | None = None,
    ) -> ListenerContext:
        """A context for a server's sockets. `pending` answers `tls-alpn-01`. Raises OSError."""
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
        """A connection; it looks for an ACME server's validation only while there is a challenge to answer."""
        self.sslobject_class = _Connection
        connection = super().wrap_bio(incoming, outgoing, server_side, server_hostname, session)
        assert isinstance(connection, _Connection)
        connection.outgoing = outgoing
        if self._pending is not None and self._pending.any_over_tls():
            connection.watch(incoming, self._pending)
        return connection

    def _choose(self, connection: ssl.SSLObject, name: str | None, _: ssl.SSLContext) -> int | None:
        challenge = connection.challenge if isinstance(connection, _Connection) else None
        context = challenge or self._select(name)
        if context is None:
            return ssl.ALERT_DESCRIPTION_UNRECOGNIZED_NAME
        connection.context = context
        return None


class _Connection(ssl.SSLObject):
    """A connection that may be an ACME server's, and that tells the client why it is refused."""

    outgoing: ssl.MemoryBIO
    challenge: ssl.SSLContext | None = None
    _incoming: ssl.MemoryBIO
    _pending: PendingAnswers | None = None
    _refused = False

    def watch(self, incoming: ssl.MemoryBIO, pending: PendingAnswers) -> None:
        """Look at what comes in `incoming` first.

        Only an ACME server offers the protocol `acme-tls/1`, and the certificate depends on it (RFC 8737, section 3).
        Python tells what a client offers only once the certificate was chosen, so the client's first message is played
        to a throw-away connection before.
        """
        self._incoming = incoming
        self._pending = pending

    def do_handshake(self) -> None:
        """Like SSLObject's, but for a refusal: asyncio drops the connection before OpenSSL's alert is sent.

        So it is told to wait for more once, which makes it send what there is.
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


def _challenge_in(hello: bytes, pending: PendingAnswers) -> ssl.SSLContext | None:
    """The answer to the validation that `hello` begins, None if it is something else.

    Raises SSLWantReadError when it isn't there as a whole.
    """
    found: list[ssl.SSLContext | None] = []

    def choose(connection: ssl.SSLObject, name: str | None, _: ssl.SSLContext) -> int | None:
        context = pending.over_tls(name) if name else None
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
