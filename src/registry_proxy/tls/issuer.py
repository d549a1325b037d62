"""Interface to a certificate authority (CA). Light: the ACME client behind it is imported when it is needed."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from cryptography import x509

    from registry_proxy.policy.renewal import Span


class IssueError(Exception):
    """Issuance failed. The text has the CA's error message and a fix. `retry_after` is the CA's, in seconds.

    `challenge` is the type of the challenge, None if the attempt failed before one was selected.
    """

    def __init__(self, text: str, retry_after: float | None = None, challenge: str | None = None) -> None:
        super().__init__(text)
        self.retry_after = retry_after
        self.challenge = challenge


@dataclass(frozen=True, slots=True)
class Issued:
    """Key, certificate and intermediates in PEM, and the type of the challenge that validated the host name."""

    pem: bytes = field(repr=False)
    challenge: str


@dataclass(frozen=True, slots=True)
class CertificateAuthority:
    """An ACME server, and the data for an account there. `name` is for the log, `directory` the URL of its directory.

    `root`: root certificates that verify the ACME server itself. None: the operating system's.
    """

    name: str
    directory: str
    email: str | None = None
    agree_tos: bool = False
    root: Path | None = None
    eab_kid: str | None = None
    eab_hmac_key: str | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class RenewalSuggestion:
    """The CA's suggested renewal window (RFC 9773). `retry_after`: seconds until the next request for it."""

    window: Span | None
    retry_after: float | None


class Issuer(Protocol):
    """Client of a CA. Methods block, and several threads may call them at once."""

    def issue(self, hostname: str, challenge_types: Sequence[str]) -> Issued:
        """Return a new key and its certificate. Raise IssueError.

        The CA may offer only some challenges: the first of `challenge_types` that it offers is used.
        """
        ...

    def renewal_suggestion(self, certificate: x509.Certificate) -> RenewalSuggestion:
        """Return when to renew `certificate`. Raise IssueError."""
        ...
