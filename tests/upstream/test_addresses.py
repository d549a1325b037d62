"""Each address belongs to the class that its packets go to."""

from __future__ import annotations

import pytest

from registry_proxy.upstream.addresses import AddressClass, classify, is_address


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("8.8.8.8", AddressClass.PUBLIC),
        ("2606:4700::1111", AddressClass.PUBLIC),
        ("10.0.0.1", AddressClass.PRIVATE),
        ("172.16.0.1", AddressClass.PRIVATE),
        ("172.32.0.1", AddressClass.PUBLIC),
        ("192.168.255.255", AddressClass.PRIVATE),
        ("fd12:3456::1", AddressClass.PRIVATE),
        ("127.0.0.1", AddressClass.LOOPBACK),
        ("127.255.255.254", AddressClass.LOOPBACK),
        ("::1", AddressClass.LOOPBACK),
        ("169.254.0.1", AddressClass.LINK_LOCAL),
        ("fe80::1", AddressClass.LINK_LOCAL),
        ("fe80::1%eth0", AddressClass.LINK_LOCAL),
        ("100.64.0.1", AddressClass.SHARED),
        ("100.127.255.255", AddressClass.SHARED),
        ("0.0.0.0", AddressClass.LOOPBACK),
        ("::", AddressClass.LOOPBACK),
        ("224.0.0.1", AddressClass.SPECIAL),
        ("255.255.255.255", AddressClass.SPECIAL),
        ("240.0.0.1", AddressClass.SPECIAL),
        ("192.0.2.1", AddressClass.SPECIAL),
        ("198.18.0.1", AddressClass.SPECIAL),
        ("ff02::1", AddressClass.SPECIAL),
        ("2001:db8::1", AddressClass.SPECIAL),
        ("2001::1", AddressClass.SPECIAL),  # Teredo
        ("64:ff9b:1::1", AddressClass.SPECIAL),  # NAT64 of somebody's own
        ("fec0::1", AddressClass.SPECIAL),
        ("::7f00:1", AddressClass.SPECIAL),  # IPv4-compatible, deprecated
        ("registry.example.com", AddressClass.SPECIAL),
        ("2130706433", AddressClass.SPECIAL),
    ],
)
def test_address_has_the_class_of_its_network(address: str, expected: AddressClass) -> None:
    assert classify(address) is expected


@pytest.mark.parametrize(
    "address",
    ["169.254.169.254", "fd00:ec2::254", "100.100.100.200", "168.63.129.16", "192.0.0.192"],
)
def test_metadata_services_are_of_no_class_that_a_private_registry_is_of(address: str) -> None:
    assert classify(address) is AddressClass.LINK_LOCAL


@pytest.mark.parametrize(
    ("inner", "expected"),
    [
        ("127.0.0.1", AddressClass.LOOPBACK),
        ("10.0.0.1", AddressClass.PRIVATE),
        ("169.254.169.254", AddressClass.LINK_LOCAL),
        ("8.8.8.8", AddressClass.PUBLIC),
    ],
)
def test_an_embedded_ipv4_address_decides(inner: str, expected: AddressClass) -> None:
    high, low = (
        int(first) << 8 | int(second) for first, second in (inner.split(".")[:2], inner.split(".")[2:])
    )
    assert classify(f"::ffff:{inner}") is expected
    assert classify(f"2002:{high:x}:{low:x}::1") is expected  # 6to4
    assert classify(f"64:ff9b::{high:x}:{low:x}") is expected  # NAT64


@pytest.mark.parametrize(
    ("host", "expected"),
    [("127.0.0.1", True), ("::1", True), ("fe80::1%eth0", True), ("localhost", False), ("1.2.3", False)],
)
def test_is_address_knows_literals(host: str, expected: bool) -> None:
    assert is_address(host) is expected
