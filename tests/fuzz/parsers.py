"""The parsers of bytes that other programs choose: what each accepts, and which errors it may raise."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from yarl import URL

from registry_proxy.cache.manifests.listings import _of_type
from registry_proxy.oci.challenge import parse_challenges
from registry_proxy.oci.errors import RegistryError
from registry_proxy.oci.image_name import parse_image_name
from registry_proxy.oci.link_header import link_target
from registry_proxy.oci.manifest import InvalidManifestError, parse_manifest
from registry_proxy.oci.ranges import UnsatisfiableRangeError, parse_content_range, select_range
from registry_proxy.oci.reference import (
    Digest,
    InvalidDigestError,
    InvalidNameError,
    InvalidTagError,
)
from registry_proxy.policy.access import AddressRanges, NamePatterns, client_address, parse_address
from registry_proxy.server.proxy_protocol import InvalidProxyHeaderError, parse_binary, parse_line
from registry_proxy.server.request import Client, RefusedRequestError, Request, RequestReader
from registry_proxy.server.responses import matches_etag
from registry_proxy.server.routes import parse_target
from registry_proxy.upstream.auth.schemes import choose_scheme
from registry_proxy.upstream.auth.tokens import InvalidTokenResponseError, parse_token
from registry_proxy.upstream.failures import RedirectRefusedError, excerpt, retry_after
from registry_proxy.upstream.listings import (
    InvalidListingError,
    parse_referrers,
    parse_tags,
    referrers_index,
)
from registry_proxy.upstream.ratelimit import RateLimit
from registry_proxy.upstream.redirects import next_url

if TYPE_CHECKING:
    from collections.abc import Callable

# The longest header that the server accepts from a registry, in bytes.
HEADER = 128 * 1024
# Longer documents take proportionally longer.
DOCUMENT = 64 * 1024
_DIGEST = b"sha256:" + b"a" * 64
_OTHER = Digest.of(b"")
_JSON = (
    b"{",
    b"}",
    b"[",
    b"]",
    b",",
    b":",
    b'"',
    b"\\",
    b"null",
    b"true",
    b"1",
    b"-1e999",
    b"9" * 400,
    b'"a":',
    b'"digest":',
    b'"size":',
    b'{"digest":"%s","size":1}' % _DIGEST,
    b'{"digest":""}',
    b"{},",
    b'"",',
    b"\xff",
    b"\\ud800",
)


@dataclass(frozen=True)
class Parser:
    """One parser. `expected` are its documented errors, `longest` is in bytes.

    `pieces` are the parts of its language, those that may come first at the beginning.
    """

    name: str
    parse: Callable[[bytes], object]
    expected: tuple[type[Exception], ...]
    pieces: tuple[bytes, ...]
    seeds: tuple[bytes, ...] = field(default=())
    longest: int = HEADER

    def __call__(self, data: bytes) -> None:
        """Parse the bytes. Raise only what nobody expects."""
        with contextlib.suppress(*self.expected):
            self.parse(data)


def _request(data: bytes) -> None:
    """Everything that the server does with a request before it asks the cache."""
    requests: list[Request] = []
    reader = RequestReader(requests.append, Client(None))
    try:
        for first in range(0, len(data), 4096):
            reader.feed(data[first : first + 4096])
    finally:
        for request in requests:
            with contextlib.suppress(RegistryError):
                parse_target(request.target)
            with contextlib.suppress(UnsatisfiableRangeError):
                select_range(request.headers.get("range"), 10)
            matches_etag(request.headers.get("if-none-match", ""), _OTHER)


def _challenges(data: bytes) -> None:
    header = data.decode("latin-1")
    parse_challenges(header)
    choose_scheme(header, "library/alpine")


def _range(data: bytes) -> None:
    header = data.decode("latin-1")
    parse_content_range(header)
    select_range(header, 10)


def _rate_limit(data: bytes) -> None:
    header = data.decode("latin-1")
    RateLimit.parse({"RateLimit-Limit": header, "RateLimit-Remaining": header})


def _addresses(data: bytes) -> None:
    header = data.decode("latin-1")
    parse_address.__wrapped__(header)
    client_address(parse_address("127.0.0.1"), header, AddressRanges())


def _name(data: bytes) -> None:
    NamePatterns(["*.a*b*c.test", "*a*a*a*"]).allow([data.decode("latin-1")])


def _referrers(data: bytes) -> None:
    _of_type(referrers_index(parse_referrers(data)), "a")


PARSERS = (
    Parser(
        "request",
        _request,
        (RefusedRequestError,),
        (
            b"GET ",
            b"/v2/",
            b"a/",
            b"manifests/",
            b"?n=1&last=",
            b"&",
            b"%2e",
            _DIGEST,
            b" HTTP/1.1\r\n",
            b"Host: a\r\n",
            b"Range: bytes=0-5\r\n",
            b'If-None-Match: "a", *\r\n',
            b"Content-Length: 1\r\n",
            b"Transfer-Encoding: chunked\r\n",
            b"Upgrade: a\r\nConnection: upgrade\r\n",
            b"\r\n",
            b"\n",
            b":",
            b" ",
            b"\0",
            b"\xff",
        ),
        (b"GET /v2/a/manifests/latest HTTP/1.1\r\nHost: a\r\n\r\n",),
    ),
    Parser(
        "challenge",
        _challenges,
        (),
        (
            b"Bearer ",
            b"Basic",
            b'realm="https://a.test/',
            b'realm="',
            b'"',
            b"\\",
            b"=",
            b",",
            b" ",
            b"\t",
            b"a",
            b"a=b",
            b"scope=",
            b"service=",
            b"\xe4",
            b"://",
            b"[",
            b".",
        ),
        (b'Bearer realm="https://a.test/token",service="a",scope="repository:b:pull"',),
    ),
    Parser(
        "link",
        lambda data: link_target(data.decode("latin-1"), "next"),
        (),
        (
            b"</v2/a>",
            b"<",
            b">",
            b";",
            b",",
            b" ",
            b"rel=",
            b'"',
            b"next",
            b'a="b"',
            b"a=b",
            b"\\",
            b"=",
            b"\xff",
        ),
        (b'</v2/a/tags/list?n=1&last=b>; rel="next"',),
    ),
    Parser(
        "range",
        _range,
        (UnsatisfiableRangeError,),
        (b"bytes", b"=", b" ", b"-", b"0", b"9" * 19, b",", b"/", b"*", b"\xb2", b"\t"),
        (b"bytes=0-5", b"bytes 0-5/10"),
    ),
    Parser(
        "manifest",
        lambda data: parse_manifest(data, ""),
        (InvalidManifestError,),
        (*_JSON, b'"schemaVersion":2', b'"layers":[', b'"manifests":[', b'"config":{', b'"mediaType":"a/b"'),
        (
            b'{"schemaVersion":2,"layers":[{"digest":"%s","size":1}]}' % _DIGEST,
            b'{"schemaVersion":2,"manifests":[]}',
        ),
        DOCUMENT,
    ),
    Parser(
        "tags",
        parse_tags,
        (InvalidListingError,),
        (*_JSON, b'{"tags":[', b'"a",'),
        (b'{"name":"a","tags":["a","b"]}',),
        DOCUMENT,
    ),
    Parser(
        "referrers",
        _referrers,
        (InvalidListingError,),
        (*_JSON, b'{"manifests":[', b'"artifactType":"a"'),
        (b'{"manifests":[{"artifactType":"a"},{}]}',),
        DOCUMENT,
    ),
    Parser(
        "token",
        lambda data: parse_token(data, 0.0),
        (InvalidTokenResponseError,),
        (*_JSON, b'{"token":"a"', b'"expires_in":', b'"access_token":'),
        (b'{"token":"a","expires_in":300}',),
        64 * 1024,
    ),
    Parser("error", excerpt, (), (*_JSON, b'{"errors":[', b'"message":', b"<html>"), longest=16 * 1024),
    Parser(
        "retry",
        lambda data: retry_after(data.decode("latin-1"), 0.0),
        (),
        (
            b"Fri, ",
            b"27 ",
            b"Nov ",
            b"2026 ",
            b"07:28:00 ",
            b"GMT",
            b"+",
            b"-",
            b"9" * 20,
            b"1",
            b":",
            b" ",
            b"(",
        ),
        (b"120", b"Fri, 27 Nov 2026 07:28:00 GMT"),
    ),
    Parser(
        "redirect",
        lambda data: next_url(URL("https://a.test/v2/"), data.decode("latin-1")),
        (RedirectRefusedError,),
        (
            b"https://",
            b"http:",
            b"/",
            b"..",
            b"a",
            b".",
            b":",
            b"@",
            b"[",
            b"]",
            b"?",
            b"#",
            b"%",
            b"\xe4",
            b"\xad",
        ),
        (b"https://b.test/blob?signature=%2F", b"/v2/"),
    ),
    Parser("rate limit", _rate_limit, (), (b"100", b";", b"w=", b" ", b"9" * 20), (b"100;w=21600",)),
    Parser(
        "proxy line",
        parse_line,
        (InvalidProxyHeaderError,),
        (b"PROXY ", b"TCP4 ", b"TCP6 ", b"UNKNOWN", b"1.2.3.4 ", b"::1 ", b"80", b" ", b"\r\n", b"%", b"["),
        (b"PROXY TCP4 1.2.3.4 5.6.7.8 1 2\r\n",),
        107,
    ),
    Parser(
        "proxy header",
        lambda data: parse_binary(data[:16].ljust(16, b"\0"), data[16:]),
        (InvalidProxyHeaderError,),
        (b"\r\n\r\n\0\r\nQUIT\n", b"\x21\x11\0\x0c", b"\x21\x21\0\x24", b"\x20\0\0\0", b"\x7f", b"\0\0\0\0"),
        (b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\x7f\0\0\x01\x7f\0\0\x01\0\x50\0\x51",),
        2048,
    ),
    Parser(
        "addresses",
        _addresses,
        (),
        (b"127.0.0.1", b"::1", b",", b" ", b":", b"[", b"]", b"%", b'"', b"1", b".", b"\xb2"),
        (b"127.0.0.1, [::1]:80",),
        32 * 1024,
    ),
    Parser(
        "certificate name", _name, (), (b"a", b"b", b"c", b".", b"test", b"\xe4", b"\n"), (b"xaxbxc.test",)
    ),
    Parser(
        "image name",
        lambda data: parse_image_name(data.decode("latin-1")),
        (InvalidNameError, InvalidTagError, InvalidDigestError),
        (b"a", b"/", b".", b"_", b"__", b"-", b":", b"@", _DIGEST, b"\xe4"),
        (b"ghcr.io/a/b:c@" + _DIGEST,),
    ),
)
