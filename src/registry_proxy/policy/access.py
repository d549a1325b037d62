"""Who a client is, and whether an address or a name is among those allowed."""

from __future__ import annotations

from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network


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


def is_allowed_name(names: Iterable[str], patterns: Iterable[str]) -> bool:
    """Whether one of a certificate's names matches one of the patterns, in which `*` stands for any characters."""
    allowed = [pattern.lower() for pattern in patterns]
    return any(fnmatchcase(name.lower(), pattern) for name in names for pattern in allowed)


@dataclass(slots=True)
class Throttle:
    """Failed logins an address, within `window` seconds; `limit` of them and the address has to wait.

    Times are seconds of a steady clock. At most `capacity` addresses are remembered, the latest ones.
    """

    limit: int = 10
    window: float = 60.0
    capacity: int = 10_000
    _failures: dict[Address | None, tuple[int, float]] = field(default_factory=dict)

    def wait(self, address: Address | None, now: float) -> float:
        """Seconds until this address may try again; 0 when it may now."""
        count, until = self._failures.get(address, (0, 0.0))
        return until - now if count >= self.limit and until > now else 0.0

    def failed(self, address: Address | None, now: float) -> None:
        """Note a failed login."""
        count, until = self._failures.pop(address, (0, 0.0))
        self._failures[address] = (count + 1 if until > now else 1, now + self.window)
        if len(self._failures) > self.capacity:
            del self._failures[next(iter(self._failures))]

    def succeeded(self, address: Address | None) -> None:
        """Note a login: the count begins anew."""
        self._failures.pop(address, None)
