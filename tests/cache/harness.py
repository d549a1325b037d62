"""A cache over the real adapters and simulated upstreams, with clocks that only the test moves.

`Site` is a machine: folders, upstreams, clocks. `Site.worker()` is one process's cache on it; two of them share the
folder as two worker processes do, since their locks belong to open files.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import os
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack, aclosing, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, TypeVar

from tests.kit.clock import ManualClock
from tests.kit.upstream import SimulatedUpstream
from tests.kit.waiting import TIMEOUT, until
from yarl import URL

from registry_proxy.aio.tasks import BackgroundTasks, background_tasks
from registry_proxy.cache.cache import Cache, Timing
from registry_proxy.index.sqlite import SqliteIndex
from registry_proxy.observe.outages import Outages
from registry_proxy.oci.reference import Digest, Repository, Source, parse_reference
from registry_proxy.policy.freshness import Freshness
from registry_proxy.storage.filesystem import FilesystemStore
from registry_proxy.storage.locks import FileLocks
from registry_proxy.upstream.auth.credentials import Credentials, StaticCredentials
from registry_proxy.upstream.presets import Preset
from registry_proxy.upstream.response import Timeouts
from registry_proxy.upstream.transport import Transport
from registry_proxy.upstream.upstream import RegistryUpstream

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Coroutine
    from types import TracebackType

    from registry_proxy.cache.results import Body, FilePiece, Outcome, ServedBlob, ServedManifest

Result = TypeVar("Result")

REPOSITORY = "library/alpine"
RULES = Freshness(tag_ttl=60.0, access_ttl=3600.0, keep_deleted=True)
# Short ones for tests in which an upstream hangs or stalls.
HASTY = Timeouts(connect=5, headers=1.5, stall=1.5, total=5)


async def read(body: Body, start: int = 0, stop: int | None = None) -> bytes:
    """Read a body as the server does, each piece as soon as it is there, and close it."""
    received = bytearray()
    try:
        async with aclosing(body.pieces(start, body.size if stop is None else stop)) as pieces:
            async for piece in pieces:
                received += bytes_of(piece)
    finally:
        body.close()
    return bytes(received)


def bytes_of(piece: FilePiece | bytes) -> bytes:
    """What a piece stands for. A file that ends early is an error, as it is for the server."""
    if isinstance(piece, bytes):
        return piece
    data = os.pread(piece.file.fileno(), piece.length, piece.offset)
    assert len(data) == piece.length, f"the file ends at byte {piece.offset + len(data)}"
    return data


class Reading:
    """A client that reads a body in a task of its own."""

    def __init__(self, served: ServedBlob, start: int = 0, stop: int | None = None) -> None:
        self.outcome = served.outcome
        self.received = bytearray()
        self._arrived = asyncio.Event()
        self._body = served.body
        self._task = asyncio.create_task(self._read(start, served.body.size if stop is None else stop))
        # What ended it may be of interest to nobody.
        self._task.add_done_callback(lambda task: task.cancelled() or task.exception())

    async def until(self, count: int) -> None:
        """Wait for so many bytes."""
        async with asyncio.timeout(TIMEOUT):
            while len(self.received) < count:
                assert not self._task.done(), f"the body has ended: {self._task}"
                self._arrived.clear()
                await self._arrived.wait()

    async def whole(self) -> bytes:
        """Wait for the end. Raises what ended the body."""
        async with asyncio.timeout(TIMEOUT):
            await self._task
        return bytes(self.received)

    async def leave(self) -> None:
        """Go away in the middle."""
        self._task.cancel()
        await asyncio.wait([self._task])

    async def _read(self, start: int, stop: int) -> None:
        try:
            async with aclosing(self._body.pieces(start, stop)) as pieces:
                async for piece in pieces:
                    self.received += bytes_of(piece)
                    self._arrived.set()
        finally:
            self._body.close()
            self._arrived.set()


@dataclass
class Worker:
    """One process's cache, and its view of the index and the store."""

    site: Site
    cache: Cache
    index: SqliteIndex
    store: FilesystemStore
    background: BackgroundTasks

    async def manifest(
        self, reference: str, repository: str = REPOSITORY, *, upstream: RegistryUpstream | None = None
    ) -> ServedManifest:
        upstream = upstream or self.site.upstream
        return await self.cache.manifests.get(
            upstream.repository(Repository(repository)), parse_reference(reference)
        )

    async def blob(
        self, digest: str, repository: str = REPOSITORY, *, upstream: RegistryUpstream | None = None
    ) -> ServedBlob:
        upstream = upstream or self.site.upstream
        return await self.cache.blobs.get(upstream.repository(Repository(repository)), Digest.parse(digest))

    async def pull(
        self, digest: str, repository: str = REPOSITORY, *, upstream: RegistryUpstream | None = None
    ) -> bytes:
        """All of a blob."""
        return await read((await self.blob(digest, repository, upstream=upstream)).body)

    async def store_blob(
        self, digest: str, repository: str = REPOSITORY, *, upstream: RegistryUpstream | None = None
    ) -> None:
        """Pull a blob, and wait until it is committed."""
        await self.pull(digest, repository, upstream=upstream)
        await self.settled(digest)

    async def outcome(
        self, digest: str, repository: str = REPOSITORY, *, upstream: RegistryUpstream | None = None
    ) -> Outcome:
        """How a blob is answered; it is not read."""
        served = await self.blob(digest, repository, upstream=upstream)
        served.body.close()
        return served.outcome

    def is_stored(self, digest: str) -> bool:
        """Whether the store has it as content."""
        stored = self.store.open(Digest.parse(digest))
        if stored is None:
            return False
        stored.close()
        return True

    def is_linked(
        self, digest: str, repository: str = REPOSITORY, *, upstream: RegistryUpstream | None = None
    ) -> bool:
        source = (upstream or self.site.upstream).repository(Repository(repository)).source
        link = self.index.link(source, Digest.parse(digest))
        return link is not None and link.is_confirmed

    def is_reading(self, digest: str) -> bool:
        """Whether a fill of the digest has a file to read from, be it another process's."""
        fill = self.cache.fills.running(Digest.parse(digest))
        return fill is not None and fill.file is not None

    def tagged(self, tag: str, repository: str = REPOSITORY) -> str | None:
        """Where a tag points by the index."""
        record = self.index.tag(Source(self.site.upstream.registry, Repository(repository)), tag)
        return str(record.digest) if record else None

    async def settled(self, digest: str) -> None:
        """Wait until no fill of the digest is under way: what was verified is then committed and recorded."""
        await until(lambda: self.cache.fills.running(Digest.parse(digest)) is None)

    async def kill(self) -> None:
        """End everything that runs, as the end of the process would."""
        self.background.cancel()
        await until(lambda: not self.background._running)


