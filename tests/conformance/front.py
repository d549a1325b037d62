"""One address for a registry and the cache before it: reads go to the cache, everything else to the registry.

The suite pushes what it pulls, and a read-only cache takes no pushes.
"""

from __future__ import annotations

import re
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, TypeAlias

import aiohttp
from aiohttp import web

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from tests.kit.wire import Reply

    Writes: TypeAlias = str | Callable[[web.BaseRequest, bytes], Reply]

_READ = re.compile(r"/v2/(|.+/(manifests|blobs|referrers)/[^/]+|.+/tags/list)")
_HOP_BY_HOP = {"connection", "keep-alive", "transfer-encoding"}


@asynccontextmanager
async def front(reads: str, writes: Writes) -> AsyncIterator[str]:
    """Serve on a free port, and yield host and port. `reads` is a base URL, `writes` one or a handler."""
    async with aiohttp.ClientSession(
        auto_decompress=False, cookie_jar=aiohttp.DummyCookieJar(), skip_auto_headers=["Accept", "User-Agent"]
    ) as client:

        async def handle(request: web.BaseRequest) -> web.StreamResponse:
            is_read = request.method in ("GET", "HEAD") and _READ.fullmatch(request.path)
            target = reads if is_read else writes
            if isinstance(target, str):
                try:
                    return await _forward(client, request, target)
                except aiohttp.ClientError:  # the server broke off, as the client is to see
                    assert request.transport is not None
                    request.transport.abort()
                    return web.Response()
            made = target(request, await request.content.read())
            return web.Response(status=made.status, headers=made.headers, body=bytes(made.body))

        runner = web.ServerRunner(web.Server(handle))
        await runner.setup()
        try:
            await web.TCPSite(runner, "127.0.0.1", 0).start()
            yield f"127.0.0.1:{runner.addresses[0][1]}"
        finally:
            await runner.cleanup()


async def _forward(
    client: aiohttp.ClientSession, request: web.BaseRequest, target: str
) -> web.StreamResponse:
    headers = {name: value for name, value in request.headers.items() if name.lower() not in _HOP_BY_HOP}
    body = await request.content.read()
    async with client.request(
        request.method, target + request.path_qs, headers=headers, data=body or None, allow_redirects=False
    ) as answer:
        kept = [(name, value) for name, value in answer.headers.items() if name.lower() not in _HOP_BY_HOP]
        raw = await answer.read()
        response = web.StreamResponse(status=answer.status)
        response.headers.extend(kept)
        if request.method != "HEAD" and "Content-Length" not in response.headers:
            response.content_length = len(raw)
        await response.prepare(request)
        if request.method != "HEAD":
            await response.write(raw)
        await response.write_eof()
        return response
