"""Docker Hub's report of the pulls that are left."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from collections.abc import Mapping

# draft-ietf-httpapi-ratelimit-headers-02, as Docker Hub sends it: `100;w=21600`.
_QUOTA = re.compile(r"\s*(\d{1,9})\s*(?:;\s*w=(\d{1,9}))?", re.ASCII)


def is_account_limit(headers: Mapping[str, str], code: str) -> bool:
    """Return whether a 429 with this error code means the limit of the whole account, as at Docker Hub.

    Any other 429 concerns only the repository that was requested. The response to a HEAD has no body, and so no code.
    """
    return code.upper() in {"TOOMANYREQUESTS", ""} and "RateLimit-Limit" in headers


@dataclass(frozen=True, slots=True)
class RateLimit:
    """The number of pulls allowed per window (in seconds), and the number of pulls left."""

    limit: int
    remaining: int
    window: int | None

    @classmethod
    def parse(cls, headers: Mapping[str, str]) -> Self | None:
        """Return the rate limit in the headers; None if they are missing or malformed."""
        limit = _QUOTA.match(headers.get("RateLimit-Limit", ""))
        remaining = _QUOTA.match(headers.get("RateLimit-Remaining", ""))
        if limit is None or remaining is None:
            return None
        return cls(int(limit[1]), int(remaining[1]), int(limit[2]) if limit[2] else None)
