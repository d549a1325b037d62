"""A blob's transfer, from the head of the answer on."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from registry_proxy.oci.ranges import parse_content_range
from registry_proxy.upstream.base import UpstreamBrokenError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from registry_proxy.upstream.base import Chunk
    from registry_proxy.upstream.response import UpstreamResponse

# RFC 9110, section 14.4: what a 416 carries.
_UNSATISFIED = re.compile(r"bytes \*/(\d{1,19})", re.ASCII | re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class ResponseStream:
    """The bytes of a blob from `offset` on (see `base.BlobStream`)."""

    response: UpstreamResponse
    offset: int
    size: int | None

    def chunks(self) -> AsyncIterator[Chunk]:
        return self.response.chunks()


def response_stream(response: UpstreamResponse, asked: int) -> ResponseStream:
    """What a 200 or 206 to a request for the bytes from `asked` on brings. Raises UpstreamBrokenError."""
    if response.status == 200:
        return ResponseStream(response, 0, response.length)
    part = parse_content_range(response.headers.get("Content-Range"))
    if part is None or part.start != asked or (part.size is not None and part.stop != part.size):
        raise UpstreamBrokenError(f"{response.what}: not the range that was asked for, from byte {asked} on")
    return ResponseStream(response, asked, part.size)


def unsatisfied_size(response: UpstreamResponse) -> int | None:
    """The blob's size that a 416 tells, if it does."""
    match = _UNSATISFIED.fullmatch(response.headers.get("Content-Range", "").strip())
    return int(match[1]) if match else None


def probed_size(response: UpstreamResponse) -> int | None:
    """The whole blob's size by a successful answer to `Range: bytes=0-0`."""
    if response.status == 200:
        return response.length
    if response.status == 416:
        return unsatisfied_size(response)
    part = parse_content_range(response.headers.get("Content-Range"))
    return part.size if part else None
