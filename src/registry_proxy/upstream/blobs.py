"""A blob's transfer, from the head of the answer on."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from registry_proxy.oci.ranges import parse_content_range
from registry_proxy.upstream.base import UpstreamBrokenError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from registry_proxy.upstream.answers import Answer
    from registry_proxy.upstream.base import Chunk

# RFC 9110, section 14.4: what a 416 carries.
_UNSATISFIED = re.compile(r"bytes \*/(\d{1,19})", re.ASCII | re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Transfer:
    """The bytes of a blob from `offset` on (see `base.BlobStream`)."""

    answer: Answer
    offset: int
    size: int | None

    def chunks(self) -> AsyncIterator[Chunk]:
        return self.answer.chunks()


def transfer(answer: Answer, asked: int) -> Transfer:
    """What a 200 or 206 to a request for the bytes from `asked` on brings. Raises UpstreamBrokenError."""
    if answer.status == 200:
        return Transfer(answer, 0, answer.length)
    part = parse_content_range(answer.headers.get("Content-Range"))
    if part is None or part.start != asked or (part.size is not None and part.stop != part.size):
        raise UpstreamBrokenError(f"{answer.what}: not the range that was asked for, from byte {asked} on")
    return Transfer(answer, asked, part.size)


def unsatisfied_size(answer: Answer) -> int | None:
    """The blob's size that a 416 tells, if it does."""
    match = _UNSATISFIED.fullmatch(answer.headers.get("Content-Range", "").strip())
    return int(match[1]) if match else None


def probed_size(answer: Answer) -> int | None:
    """The whole blob's size by a successful answer to `Range: bytes=0-0`."""
    if answer.status == 200:
        return answer.length
    if answer.status == 416:
        return unsatisfied_size(answer)
    part = parse_content_range(answer.headers.get("Content-Range"))
    return part.size if part else None
