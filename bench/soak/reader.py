"""A client of the soak: it sends requests of several kinds, as clients do, and checks every byte."""

from __future__ import annotations

import asyncio
import json
import time
from typing import TYPE_CHECKING, Any, NamedTuple

import aiohttp
from tests.kit.images import sha256

from bench.soak.images import TAG
from bench.soak.site import TAG_TTL

if TYPE_CHECKING:
    import random
    from collections.abc import Awaitable, Callable, Sequence

    from bench.soak.images import Item
    from bench.soak.ledger import ActiveFaults, Ledger

# The time limit of a request, in seconds, under all faults: the server waits for at most two stalls of 20 s.
_LONGEST = 90.0
# The time, in seconds, that a tag may be out of date beyond its time to live: the duration of a request.
_LATE = 3.0
_CHUNK = 1 << 16  # bytes
# Pauses of a slow client after each chunk, and of every client after a failure, in seconds.
_SLOW_PAUSE = 0.005
_PAUSE_AFTER_FAILURE = 0.2


class FailedError(Exception):
    """A request without the requested content as result."""


class _Response(NamedTuple):
    status: int
    headers: Any
    body: bytes


class Reader:
    """A client that pulls images, the popular ones more often."""

    def __init__(
        self,
        http: aiohttp.ClientSession,
        items: Sequence[Item],
        ledger: Ledger,
        active: ActiveFaults,
        chance: random.Random,
    ) -> None:
        self._http = http
        self._items = items
        self._popularity = [1 / rank for rank in range(1, len(items) + 1)]
        self._ledger = ledger
        self._active = active
        self._random = chance

    async def run(self) -> None:
        """Send requests of all kinds, until cancelled."""
        actions = (self.pull, self._part, self._leave, self._conditional, self._stray, self._list)
        while True:
            (item,) = self._random.choices(self._items, self._popularity)
            (action,) = self._random.choices(actions, (12, 3, 2, 2, 1, 1))
            await self.attempt(item, action)
            await asyncio.sleep(self._random.random() / 50)

    async def attempt(self, item: Item, action: Callable[[Item], Awaitable[None]]) -> None:
        """Run `action`, and record a failure as excused or as a loss."""
        begun = time.monotonic()
        try:
            await action(item)
        except FailedError as failure:
            self._judge(item, str(failure), begun)
            await asyncio.sleep(_PAUSE_AFTER_FAILURE)

    async def pull(self, item: Item) -> None:
        """Pull an image for one platform. Raise FailedError."""
        document = await self._image(item)
        slow = self._random.random() < 0.1
        blobs = [document["config"], *document["layers"]]
        outcomes = await asyncio.gather(
            *(self._blob(item, blob, slow=slow) for blob in blobs), return_exceptions=True
        )
        for outcome in outcomes:
            if isinstance(outcome, BaseException):
                raise outcome

    # Other kinds of requests

    async def _part(self, item: Item) -> None:
        """Request a range of a layer."""
        layer = self._random.choice((await self._image(item))["layers"])
        first = self._random.randrange(layer["size"])
        last = self._random.randrange(first, layer["size"])
        path = f"blobs/{layer['digest']}"
        response = await self._get(item, path, headers={"Range": f"bytes={first}-{last}"})
        expected = item.blob(layer["digest"]).raw[first : last + 1]
        if response.status != 206 or response.body != expected:
            self._ledger.lose("wrong bytes", f"{item.name} {path} bytes {first}-{last}: {response.status}")

    async def _leave(self, item: Item) -> None:
        """Request a layer, and disconnect before its end."""
        layer = self._random.choice((await self._image(item))["layers"])
        self._ledger.requests += 1
        url = self._url(item, f"blobs/{layer['digest']}")
        try:
            async with self._http.get(url) as response:
                await response.content.read(self._random.randrange(1, layer["size"]))
        except (aiohttp.ClientError, OSError) as error:
            raise FailedError(f"{url}: {error!r}") from None

    async def _conditional(self, item: Item) -> None:
        """Request a manifest that the client has."""
        digest = (await self._manifest(item, TAG))[0]
        response = await self._get(item, f"manifests/{TAG}", headers={"If-None-Match": f'"{digest}"'})
        if response.status == 304 and response.body:
            self._ledger.lose("wrong bytes", f"{item.name}: a 304 with a body")

    async def _stray(self, item: Item) -> None:
        """Request a layer of another image, which the registry does not serve under this repository's name."""
        other = self._random.choice(self._items)
        digest = other.own_layer
        # The storage of registry.k8s.io serves every blob under every name.
        if item.holds(digest) or (item.profile == other.profile == "k8s"):
            return
        try:
            await self._get(item, f"blobs/{digest}")
        except FailedError:
            return
        self._ledger.lose("leak", f"{other.name} {digest} was served through {item.name}")

    async def _list(self, item: Item) -> None:
        """Request the tags; in an outage, the cached ones."""
        response = await self._get(item, "tags/list", headers={"Cache-Control": "max-stale"})
        if TAG not in json.loads(response.body)["tags"]:
            self._ledger.lose("wrong bytes", f"{item.name}: tags are {response.body[:200]!r}")

    # Requests

    async def _image(self, item: Item) -> Any:
        """Return the manifest of an image, or of one image of an index."""
        _, document = await self._manifest(item, TAG)
        if "manifests" in document:
            child = self._random.choice(document["manifests"])["digest"]
            _, document = await self._manifest(item, child)
        return document

    async def _manifest(self, item: Item, reference: str) -> tuple[str, Any]:
        begun = time.monotonic()
        response = await self._get(item, f"manifests/{reference}")
        digest = sha256(response.body)
        announced = response.headers.get("Docker-Content-Digest")
        known = item.tagged(digest) if reference == TAG else digest == reference
        if not known or announced != digest:
            self._ledger.lose(
                "wrong bytes", f"{item.name} manifests/{reference}: {digest}, announced {announced}"
            )
            raise FailedError("wrong bytes")
        is_late = begun - item.moved_at > TAG_TTL + _LATE
        if reference == TAG and digest != item.current.manifest.digest and is_late:
            status = response.headers["Cache-Status"]
            if "stale" not in status:
                self._ledger.lose("old tag", f"{item.name}: {digest} is served as fresh ({status})")
        return digest, json.loads(response.body)

    async def _blob(self, item: Item, descriptor: Any, *, slow: bool) -> None:
        digest = descriptor["digest"]
        response = await self._get(item, f"blobs/{digest}", slow=slow)
        if sha256(response.body) != digest:
            self._ledger.lose("wrong bytes", f"{item.name} blobs/{digest}: {len(response.body)} wrong bytes")

    async def _get(
        self, item: Item, path: str, *, headers: dict[str, str] | None = None, slow: bool = False
    ) -> _Response:
        """Return a complete response that is not an error. Raise FailedError."""
        self._ledger.requests += 1
        url = self._url(item, path)
        responded_at = None
        try:
            async with asyncio.timeout(_LONGEST), self._http.get(url, headers=headers) as response:
                responded_at = time.monotonic()
                body = await _read(response, slow=slow)
        except (aiohttp.ClientError, OSError) as error:
            self._check_break(url, responded_at, error)
            raise FailedError(f"{url}: {error!r}") from None
        self._ledger.bytes += len(body)
        self._ledger.outcomes[response.headers.get("Cache-Status", "none")] += 1
        if response.status == 500:
            self._ledger.lose("internal error", f"{url}: {body[:300]!r}")
        if response.status >= 400:
            raise FailedError(f"{url}: {response.status} {body[:300]!r}")
        return _Response(response.status, response.headers, body)

    def _check_break(self, url: str, responded_at: float | None, error: Exception) -> None:
        """Record broken transfers that no fault excuses."""
        if isinstance(error, TimeoutError):
            self._ledger.lose("no end", f"{url}: not within {_LONGEST:g} s")
        if responded_at is not None and self._active.must_complete(responded_at):
            self._ledger.lose("cut by a graceful stop", f"{url}: {error!r}")

    def _url(self, item: Item, path: str) -> str:
        if self._random.random() < 0.3:
            return f"/v2/{item.repository}/{path}?ns={item.registry}"
        return f"/v2/{item.name}/{path}"

    def _judge(self, item: Item, failure: str, begun: float) -> None:
        if self._active.must_serve(item.name, begun):
            self._ledger.lose("cached content unavailable", failure)
        elif self._active.excuses(begun):
            self._ledger.excused[" + ".join(sorted(self._active.names)) or "aftermath"] += 1
        else:
            self._ledger.lose("failure without a cause", failure)


async def _read(response: aiohttp.ClientResponse, *, slow: bool) -> bytes:
    if not slow:
        return await response.read()
    body = bytearray()
    async for chunk in response.content.iter_chunked(_CHUNK):
        body += chunk
        await asyncio.sleep(_SLOW_PAUSE)
    return bytes(body)
