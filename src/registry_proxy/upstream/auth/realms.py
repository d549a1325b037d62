"""Rules for token services: which ones an upstream may refer to, and which ones get its credentials. Pure.

An attacker can choose the realm (CVE-2026-33540, CVE-2026-48978). The transport checks the address of a permitted name
when it connects.
"""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Protocol

from registry_proxy.upstream.addresses import is_address

if TYPE_CHECKING:
    from publicsuffixlist import PublicSuffixList
    from yarl import URL


class DomainRegistry(Protocol):
    """Lookup of registrable domains."""

    def registrable_domain(self, host: str) -> str | None:
        """Return the part of a host name that can be registered; None if there is none."""
        ...


class PublicSuffixes:
    """The Public Suffix List, loaded at the first lookup because it costs 50 ms and 4 MB."""

    @cached_property
    def _suffixes(self) -> PublicSuffixList:
        from publicsuffixlist import PublicSuffixList  # noqa: PLC0415 (see the class)

        return PublicSuffixList()

    def registrable_domain(self, host: str) -> str | None:
        if is_address(host):
            return None
        domain: str | None = self._suffixes.privatesuffix(host.lower().rstrip("."))
        return domain


class RealmRule:
    """The hosts that one upstream's challenges may refer to. `named` are those in the preset or the configuration."""

    def __init__(self, home: URL, named: frozenset[str], domains: DomainRegistry) -> None:
        self._home = home
        self._named = named
        self._domains = domains

    def is_named(self, url: URL) -> bool:
        """Return whether the preset or the configuration allows this host to get the upstream's credentials."""
        return url.host in self._named and self._is_no_downgrade(url)

    def allows_credentials(self, realm: URL) -> bool:
        """Return whether the upstream's credentials may be sent to this realm."""
        if not self._is_no_downgrade(realm) or realm.host is None:
            return False
        return realm.host == self._home.host or realm.host in self._named or self._is_sibling(realm.host)

    def allows_anonymous(self, realm: URL) -> bool:
        """Return whether an anonymous token may be requested from this realm."""
        return realm.scheme == "https" or self.allows_credentials(realm)

    def _is_no_downgrade(self, url: URL) -> bool:
        return url.scheme == "https" or (url.scheme == "http" and self._home.scheme == "http")

    def _is_sibling(self, host: str) -> bool:
        if is_address(host) or self._home.host is None:
            return False
        domain = self._domains.registrable_domain(host)
        return domain is not None and domain == self._domains.registrable_domain(self._home.host)
