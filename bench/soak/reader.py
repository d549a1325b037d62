"""One client that believes nothing: it pulls as clients do, in several manners, and checks every byte."""

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
    from bench.soak.ledger import Ledger, Weather

# No request may take longer, whatever happens upstream: two stalls of 20 s are the worst that it waits for.
_LONGEST = 90.0
# What a tag may be late beyond its time to live: the time that a request takes.
_LATE = 3.0
_CHUNK = 1 << 16
_SLOW_PAUSE = 0.005
_PAUSE_AFTER_FAILURE = 0.2


class FailedError(Exception):
    """A request brought no content."""


class _Answer(NamedTuple):
    status: int
    headers: Any
    body: bytes


class Reader:
    """Pulls images, the popular ones more often."""

    def __init__(
        self,
        http: aiohttp.ClientSession,
        items: Sequence[Item],
        ledger: Ledger,
        weather: Weather,
        chance: random.Random,
    ) -> None:
        self._http = http
        self._items = items
        self._popularity = [1 / rank for rank in range(1, len(items) + 1)]
        self._ledger = ledger
        self._weather = weather
        self._random = chance

    async def run(self) -> None:
        """Read in all manners, until cancelled."""
        manners = (self.pull, self._part, self._leave, self._conditional, self._stray, self._list)
        while True:
            (item,) = self._random.choices(self._items, self._popularity)
            (manner,) = self._random.choices(manners, (12, 3, 2, 2, 1, 1))
            await self.attempt(item, manner)
            await asyncio.sleep(self._random.random() / 50)

    async def attempt(self, item: Item, manner: Callable[[Item], Awaitable[None]]) -> None:
        """Do it, and put a failure on the right side of the ledger."""
        begun = time.monotonic()
        try:
            await manner(item)
        except FailedError as failure:
            self._judge(item, str(failure), begun)
            await asyncio.sleep(_PAUSE_AFTER_FAILURE)

    async def pull(self, item: Item) -> None:
        """All of an image, for one platform. Raises FailedError."""
        document = await self._image(item)
        slow = self._random.random() < 0.1
        blobs = [document["config"], *document["layers"]]
        outcomes = await asyncio.gather(
            *(self._blob(item, blob, slow=slow) for blob in blobs), return_exceptions=True
        )
        for outcome in outcomes:
            if isinstance(outcome, BaseException):
                raise outcome

    # Other manners

    async def _part(self, item: Item) -> None:
        """A range of a layer."""
        layer = self._random.choice((await self._image(item))["layers"])
        first = self._random.randrange(layer["size"])
        last = self._random.randrange(first, layer["size"])
        path = f"blobs/{layer['digest']}"
        answer = await self._get(item, path, headers={"Range": f"bytes={first}-{last}"})
        expected = item.blob(layer["digest"]).raw[first : last + 1]
        if answer.status != 206 or answer.body != expected:
            self._ledger.lose("wrong bytes", f"{item.name} {path} bytes {first}-{last}: {answer.status}")

    async def _leave(self, item: Item) -> None:
        """A layer, but gone before its end."""
        layer = self._random.choice((await self._image(item))["layers"])
        self._ledger.requests += 1
        url = self._url(item, f"blobs/{layer['digest']}")
        try:
            async with self._http.get(url) as response:
                await response.content.read(self._random.randrange(1, layer["size"]))
        except (aiohttp.ClientError, OSError) as error:
            raise FailedError(f"{url}: {error!r}") from None

    async def _conditional(self, item: Item) -> None:
        """A manifest that the client has."""
        digest = (await self._manifest(item, TAG))[0]
        answer = await self._get(item, f"manifests/{TAG}", headers={"If-None-Match": f'"{digest}"'})
        if answer.status == 304 and answer.body:
            self._ledger.lose("wrong bytes", f"{item.name}: a 304 with a body")

    async def _stray(self, item: Item) -> None:
        """A layer of another image: its registry would not give it to who asks by this one's name."""
        other = self._random.choice(self._items)
        digest = other.own_layer
        # The storage of registry.k8s.io gives any blob under any name.
        if item.holds(digest) or (item.profile == other.profile == "k8s"):
            return
        try:
            await self._get(item, f"blobs/{digest}")
        except FailedError:
            return
        self._ledger.lose("leak", f"{other.name} {digest} was served through {item.name}")

    async def _list(self, item: Item) -> None:
        """The tags."""
        answer = await self._get(item, "tags/list")
        if TAG not in json.loads(answer.body)["tags"]:
            self._ledger.lose("wrong bytes", f"{item.name}: tags are {answer.body[:200]!r}")

    # Requests

    async def _image(self, item: Item) -> Any:
        """The manifest of an image; of an index, one of its images'."""
        _, document = await self._manifest(item, TAG)
        if "manifests" in document:
            child = self._random.choice(document["manifests"])["digest"]
            _, document = await self._manifest(item, child)
        return document

    async def _manifest(self, item: Item, reference: str) -> tuple[str, Any]:
        begun = time.monotonic()
        answer = await self._get(item, f"manifests/{reference}")
        digest = sha256(answer.body)
        told = answer.headers.get("Docker-Content-Digest")
        known = item.tagged(digest) if reference == TAG else digest == reference
        if not known or told != digest:
            self._ledger.lose("wrong bytes", f"{item.name} manifests/{reference}: {digest}, told {told}")
            raise FailedError("wrong bytes")
        is_late = begun - item.moved_at > TAG_TTL + _LATE
        if reference == TAG and digest != item.current.manifest.digest and is_late:
            status = answer.headers["Cache-Status"]
            if "stale" not in status:
                self._ledger.lose("old tag", f"{item.name}: {digest} is served as fresh ({status})")
        return digest, json.loads(answer.body)

    async def _blob(self, item: Item, descriptor: Any, *, slow: bool) -> None:
        digest = descriptor["digest"]
        answer = await self._get(item, f"blobs/{digest}", slow=slow)
        if sha256(answer.body) != digest:
            self._ledger.lose("wrong bytes", f"{item.name} blobs/{digest}: {len(answer.body)} others")

    async def _get(
        self, item: Item, path: str, *, headers: dict[str, str] | None = None, slow: bool = False
    ) -> _Answer:
        """An answer that is complete and no error. Raises FailedError."""
        self._ledger.requests += 1
        url = self._url(item, path)
        answered_at = None
        try:
            async with asyncio.timeout(_LONGEST), self._http.get(url, headers=headers) as response:
                answered_at = time.monotonic()
                body = await _read(response, slow=slow)
        except (aiohttp.ClientError, OSError) as error:
            self._check_break(url, answered_at, error)
            raise FailedError(f"{url}: {error!r}") from None
        self._ledger.bytes += len(body)
        self._ledger.outcomes[response.headers.get("Cache-Status", "none")] += 1
        if response.status == 500:
            self._ledger.lose("internal error", f"{url}: {body[:300]!r}")
        if response.status >= 400:
            raise FailedError(f"{url}: {response.status} {body[:300]!r}")
        return _Answer(response.status, response.headers, body)

    def _check_break(self, url: str, answered_at: float | None, error: Exception) -> None:
        """Some breaks are losses whatever else goes wrong."""
        if isinstance(error, TimeoutError):
            self._ledger.lose("no end", f"{url}: not within {_LONGEST:g} s")
        if answered_at is not None and self._weather.must_complete(answered_at):
            self._ledger.lose("cut by an ordered end", f"{url}: {error!r}")

    def _url(self, item: Item, path: str) -> str:
        if self._random.random() < 0.3:
            return f"/v2/{item.repository}/{path}?ns={item.registry}"
        return f"/v2/{item.name}/{path}"

    def _judge(self, item: Item, failure: str, begun: float) -> None:
        if self._weather.must_serve(item.name, begun):
            self._ledger.lose("cached content unavailable", failure)
        elif self._weather.excuses(begun):
            self._ledger.excused[" + ".join(sorted(self._weather.troubles)) or "aftermath"] += 1
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
