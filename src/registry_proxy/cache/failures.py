"""The meaning of an upstream's failure: for the stored copy, and for the client."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from registry_proxy.oci.errors import ErrorCode, RegistryError
from registry_proxy.policy.freshness import UpstreamFailure
from registry_proxy.upstream.base import (
    UpstreamDeniedError,
    UpstreamError,
    UpstreamLimitedError,
    UpstreamNotFoundError,
    UpstreamTimeoutError,
)

if TYPE_CHECKING:
    from registry_proxy.index.base import IndexFailedError

# The `Retry-After` of a 429 whose upstream response has none, in seconds. podman and skopeo retry four times, after
# this time each, before they report an error to their user.
DEFAULT_RETRY_AFTER = 5


def index_failure(error: IndexFailedError) -> RegistryError:
    """Return the failure of the index as a registry error. The server replaces an index that is damaged."""
    message = f"the index of this cache failed: {error}. Retry in some seconds"
    return RegistryError(ErrorCode.UNAVAILABLE, message, retry_after=DEFAULT_RETRY_AFTER)


class TooBusyError(UpstreamLimitedError):
    """This server has too much work of a kind to accept more: the upstream was not asked."""

    def __init__(self, work: str) -> None:
        super().__init__(
            f"this cache has too many {work} waiting; try again", retry_after=DEFAULT_RETRY_AFTER
        )


def classify_failure(error: UpstreamError) -> UpstreamFailure:
    """Return the failure as the freshness rules classify it."""
    match error:
        case UpstreamNotFoundError():
            return UpstreamFailure.GONE
        case UpstreamDeniedError():
            return UpstreamFailure.REFUSED
        case _:
            return UpstreamFailure.OUTAGE


def to_registry_error(error: UpstreamError, registry: str, unknown: ErrorCode) -> RegistryError:
    """Return the failure as a registry error; `unknown` is the code for content that the upstream does not have."""
    detail = {"upstream": registry}
    cause = f"{registry}: {error}"
    match error:
        case UpstreamNotFoundError():
            return RegistryError(unknown, cause, detail)
        case UpstreamDeniedError(login_required=login_required):
            code = ErrorCode.UNAUTHORIZED if login_required else ErrorCode.DENIED
            hint = "If the repository is private, configure credentials for this registry in the cache."
            return RegistryError(code, f"{cause}. {hint}", detail)
        case UpstreamLimitedError(retry_after=retry_after):
            seconds = DEFAULT_RETRY_AFTER if retry_after is None else max(1, math.ceil(retry_after))
            return RegistryError(ErrorCode.TOOMANYREQUESTS, cause, detail, retry_after=seconds)
        case UpstreamTimeoutError():
            return RegistryError(ErrorCode.UPSTREAM_TIMEOUT, cause, detail)
        case _:
            return RegistryError(ErrorCode.UPSTREAM_BROKEN, cause, detail)
