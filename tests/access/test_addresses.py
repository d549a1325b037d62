"""Who asks, by address and by the name in a certificate, and how often one may guess: decisions without any I/O."""

from __future__ import annotations

from ipaddress import ip_address, ip_network

import pytest

from registry_proxy.policy.access import (
    AddressRanges,
    NamePatterns,
    Throttle,
    client_address,
    host_key,
    parse_address,
)


def ranges(*networks: str) -> AddressRanges:
    return AddressRanges(tuple(ip_network(network) for network in networks))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("192.0.2.7", "192.0.2.7"),
        (" 192.0.2.7 ", "192.0.2.7"),
        ("192.0.2.7:4711", "192.0.2.7"),
        ("2001:db8::1", "2001:db8::1"),
        ("[2001:db8::1]:4711", "2001:db8::1"),
        ("[2001:db8::1]", "2001:db8::1"),
        ('"[2001:db8::1]"', "2001:db8::1"),
        ("fe80::1%eth0", "fe80::1"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("[::ffff:192.0.2.7]:4711", "192.0.2.7"),
        ("", None),
        ("unknown", None),
        ("_hidden", None),
        ("192.0.2", None),
        ("192.0.2.07", None),
        ("3221225991", None),
        ("2001:db8::1::", None),
        ("192.0.2.7, 192.0.2.8", None),
    ],
)
def test_an_address_is_read_in_every_spelling(text: str, expected: str | None) -> None:
    assert parse_address(text) == (ip_address(expected) if expected else None)


@pytest.mark.parametrize(
    ("address", "inside"),
    [
        ("10.1.2.3", True),
        ("11.0.0.1", False),
        ("192.0.2.7", True),
        ("192.0.2.8", False),
        ("2001:db8::1", True),
        ("2001:db9::1", False),
        ("::a01:203", False),  # 10.1.2.3 in digits, but no IPv4 address
    ],
)
def test_an_address_is_in_a_network_of_its_kind(address: str, inside: bool) -> None:
    networks = ranges("10.0.0.0/8", "192.0.2.7", "2001:db8::/32")
    assert (ip_address(address) in networks) is inside


def test_no_address_is_in_no_network() -> None:
    assert None not in ranges("0.0.0.0/0", "::/0")


PROXIES = ("10.0.0.0/8", "2001:db8::/32")


@pytest.mark.parametrize(
    ("peer", "header", "expected"),
    [
        # Nobody is believed but a trusted proxy.
        ("192.0.2.1", None, "192.0.2.1"),
        ("192.0.2.1", "10.0.0.1", "192.0.2.1"),
        ("192.0.2.1", "198.51.100.1, 10.0.0.1", "192.0.2.1"),
        # What the client wrote itself comes first, and is never reached.
        ("10.0.0.1", "198.51.100.1", "198.51.100.1"),
        ("10.0.0.1", "10.9.9.9, 198.51.100.1", "198.51.100.1"),
        ("10.0.0.1", "127.0.0.1, 10.9.9.9, 198.51.100.1, 10.0.0.2", "198.51.100.1"),
        ("10.0.0.1", "nonsense, 198.51.100.1", "198.51.100.1"),
        ("2001:db8::1", "[2001:db9::1]:4711", "2001:db9::1"),
        # All hops are proxies: the first one asks.
        ("10.0.0.1", "10.0.0.3, 10.0.0.2", "10.0.0.3"),
        ("10.0.0.1", None, "10.0.0.1"),
        # A trusted proxy that names nobody names nobody who may pass.
        ("10.0.0.1", "unknown", None),
        ("10.0.0.1", "198.51.100.1, unknown", None),
        ("10.0.0.1", "198.51.100.1,", None),
        (None, "10.0.0.1", None),
    ],
)
def test_the_client_is_the_last_hop_that_is_no_trusted_proxy(
    peer: str | None, header: str | None, expected: str | None
) -> None:
    address = client_address(ip_address(peer) if peer else None, header, ranges(*PROXIES))
    assert address == (ip_address(expected) if expected else None)


def test_without_trusted_proxies_the_header_says_nothing() -> None:
    peer = ip_address("10.0.0.1")
    assert client_address(peer, "127.0.0.1", AddressRanges()) == peer


