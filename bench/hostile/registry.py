"""The simulated registries: any name that starts with `image` exists, and any blob can be requested.

A token is required as on Docker Hub, so that each unknown name costs three requests. Blobs other than the known one are
64 MiB of zeros, which never match their digest.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
from contextlib import suppress
from multiprocessing import get_context
from typing import TYPE_CHECKING

from bench.content import MANIFEST_TYPE

if TYPE_CHECKING:
    from multiprocessing.process import BaseProcess

BLOB_SIZE = 64 << 20
MANIFEST_SIZE = (4 << 20) - 1024
SMALL_SIZE = 2048
_PIECE = bytes(256 << 10)
_RATE = 8 << 20  # bytes per second for each transfer
_DELAY = 0.05  # seconds until the response of each request


def known_blob() -> str:
    """Return the digest of the blob that matches its content."""
    digest = hashlib.sha256()
    for _ in range(BLOB_SIZE // len(_PIECE)):
        digest.update(_PIECE)
    return f"sha256:{digest.hexdigest()}"


def manifest(size: int) -> bytes:
    """Return an image manifest of `size` bytes."""
    empty = f"sha256:{hashlib.sha256(b'').hexdigest()}"
    config = {"mediaType": "application/vnd.oci.image.config.v1+json", "digest": empty, "size": 0}
    document = {"schemaVersion": 2, "mediaType": MANIFEST_TYPE, "config": config, "layers": []}
    start = json.dumps(document | {"annotations": {"padding": ""}}).encode()
    return start.replace(b'"padding": ""', b'"padding": "' + b"x" * (size - len(start)) + b'"')


def start_registry(port: int) -> BaseProcess:
    """Start a registry on `port`, and return its process."""
    process = get_context("spawn").Process(target=_run, args=(port,), daemon=True)
    process.start()
    return process


def _run(port: int) -> None:
    asyncio.run(_serve(port))


async def _serve(port: int) -> None:
    manifests = {"small": manifest(SMALL_SIZE), "large": manifest(MANIFEST_SIZE)}

    async def connection(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError, asyncio.IncompleteReadError):
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
                await asyncio.sleep(_DELAY)
                await _respond(writer, head, port, manifests)
        writer.close()

    server = await asyncio.start_server(connection, "127.0.0.1", port, backlog=1024)
    await server.serve_forever()


async def _respond(writer: asyncio.StreamWriter, head: str, port: int, manifests: dict[str, bytes]) -> None:
    method, target, _ = head.split(" ", 2)
    path = target.partition("?")[0]
    if path == "/token":
        await _send(writer, method, "200 OK", b'{"token": "t", "expires_in": 3600}')
    elif "authorization: bearer" not in head.lower():
        name = path.removeprefix("/v2/").rpartition("/")[0].rpartition("/")[0]
        realm = f'Bearer realm="http://127.0.0.1:{port}/token",service="s",scope="repository:{name}:pull"'
        await _send(writer, method, "401 Unauthorized", b"", f"WWW-Authenticate: {realm}\r\n")
    elif "/blobs/" in path:
        await _send_blob(writer)
    elif path.startswith("/v2/image"):
        body = manifests["large" if "/large/" in path else "small"]
        await _send(writer, method, "200 OK", body, f"Content-Type: {MANIFEST_TYPE}\r\n")
    else:
        await _send(writer, method, "404 Not Found", b'{"errors": [{"code": "MANIFEST_UNKNOWN"}]}')


async def _send(
    writer: asyncio.StreamWriter, method: str, status: str, body: bytes, headers: str = ""
) -> None:
    digest = hashlib.sha256(body).hexdigest()
    head = f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\nDocker-Content-Digest: sha256:{digest}\r\n"
    writer.write(f"{head}{headers}\r\n".encode() + (body if method == "GET" else b""))
    await writer.drain()


async def _send_blob(writer: asyncio.StreamWriter) -> None:
    writer.write(f"HTTP/1.1 200 OK\r\nContent-Length: {BLOB_SIZE}\r\n\r\n".encode())
    for _ in range(BLOB_SIZE // len(_PIECE)):
        writer.write(_PIECE)
        await writer.drain()
        await asyncio.sleep(len(_PIECE) / _RATE)
