"""One worker process: the adapters, the cache and the server, and the one TaskGroup that owns every task."""

from __future__ import annotations

import asyncio
import logging
import signal
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

from registry_proxy.aio.pools import finish_storing
from registry_proxy.aio.tasks import BackgroundTasks
from registry_proxy.cache.cache import Cache, Timing
from registry_proxy.config import ConfigError
from registry_proxy.index.base import IndexFailedError
from registry_proxy.maintenance.counting import Counting
from registry_proxy.maintenance.outages import OutageLog
from registry_proxy.maintenance.removal import follow_removals
from registry_proxy.maintenance.workers import register_worker
from registry_proxy.observe.counters import Counters
from registry_proxy.observe.logs import summarize_repeats
from registry_proxy.observe.outages import Outages
from registry_proxy.policy.freshness import Freshness
from registry_proxy.server.app import App
from registry_proxy.server.connection import Limits
from registry_proxy.server.https_redirect import HttpsRedirect
from registry_proxy.server.responses import Dates
from registry_proxy.server.server import Server
from registry_proxy.service.descriptors import most_connections
from registry_proxy.service.errors import IndexLostError
from registry_proxy.service.memory import return_freed_memory
from registry_proxy.service.reload import merged_settings
from registry_proxy.service.site import boot_mark, open_site
from registry_proxy.service.sockets import Listener
from registry_proxy.service.wiring.gate import build_gate
from registry_proxy.service.wiring.upstreams import build_router, build_upstreams
from registry_proxy.storage.base import StoreError

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from registry_proxy.aio.locks import ProcessLocks
    from registry_proxy.config import Settings
    from registry_proxy.index.base import Index
    from registry_proxy.server.connection import Application
    from registry_proxy.server.gate import Gate
    from registry_proxy.service.site import Site
    from registry_proxy.service.sockets import Sockets
    from registry_proxy.tls.service import CertificateService
    from registry_proxy.upstream.upstream import RegistryUpstream

log = logging.getLogger(__name__)

# Threads that write and hash fills. Each processes one batch of one fill at a time.
_FILL_THREADS = 8
# The lock of the worker that counts the store after a power loss.
_COUNTING = "counting"
# Interval of checks of the index, in seconds.
_INDEX_CHECK_INTERVAL = 0.1
# The time for transfers to clients to finish if the index has failed, in seconds: no worker accepts others before it
# is replaced.
INDEX_GRACE = 10.0
# The longest time that transfers from the old upstreams may continue after a reload, in seconds.
_OLD_UPSTREAMS_LIFETIME = 3600.0


@dataclass(frozen=True, slots=True)
class Supervision:
    """A worker's ties to the supervisor.

    `lifeline` is readable once the supervisor has ended. `ready` is called once the worker serves, and after each
    reload. `beats` runs as long as the worker's event loop.
    """

    lifeline: int
    ready: Callable[[], None]
    beats: Callable[[], Coroutine[object, object, None]]


