"""What is asked of a certificate authority. Light: the client that implements it is imported when it is needed."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from pathlib import Path

    from cryptography import x509

    from registry_proxy.policy.renewal import Span


class IssueError(Exception):
    """No certificate: the text has the authority's own words and what to do; `retry_after` are seconds it asks for."""

    def __init__(self, text: str, retry_after: float | None = None) -> None:
        super().__init__(text)
        self.retry_after = retry_after


@dataclass(frozen=True, slots=True)
class Authority:
    """An ACME server, and who we are to it. `name` is for the log, `directory` its address.

    `ca_root`: whom to trust about the server itself, instead of the operating system's authorities.
    """

    name: str
    directory: str
    email: str | None = None
    agree_tos: bool = False
    ca_root: Path | None = None
    eab_kid: str | None = None
    eab_hmac_key: str | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class Suggestion:
    """The authority's word on when to renew (RFC 9773). `retry_after`: seconds after which to ask again."""

    window: Span | None
    retry_after: float | None


class Issuer(Protocol):
    """Blocks; may be used by several threads at once."""

    def issue(self, hostname: str, challenge: str) -> bytes:
        """Key, certificate and intermediates in PEM. Raises IssueError."""

    def suggestion(self, certificate: x509.Certificate) -> Suggestion:
        """When to renew `certificate`. Raises IssueError."""
