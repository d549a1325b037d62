"""Plain HTTP next to TLS: redirects to HTTPS, and the responses to an ACME server's `http-01` validation."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from registry_proxy.server.responses import Response

if TYPE_CHECKING:
    from collections.abc import Callable

    from registry_proxy.server.request import Request
    from registry_proxy.server.responses import CachedResponse

# RFC 8555, section 8.3.
_CHALLENGE = "/.well-known/acme-challenge/"
# RFC 9110, section 7.2: a host name or an address, and a port.
_HOST = re.compile(r"([a-z0-9.-]{1,253}|\[[0-9a-f:.]+\])(?::\d{1,5})?", re.ASCII)


class HttpsRedirect:
    """An application for `Server`. `port` is that of TLS; `authorization` returns the key authorization of a token."""

    def __init__(self, port: int, authorization: Callable[[str], bytes | None]) -> None:
        self._port = "" if port == 443 else f":{port}"
        self._authorization = authorization

    def cached(self, request: Request, now: float) -> CachedResponse | None:  # noqa: ARG002
        """Return None: nothing is cached."""
        return None

    async def respond(self, request: Request) -> Response:
        """Return the response to any request."""
        path = request.target.partition("?")[0]
        if path.startswith(_CHALLENGE):
            content = self._authorization(path.removeprefix(_CHALLENGE))
            if content is None:
                return _text(404, "no such challenge is in progress")
            return Response(200, [("Content-Type", "application/octet-stream")], content)
        host = _HOST.fullmatch(request.host)
        if host is None or not request.target.startswith("/"):
            return _text(400, "the request has no valid host or path")
        # 308 keeps the method (RFC 9110, section 15.4.9).
        location = f"https://{host[1]}{self._port}{request.target}"
        return Response(308, [("Location", location), ("Content-Type", "text/plain")], b"use HTTPS\n")


def _text(status: int, text: str) -> Response:
    return Response(status, [("Content-Type", "text/plain")], f"{text}\n".encode())
