"""Redirects: each hop is checked and gets only the headers that are meant for its host."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from registry_proxy.upstream.failures import RedirectRefusedError, without_secrets
from registry_proxy.upstream.urls import parse_url

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from yarl import URL

    from registry_proxy.upstream.response import UpstreamResponse

MAX_REDIRECTS = 5
_HOST = re.compile(r"[0-9A-Za-z._:%-]+", re.ASCII)
_URL_CHARACTERS = re.compile(r"[\x21-\x7e]+", re.ASCII)


async def follow(
    url: URL, response: UpstreamResponse, hop: Callable[[URL], Awaitable[UpstreamResponse]]
) -> UpstreamResponse:
    """Return the first response that is not a redirect, starting with `response` from `url`. Raise UpstreamError."""
    visited = [url]
    while location := response.location:
        await response.discard()
        url = next_url(url, location)
        if url in visited or len(visited) > MAX_REDIRECTS:
            raise RedirectRefusedError(
                f"redirects from {without_secrets(visited[0])} form a loop, or are more than {MAX_REDIRECTS}"
            )
        visited.append(url)
        response = await hop(url)
    return response


def next_url(url: URL, location: str) -> URL:
    """Return the target of a `Location` (RFC 9110, section 10.2.2) at `url`. Raise RedirectRefusedError."""
    here = without_secrets(url)
    try:
        # A signature covers the exact spelling: keep it, unless a request line can't contain it.
        encoded = bool(_URL_CHARACTERS.fullmatch(location))
        target = url.join(parse_url(location, encoded=encoded)).with_fragment(None)
        target = target.with_host(target.host or "")  # normalised, for comparisons
        valid = target.scheme in ("http", "https") and bool(_HOST.fullmatch(target.raw_host or ""))
    except ValueError:
        valid, target = False, url
    if not valid or target.user is not None or target.password is not None:
        raise RedirectRefusedError(f"{here} redirects to an address that is not a plain http(s) URL")
    if url.scheme == "https" and target.scheme != "https":
        raise RedirectRefusedError(f"{here} redirects from https to {target.origin()}: downgrade refused")
    return target