@dataclass
class Site:
    """A machine with a folder, simulated upstreams and manual clocks."""

    root: Path
    rules: Freshness = RULES
    max_size: int = 0
    now: ManualClock = field(default_factory=lambda: ManualClock(time.time()))
    monotonic: ManualClock = field(default_factory=ManualClock)
    pauses: list[float] = field(default_factory=list)

    async def __aenter__(self) -> Self:
        self._stack = AsyncExitStack()
        self._descriptors = descriptors()
        self._tasks = asyncio.all_tasks()
        self._background = await self._stack.enter_async_context(background_tasks())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, problem: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._stack.aclose()
        if kind is None:
            with contextlib.suppress(TimeoutError):
                await until(lambda: not self._left_over(), seconds=20)
            assert not self._left_over(), self._left_over()

    def _left_over(self) -> set[object]:
        """Tasks and open files from after the beginning."""
        own = {asyncio.current_task()}  # a fixture ends in another task than it began in
        return {*(asyncio.all_tasks() - self._tasks - own), *(descriptors() - self._descriptors)}

    async def simulate(self, kind: str = "plain", **changes: Any) -> SimulatedUpstream:
        """Start an upstream; the first one is `self.simulated`, and `self.upstream` its client."""
        simulated = await self._stack.enter_async_context(SimulatedUpstream(kind, **changes))
        if not hasattr(self, "simulated"):
            self.simulated = simulated
            self.upstream = self.client(simulated)
        return simulated

    def client(
        self,
        simulated: SimulatedUpstream,
        registry: str = "registry.test",
        *,
        timeouts: Timeouts | None = None,
        login: tuple[str, str] | None = None,
    ) -> RegistryUpstream:
        """A client of a simulated upstream."""
        upstream = RegistryUpstream(
            Preset("simulated", registry, simulated.url),
            Transport(URL(simulated.url), timeouts=timeouts),
            self._background,
            credentials=StaticCredentials(Credentials(*login) if login else None),
        )
        self._stack.push_async_callback(upstream.close)
        return upstream

    @asynccontextmanager
    async def worker(self, **changes: object) -> AsyncIterator[Worker]:
        """A process's cache; `changes` replace the site's `rules` or `max_size`."""
        settings = dataclasses.replace(self, **changes)  # type: ignore[arg-type]
        index, locks = SqliteIndex(self.root / "index.db"), FileLocks(self.root / "locks")
        executor = ThreadPoolExecutor(4)
        stack = AsyncExitStack()
        background = await stack.enter_async_context(background_tasks())
        store = FilesystemStore(self.root)
        cache = Cache(
            store=store,
            index=index,
            process_locks=locks,
            background=background,
            executor=executor,
            rules=settings.rules,
            max_size=settings.max_size,
            timing=Timing(self.now, self.monotonic, self._sleep),
            outages=Outages(self.now),
        )
        try:
            yield Worker(self, cache, index, store, background)
        finally:
            await stack.aclose()
            await asyncio.to_thread(executor.shutdown)
            await index.close()
            locks.close()

    async def _sleep(self, seconds: float) -> None:
        self.pauses.append(seconds)
        self.monotonic.advance(seconds)
        await asyncio.sleep(0)

    def files(self, folder: str) -> list[Path]:
        """All files below a folder of the store."""
        return sorted(path for path in (self.root / folder).rglob("*") if path.is_file())


def descriptors() -> set[str]:
    """The files and sockets that this process has open: their numbers and what they are."""
    found = set()
    for path in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):  # the listing's own is closed by now
            found.add(f"{path.name} {path.readlink()}")
    return found


async def together(*work: Coroutine[object, object, Result]) -> list[Result]:
    """Run all of it at the same time."""
    return list(await asyncio.gather(*work))
