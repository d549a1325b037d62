"""Client addresses, allowed addresses and names, and the login throttle."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterable

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network


@lru_cache(1024)
def parse_address(text: str) -> Address | None:
    """Return the address in `text`, which may have a port or a zone, or None if `text` is not an address.

    An IPv4-mapped IPv6 address, as a dual-stack socket reports it, becomes the IPv4 address.
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
    """Return the IPv4 address of an IPv4-mapped IPv6 address (RFC 4291, section 2.5.5.2), or the address itself."""
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return mapped or address


@dataclass(frozen=True, slots=True)
class AddressRanges:
    """A set of IPv4 and IPv6 networks."""

    networks: tuple[Network, ...] = ()

    def __contains__(self, address: Address | None) -> bool:
        return address is not None and any(
            address in network for network in self.networks if network.version == address.version
        )


def client_address(peer: Address | None, forwarded_for: str | None, trusted: AddressRanges) -> Address | None:
    """Return the client's address: the peer's, or the one that trusted proxies report in `X-Forwarded-For`.

    The header is read from its end. Each trusted hop vouches for the entry before it, so entries of untrusted hops,
    which can be forged, are never read. Return None if a trusted proxy reports an entry that is not an address.
    """
    address = peer
    for hop in reversed(forwarded_for.split(",") if forwarded_for else []):
        if address not in trusted:
            break
        address = parse_address(hop)
    return address


class NamePatterns:
    """Patterns for names. `*` matches any characters, and case is ignored."""

    def __init__(self, patterns: Iterable[str]) -> None:
        never = "(?!)"
        expressions = [*map(_expression, patterns)] or [never]
        self._expression = re.compile("|".join(expressions), re.IGNORECASE | re.DOTALL)

    def allow(self, names: Iterable[str]) -> bool:
        """Return whether one of a certificate's names matches a pattern."""
        return any(self._expression.fullmatch(name) for name in names)


def _expression(pattern: str) -> str:
    """Return the regular expression of a pattern. It never tries another place for a piece that it has found."""
    first, *rest = map(re.escape, pattern.split("*"))
    if not rest:
        return first
    *middle, last = rest
    return first + "".join(f"(?>.*?{piece})" for piece in middle) + f".*{last}"


@dataclass(slots=True)
class Throttle:
    """Login throttle: after `limit` failed logins within `window` seconds, a key is blocked for `window` seconds.

    A key stands for all that is counted together. Times are seconds of a monotonic clock. At most `capacity` keys are
    kept, the latest ones.
    """

    limit: int = 10
    window: float = 60.0
    capacity: int = 10_000
    _failures: dict[Hashable, tuple[int, float]] = field(default_factory=dict)

    def failures(self, key: Hashable, now: float) -> int:
        """Return the number of failed logins within the window."""
        count, until = self._failures.get(key, (0, 0.0))
        return count if until > now else 0

    def wait(self, key: Hashable, now: float) -> float:
        """Return the seconds until this key may retry, or 0 if it is not blocked."""
        count, until = self._failures.get(key, (0, 0.0))
        return until - now if count >= self.limit and until > now else 0.0

    def failed(self, key: Hashable, now: float) -> None:
        """Record a failed login."""
        count, until = self._failures.pop(key, (0, 0.0))
        if until <= now:
            count = 0
        if count + 1 in (1, self.limit):
            until = now + self.window
        self._failures[key] = (count + 1, until)
        if len(self._failures) > self.capacity:
            del self._failures[next(iter(self._failures))]

    def succeeded(self, key: Hashable) -> None:
        """Record a successful login: the count restarts at zero."""
        self._failures.pop(key, None)


def host_key(address: Address | None) -> int | None:
    """Return one number for all addresses of a host: an IPv6 host can have a whole /64 (RFC 7421, section 1)."""
    if address is None:
        return None
    return int(address) if address.version == 4 else -(int(address) >> 64) - 1
