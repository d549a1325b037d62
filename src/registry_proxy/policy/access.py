"""Who a client is, and whether an address or a name is among those allowed."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network


@lru_cache(1024)
def parse_address(text: str) -> Address | None:
    """The address in `text`, which may be written with a port or a zone; None when it is none.

    An IPv4 address in IPv6 form, as a dual-stack socket tells it, is the IPv4 address.
    """
    text = text.strip().strip('"')
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        address = ip_address(text.partition("%")[0])
    except ValueError:
        return None
    return ipv4_of_mapped(address)


def ipv4_of_mapped(address: Address) -> Address:
    """The IPv4 address that an address in IPv6 form stands for (RFC 4291, section 2.5.5.2), or the address itself."""
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return mapped or address


@dataclass(frozen=True, slots=True)
class AddressRanges:
    """Networks, of IPv4 and IPv6."""

    networks: tuple[Network, ...] = ()

    def __contains__(self, address: Address | None) -> bool:
        return address is not None and any(
            address in network for network in self.networks if network.version == address.version
        )


def client_address(peer: Address | None, forwarded_for: str | None, trusted: AddressRanges) -> Address | None:
    """Who asks: the peer, or whom the proxies that are trusted name in `X-Forwarded-For`.

    The header is read from its end: each trusted hop vouches for the one before it, and what an untrusted one wrote,
    which may be anything, is never reached. None when a trusted proxy names something that is no address.
    """
    address = peer
    for hop in reversed(forwarded_for.split(",") if forwarded_for else []):
        if address not in trusted:
            break
        address = parse_address(hop)
    return address


class NamePatterns:
    """Names, in which `*` stands for any characters; capitals make no difference."""

    def __init__(self, patterns: Iterable[str]) -> None:
        expressions = [".*".join(map(re.escape, pattern.split("*"))) for pattern in patterns]
        nothing = "(?!)"
        self._expression = re.compile("|".join(expressions or [nothing]), re.IGNORECASE | re.DOTALL)

    def allow(self, names: Iterable[str]) -> bool:
        """Whether one of a certificate's names is among them."""
        return any(self._expression.fullmatch(name) for name in names)


@dataclass(slots=True)
class Throttle:
    """Failed logins of an address: after `limit` of them within `window` seconds it has to wait for as long.

    Times are seconds of a steady clock. At most `capacity` addresses are remembered, the latest ones.
    """

    limit: int = 10
    window: float = 60.0
    capacity: int = 10_000
    _failures: dict[int | None, tuple[int, float]] = field(default_factory=dict)

    def wait(self, address: Address | None, now: float) -> float:
        """Seconds until this address may try again; 0 when it may now."""
        count, until = self._failures.get(_client_key(address), (0, 0.0))
        return until - now if count >= self.limit and until > now else 0.0

    def failed(self, address: Address | None, now: float) -> None:
        """Note a failed login."""
        site = _client_key(address)
        count, until = self._failures.pop(site, (0, 0.0))
        if until <= now:
            count = 0
        if count + 1 in (1, self.limit):
            until = now + self.window
        self._failures[site] = (count + 1, until)
        if len(self._failures) > self.capacity:
            del self._failures[next(iter(self._failures))]

    def succeeded(self, address: Address | None) -> None:
        """Note a login: the count begins anew."""
        self._failures.pop(_client_key(address), None)


def _client_key(address: Address | None) -> int | None:
    """One number for all addresses that one host can have: an IPv6 host has a /64 of its own (RFC 7421, section 1)."""
    if address is None:
        return None
    return int(address) if address.version == 4 else -(int(address) >> 64) - 1