class Worker:
    """A worker: it serves until SIGTERM or SIGINT, or until the supervisor ends."""

    def __init__(
        self,
        settings: Settings,
        load: Callable[[], Settings],
        sockets: Sockets,
        tls: CertificateService | None,
        gate: Gate,
        supervision: Supervision,
    ) -> None:
        self._settings = settings
        self._load = load
        self._sockets = sockets
        self._tls = tls
        self._gate = gate
        self._supervision = supervision
        self._upstreams: dict[str, RegistryUpstream] = {}
        self._stop = asyncio.Event()
        self._app: App | None = None
        self._counters = Counters()
        self._failure: str | None = None
        self._outages = Outages(time.time)

    def handle_signals(self) -> None:
        """Stop gracefully on SIGTERM, SIGINT or the end of the supervisor, and reload on SIGHUP."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stop.set)
        loop.add_signal_handler(signal.SIGHUP, self._reload)
        # Only the supervisor holds the other end: the kernel closes it when that process ends for any reason.
        loop.add_reader(self._supervision.lifeline, self._stop_with_supervisor)

    def _stop_with_supervisor(self) -> None:
        # A pipe at end of file stays readable.
        asyncio.get_running_loop().remove_reader(self._supervision.lifeline)
        self._stop.set()

    async def run(self) -> None:
        """Serve, then drain. Incomplete fills stay in the store and are resumed later.

        Raise IndexFailedError if the index cannot be opened, IndexLostError if it cannot be used any more.
        """
        async with open_site(self._settings.storage.path, create=True) as site:
            try:
                with ThreadPoolExecutor(_FILL_THREADS, "fill") as executor:
                    await self._serve(site, executor)
            finally:
                for upstream in self._upstreams.values():
                    await upstream.close()
                await finish_storing()
        if self._failure is not None:
            raise IndexLostError(self._failure)

    async def _serve(self, site: Site[Index], executor: ThreadPoolExecutor) -> None:
        async with asyncio.TaskGroup() as tasks:
            self._background = BackgroundTasks(tasks)
            self._upstreams = self._build_upstreams()
            cache = Cache(
                store=site.store,
                index=site.index,
                process_locks=site.locks,
                background=self._background,
                executor=executor,
                rules=_rules(self._settings),
                max_size=self._settings.storage.max_size,
                timing=Timing(time.time, time.monotonic),
                outages=self._outages,
            )
            app = self._app = App(
                cache,
                build_router(self._settings, self._upstreams),
                self._gate,
            )
            register_worker(site.locks)
            self._background.spawn(self._supervision.beats(), "the watchdog's beats")
            self._background.spawn(cache.run_maintenance(), "store maintenance")
            self._background.spawn(Counting(site.index, self._counters, time.time).run(), "writing counters")
            self._background.spawn(self._count_again(cache, site.locks), "counting the store")
            self._background.spawn(self._end_with(site.index), "checking the index")
            self._background.spawn(OutageLog(site.index, self._outages, time.time).run(), "recording outages")
            self._background.spawn(summarize_repeats(), "counting repeated log lines")
            self._background.spawn(follow_removals(site.index, app.forget), "checking for removals")
            self._background.spawn(return_freed_memory(), "returning freed memory")
            if self._tls is not None:
                self._tls.start(self._background, site.locks)
            await self._accept(app)
            self._background.cancel()

    async def _count_again(self, cache: Cache, locks: ProcessLocks) -> None:
        """Count the store after a power loss, unless another worker does it."""
        mark = boot_mark(self._settings.storage.path)
        if not mark.shows_power_loss() or not locks.try_acquire(_COUNTING):
            return
        log.warning("the machine stopped while the server ran: the store is counted in the background")
        try:
            files, unknown = await cache.recount.run()
            mark.renew()
            log.warning("the store has %d items, of which the index had lost %d", files, unknown)
        except (StoreError, IndexFailedError) as error:
            log.error("the store was not counted, the next start repeats it: %s. Check the disk.", error)  # noqa: TRY400
        finally:
            locks.release(_COUNTING)

    async def _end_with(self, index: Index) -> None:
        """End this worker once the index has failed."""
        while (failure := index.failure()) is None:  # noqa: ASYNC110 - threads and other processes cause it
            await asyncio.sleep(_INDEX_CHECK_INTERVAL)
        log.error(
            "the index failed: %s. This worker ends; transfers to clients have %.0f s to finish",
            failure,
            INDEX_GRACE,
        )
        self._failure = failure
        self._stop.set()

    async def _accept(self, app: App) -> None:
        proxied = self._settings.access.proxy_protocol
        servers = [self._server(app)]
        await servers[0].start(self._sockets[Listener.PLAIN], behind_proxy=proxied)
        if self._tls is not None:
            sockets = self._sockets[Listener.TLS]
            await servers[0].start(sockets, self._tls.context, behind_proxy=proxied)
            redirect = HttpsRedirect(sockets[0].getsockname()[1], self._tls.challenges.key_authorization)
            servers.append(self._server(redirect))
            await servers[1].start(self._sockets[Listener.HTTP], behind_proxy=proxied)
        self._supervision.ready()
        await self._stop.wait()
        grace = self._settings.server.grace_period if self._failure is None else INDEX_GRACE
        await asyncio.gather(*(server.drain(grace) for server in servers))

    def _server(self, app: Application) -> Server:
        settings = self._settings.server
        limits = Limits(settings.header_timeout, settings.idle_timeout, most_connections())
        server = Server(app, Dates(time.time), self._background, limits, self._counters)
        self._background.spawn(server.sweep(), "closing expired connections")
        return server

    def _reload(self) -> None:
        """Apply the settings of the current configuration that require no restart."""
        if self._app is None:
            return  # still starting, with that configuration
        try:
            self._reconfigure(self._app, self._load())
        except ConfigError as error:
            # The error contains the fix.
            log.error("configuration was not reloaded, the old one stays in force:\n%s", error)  # noqa: TRY400
        finally:
            self._supervision.ready()

    def _reconfigure(self, app: App, settings: Settings) -> None:
        changed = merged_settings(self._settings, settings)
        gate = build_gate(changed)
        self._settings = changed
        old, self._upstreams = self._upstreams, self._build_upstreams()
        app.reconfigure(build_router(changed, self._upstreams), gate)
        self._background.spawn(_close_later(old), "closing the old upstreams")
        if self._tls is not None:
            self._tls.reconfigure(settings.hostnames)
        log.info("upstreams, credentials and access rules were reloaded")

    def _build_upstreams(self) -> dict[str, RegistryUpstream]:
        return build_upstreams(self._settings, self._counters, self._background)


def _rules(settings: Settings) -> Freshness:
    cache = settings.cache
    return Freshness(cache.tag_ttl, cache.access_ttl, keep_deleted=cache.deleted_upstream == "keep")


async def _close_later(upstreams: dict[str, RegistryUpstream]) -> None:
    try:
        await asyncio.sleep(_OLD_UPSTREAMS_LIFETIME)
    finally:
        for upstream in upstreams.values():
            await upstream.close()
