"""What an upstream's failure means: for the copy that is there, and for the client."""

from __future__ import annotations

import logging
import math
from contextlib import contextmanager
from typing import TYPE_CHECKING

from registry_proxy.index.base import IndexFailedError
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
    from collections.abc import Iterator

    from registry_proxy.upstream.base import Upstream

log = logging.getLogger(__name__)

# What a client is told to wait after a 429 that named no time of its own, in seconds. podman and skopeo try four times
# more, after this time each, before they tell their user anything.
DEFAULT_RETRY_AFTER = 5


def classify_failure(error: UpstreamError) -> UpstreamFailure:
    """The kind of failure, as the freshness rules know it."""
    match error:
        case UpstreamNotFoundError():
            return UpstreamFailure.GONE
        case UpstreamDeniedError():
            return UpstreamFailure.REFUSED
        case _:
            return UpstreamFailure.OUTAGE


def to_registry_error(error: UpstreamError, upstream: Upstream, unknown: ErrorCode) -> RegistryError:
    """The failure in the registry's terms; `unknown` is the code for content that the upstream doesn't have."""
    detail = {"upstream": upstream.registry}
    cause = f"{upstream.registry}: {error}"
    match error:
        case UpstreamNotFoundError():
            return RegistryError(unknown, cause, detail)
        case UpstreamDeniedError(login_required=login_required):
            code = ErrorCode.UNAUTHORIZED if login_required else ErrorCode.DENIED
            hint = "If it is private, give this cache credentials for that registry."
            return RegistryError(code, f"{cause}. {hint}", detail)
        case UpstreamLimitedError(retry_after=retry_after):
            seconds = DEFAULT_RETRY_AFTER if retry_after is None else max(1, math.ceil(retry_after))
            return RegistryError(ErrorCode.TOOMANYREQUESTS, cause, detail, retry_after=seconds)
        case UpstreamTimeoutError():
            return RegistryError(ErrorCode.UPSTREAM_TIMEOUT, cause, detail)
        case _:
            return RegistryError(ErrorCode.UPSTREAM_BROKEN, cause, detail)


@contextmanager
def recorded_if_possible(what: str) -> Iterator[None]:
    """For writes to the index that no answer depends on: on a full disk, what is here is served all the same."""
    try:
        yield
    except IndexFailedError as error:
        log.error("%s is not recorded: %s. Check the disk under the storage path.", what, error)  # noqa: TRY400