@pytest.mark.parametrize(
    ("name", "pattern", "allowed"),
    [
        ("node-1.example.com", "node-1.example.com", True),
        ("Node-1.Example.com", "node-1.example.COM", True),
        ("node-1.example.com", "*.example.com", True),
        ("a.b.example.com", "*.example.com", True),
        ("example.com", "*.example.com", False),
        ("node-1.example.com.evil.test", "*.example.com", False),
        ("evilexample.com", "*.example.com", False),
        ("node-1.example.com", "node-?.example.com", False),
        ("node-1.example.com", "node-[0-9].example.com", False),
        ("node-[0-9].example.com", "node-[0-9].example.com", True),
        ("node\n1", "node*", True),
        ("evil\nnode-1.example.com", "node-1.example.com", False),
        ("anything", "*", True),
        ("", "node", False),
    ],
)
def test_an_asterisk_and_nothing_else_stands_for_other_characters(
    name: str, pattern: str, allowed: bool
) -> None:
    assert NamePatterns([pattern]).allow([name]) is allowed


def test_one_of_the_names_and_one_of_the_patterns_is_enough() -> None:
    assert NamePatterns(["c", "b"]).allow(["a", "b"])
    assert not NamePatterns(["*"]).allow([])
    assert not NamePatterns([]).allow(["a", ""])
    assert not NamePatterns(["ab", "c"]).allow(["a", "abc", "bc"])


# Throttling


ANN, BEN = (1, b"ann"), (1, b"ben")


def test_ten_failures_and_the_login_waits_a_minute() -> None:
    throttle = Throttle()
    for number in range(9):
        throttle.failed(ANN, float(number))
        assert throttle.wait(ANN, float(number)) == 0
    throttle.failed(ANN, 9.0)
    assert throttle.wait(ANN, 9.0) == 60
    assert throttle.wait(ANN, 68.0) == 1
    assert throttle.wait(ANN, 69.0) == 0
    assert throttle.wait(BEN, 9.0) == 0


def test_after_the_wait_the_count_begins_anew() -> None:
    throttle = Throttle()
    for _ in range(10):
        throttle.failed(ANN, 0)
    throttle.failed(ANN, 61)
    assert throttle.wait(ANN, 61) == 0


def test_failures_of_more_than_a_minute_are_not_counted_together() -> None:
    throttle = Throttle()
    for number in range(100):
        throttle.failed(ANN, number * 7.0)  # nine a minute
        assert throttle.wait(ANN, number * 7.0) == 0


def test_a_right_login_lets_the_count_begin_anew() -> None:
    throttle = Throttle(limit=2)
    throttle.failed(ANN, 0)
    throttle.succeeded(ANN)
    throttle.failed(ANN, 0)
    assert throttle.wait(ANN, 0) == 0


def test_an_ipv6_host_is_one_by_all_its_addresses() -> None:
    host = {host_key(ip_address(f"2001:db8::{number}")) for number in ("1", "2", "ffff:1")}
    others = {host_key(ip_address(other)) for other in ("2001:db8:0:1::1", "0.0.0.1", "::ffff")}
    assert len(host) == 1
    assert len(host | others | {host_key(None)}) == 5


def test_a_login_that_fails_does_not_block_another() -> None:
    throttle = Throttle(limit=1)
    throttle.failed((1, b"ann"), 0)
    assert throttle.wait((1, b"ann"), 0) > 0
    assert throttle.wait((1, b"ben"), 0) == throttle.wait((2, b"ann"), 0) == 0


def test_failures_are_counted_until_the_window_ends() -> None:
    throttle = Throttle()
    for second in range(3):
        throttle.failed(ANN, second)
    assert throttle.failures(ANN, 59) == 3
    assert throttle.failures(ANN, 60) == throttle.failures(BEN, 59) == 0


def test_only_so_many_logins_are_counted() -> None:
    throttle = Throttle(limit=1, capacity=100)
    for number in range(1000):
        throttle.failed(number, 0)
    assert len(throttle._failures) == 100
    assert throttle.wait(999, 0) > 0
    assert throttle.wait(0, 0) == 0
