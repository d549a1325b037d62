"""Registry errors (OCI distribution-spec, "Error Codes"), independent of HTTP."""

from __future__ import annotations

from enum import StrEnum


class ErrorCode(StrEnum):
    """Codes of the specification, and additional ones for invalid requests and for failures."""

    BLOB_UNKNOWN = "BLOB_UNKNOWN"
    DENIED = "DENIED"
    DIGEST_INVALID = "DIGEST_INVALID"

    MANIFEST_UNKNOWN = "MANIFEST_UNKNOWN"
    NAME_INVALID = "NAME_INVALID"
    NAME_UNKNOWN = "NAME_UNKNOWN"
    PAGINATION_NUMBER_INVALID = "PAGINATION_NUMBER_INVALID"
    REQUEST_INVALID = "REQUEST_INVALID"
    TAG_INVALID = "TAG_INVALID"
    TOOMANYREQUESTS = "TOOMANYREQUESTS"
    UNAUTHORIZED = "UNAUTHORIZED"
    UNAVAILABLE = "UNAVAILABLE"
    UNSUPPORTED = "UNSUPPORTED"
    UPSTREAM_BROKEN = "UPSTREAM_BROKEN"
    UPSTREAM_TIMEOUT = "UPSTREAM_TIMEOUT"


class RegistryError(Exception):
    """An error response to a client.

    `message` has the object, the cause and the next step. `detail` has facts for programs. `retry_after` is in seconds
    and accompanies TOOMANYREQUESTS and UNAVAILABLE.
    """

    def __init__(
        self,
        code: ErrorCode,
        message: str,
        detail: dict[str, str] | None = None,
        *,
        retry_after: int | None = None,
    ) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.detail = detail or {}
        self.retry_after = retry_after
