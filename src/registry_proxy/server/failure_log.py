"""Log lines of failed requests: the image, the registry, the cause and the next step.

The log handler leaves out repeated lines (`observe.repeats`). The lines have different templates, so that a client
that guesses names does not hide an outage.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from registry_proxy.oci.errors import ErrorCode, RegistryError
from registry_proxy.server.logins import LoginRequiredError
from registry_proxy.server.routes import BlobOf, ManifestOf, ReferrersOf, TagsOf, parse_target

if TYPE_CHECKING:
    from registry_proxy.server.request import Client, RefusedRequestError, Request

log = logging.getLogger(__name__)

_MAX_TARGET = 300  # characters
# The counter of responses that ended early because a file of the store could not be read.
DAMAGED = "DAMAGED"

_UNKNOWN = {ErrorCode.BLOB_UNKNOWN, ErrorCode.MANIFEST_UNKNOWN, ErrorCode.NAME_UNKNOWN}
_DENIED = {ErrorCode.DENIED, ErrorCode.UNAUTHORIZED}
_OUTAGE = "Cached images are still served. `registry-proxy doctor` checks the connection."
_STEPS = {
    ErrorCode.TOOMANYREQUESTS: "Wait, or configure credentials that may pull more: upstreams.NAME.username.",
    ErrorCode.UPSTREAM_BROKEN: _OUTAGE,
    ErrorCode.UPSTREAM_TIMEOUT: _OUTAGE,
}


def log_failure(request: Request, error: RegistryError) -> None:
    """Log why a request failed."""
    registry = error.detail.get("upstream")
    if isinstance(error, LoginRequiredError):
        # Many clients send their login only after this response. Wrong ones are logged by `logins`.
        log.debug("%s requires a login: %s", _target(request), error.message)
    elif registry is None and error.code is ErrorCode.DENIED:
        log.debug("%s was refused: %s", _target(request), error.message)  # the gate has logged the address
    elif registry is None:
        sender = f"{request.method} {_target(request)} from {request.client.address}"
        log.warning("%s was refused: %s", sender, error.message)
    elif error.code in _UNKNOWN:
        log.warning("%s does not exist: %s. Check the name.", _image(request, registry), error.message)
    elif error.code in _DENIED:
        log.warning(
            "pull of %s denied: %s", _image(request, registry), error.message
        )  # which has the next step
    else:
        step = f". {_STEPS[error.code]}" if error.code in _STEPS else ""
        log.warning("pull of %s failed: %s%s", _image(request, registry), error.message, step)


def log_aborted(request: Request, registry: str | None, error: Exception) -> None:
    """Log why the body of a response is incomplete."""
    image = _image(request, registry or "unknown registry")
    log.warning("pull of %s aborted: %s. The next attempt continues with the stored bytes.", image, error)


def log_malformed(client: Client, error: RefusedRequestError) -> None:
    """Log a request that could not be parsed."""
    log.warning("a request from %s was refused: %s", client.address, error)


def _image(request: Request, registry: str) -> str:
    """Return the name of the image with its registry, as in `docker.io/library/alpine:3.20`."""
    try:
        endpoint, _ = parse_target(request.target)
    except RegistryError:
        return f"{registry}, {_target(request)}"
    match endpoint:
        case ManifestOf(name, reference):
            separator = "@" if ":" in str(reference) else ":"
            text = f"{name}{separator}{reference}"
        case BlobOf(name, digest):
            text = f"{name}, blob {digest}"
        case TagsOf(name):
            text = f"{name}, tag list"
        case ReferrersOf(name, subject):
            text = f"{name}, referrers of {subject}"
        case _:
            text = _target(request)
    return text if text.startswith(f"{registry}/") else f"{registry}/{text}"


def _target(request: Request) -> str:
    """Return the target of the request without characters that a terminal would obey."""
    return request.target[:_MAX_TARGET].encode("ascii", "backslashreplace").decode()
