"""Classes of IP addresses, by the network that holds them. Pure."""

from __future__ import annotations

from enum import Enum
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network


class AddressClass(Enum):
    """Classes of addresses. A redirect must not lead from one class to another, except to a public address."""

    PUBLIC = "public"
    PRIVATE = "private"
    LOOPBACK = "loopback"
    LINK_LOCAL = "link-local or metadata"
    SHARED = "shared (carrier-grade NAT)"
    SPECIAL = "special-purpose"


# The first network that holds an address decides. Sources: IANA's special-purpose address registries
# (RFC 6890) and the metadata services of clouds that are outside of link-local space.
_RULES = tuple(
    (ip_network(network), kind)
    for kind, networks in (
        (
            AddressClass.LINK_LOCAL,
            (
                "169.254.0.0/16",
                "fe80::/10",
                "fd00:ec2::/32",  # Amazon EC2, over IPv6
                "100.100.100.200/32",  # Alibaba Cloud
                "168.63.129.16/32",  # Azure
                "192.0.0.192/32",  # Oracle Cloud
            ),
        ),
        # "This host" (RFC 1122): the kernel delivers packets for the unspecified address to loopback.
        (AddressClass.LOOPBACK, ("127.0.0.0/8", "::1/128", "0.0.0.0/8", "::/128")),
        (AddressClass.PRIVATE, ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "fc00::/7")),
        (AddressClass.SHARED, ("100.64.0.0/10",)),
        (
            AddressClass.SPECIAL,
            (
                "192.0.0.0/24",
                "192.0.2.0/24",
                "192.88.99.0/24",
                "198.18.0.0/15",
                "198.51.100.0/24",
                "203.0.113.0/24",
                "224.0.0.0/3",
                "2001::/23",
                "2001:db8::/32",
                "3fff::/20",
            ),
        ),
        (AddressClass.PUBLIC, ("0.0.0.0/0", "2000::/3")),
        (AddressClass.SPECIAL, ("::/0",)),
    )
    for network in networks
)
_NAT64 = ip_network("64:ff9b::/96")  # RFC 6052, section 2.1


def classify(text: str) -> AddressClass:
    """Return the class of an address in text form, with or without an IPv6 zone. Other text is SPECIAL."""
    address = reached_address(text)
    if address is None:
        return AddressClass.SPECIAL
    return next(kind for network, kind in _RULES if address in network)


def reached_address(text: str) -> IPv4Address | IPv6Address | None:
    """Return the address that packets to an address in text form reach; None if the text is not an address."""
    try:
        address = ip_address(text.partition("%")[0])
    except ValueError:
        return None
    return (_embedded(address) if isinstance(address, IPv6Address) else None) or address


def _embedded(address: IPv6Address) -> IPv4Address | None:
    """Return the IPv4 address that packets to `address` reach, if any. It determines the class."""
    if address in _NAT64:
        return IPv4Address(int(address) & 0xFFFF_FFFF)
    return address.ipv4_mapped or address.sixtofour


def is_address(host: str) -> bool:
    """Return whether the host of a URL is an IP literal."""
    try:
        ip_address(host.partition("%")[0])
    except ValueError:
        return False
    return True
