"""Access control by source address, login and client certificate. Every request passes it (CVE-2026-41888)."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING

from registry_proxy.oci.errors import ErrorCode, RegistryError
from registry_proxy.policy.access import Address, AddressRanges, NamePatterns, client_address

if TYPE_CHECKING:
    from collections.abc import Mapping

    from registry_proxy.server.logins import Logins
    from registry_proxy.server.request import Request

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class AccessRule:
    """The requirements for a client; None means no check. Either a login or a certificate is enough.

    A verified client certificate must have one of the `certificate_names`.
    """

    sources: AddressRanges | None = None
    logins: Logins | None = None
    certificate_names: NamePatterns | None = None

    @property
    def is_open(self) -> bool:
        """Return whether every client is allowed."""
        return self.sources is None and self.logins is None and self.certificate_names is None


class Gate:
    """Access decisions, by the rule of the requested registry, or by the general rule if it has none."""

    def __init__(
        self,
        rule: AccessRule,
        rules: Mapping[str, AccessRule],
        trusted_proxies: AddressRanges,
    ) -> None:
        self._rule = rule
        self._rules = rules
        self._trusted_proxies = trusted_proxies
        # Whether every client may pull: no request needs to be checked.
        self.is_open = rule.is_open and all(other.is_open for other in rules.values())

    def is_known_allowed(self, request: Request, registry: str | None) -> bool:
        """Return whether the request is allowed, as far as this is known without waiting."""
        rule = self._rule_of(registry)
        if rule.sources is not None and self.address(request) not in rule.sources:
            return False
        return self._is_known(rule, request)

    async def admit_to_all(self, request: Request) -> None:
        """Check a request that concerns all registries. Raise RegistryError if it is not allowed."""
        for registry in (None, *self._rules):
            await self.admit(request, registry)

    async def admit(self, request: Request, registry: str | None) -> None:
        """Check a request. Raise RegistryError if it is not allowed."""
        if self.is_known_allowed(request, registry):
            return
        rule = self._rule_of(registry)
        address = self.address(request)
        if rule.sources is not None and address not in rule.sources:
            log.warning("%s was refused: access.sources does not include this address", address)
            raise RegistryError(
                ErrorCode.DENIED, f"the address {address} may not pull here; ask the operator of this cache"
            )
        await self._log_in(rule, request, address)

    async def _log_in(self, rule: AccessRule, request: Request, address: Address | None) -> None:
        if rule.logins is None:
            log.warning("%s was refused: it has no client certificate with an allowed name", address)
            raise RegistryError(
                ErrorCode.DENIED, "a client certificate with an allowed name is required to pull here"
            )
        await rule.logins.check(request.headers.get("authorization"), address)

    def _rule_of(self, registry: str | None) -> AccessRule:
        return self._rules.get(registry, self._rule) if registry is not None else self._rule

    def _is_known(self, rule: AccessRule, request: Request) -> bool:
        if rule.logins is None and rule.certificate_names is None:
            return True
        names = request.client.certificate_names
        if rule.certificate_names is not None and rule.certificate_names.allow(names):
            return True
        return rule.logins is not None and rule.logins.is_known(request.headers.get("authorization"))

    def address(self, request: Request) -> Address | None:
        """Return the address of the request's client, also behind trusted proxies."""
        forwarded = request.headers.get("x-forwarded-for")
        return client_address(request.client.address, forwarded, self._trusted_proxies)
