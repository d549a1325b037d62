"""The supervisor process: it binds the ports, starts the workers, and replaces those that die."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import os
import signal
import time
from functools import partial
from typing import TYPE_CHECKING

from registry_proxy.aio.pools import end_threads
from registry_proxy.config import ConfigError
from registry_proxy.observe.logs import configure_logs
from registry_proxy.service.children import SIGNALS, run_preparation, run_worker
from registry_proxy.service.descriptors import raise_descriptor_limit
from registry_proxy.service.notify import REPORTED, Notifier, Readiness
from registry_proxy.service.recovery import INDEX_FAILED, IndexRecovery
from registry_proxy.service.reload import merged_settings, waiting_for_restart
from registry_proxy.service.site import boot_mark
from registry_proxy.service.sockets import bind
from registry_proxy.service.watchdog import INTERVAL, REPORT_THREADS, Heartbeats, State, Watchdog
from registry_proxy.service.wiring.gate import build_gate
from registry_proxy.service.wiring.preparation import prepare, prepare_tls
from registry_proxy.service.worker import Supervision, Worker

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from registry_proxy.config import Settings
    from registry_proxy.server.gate import Gate
    from registry_proxy.service.sockets import Sockets
    from registry_proxy.tls.service import CertificateService

log = logging.getLogger(__name__)

_AWAITED = {*SIGNALS, REPORTED}
# The replacement of a worker that ended sooner than this after its start is delayed. Seconds.
_QUICK_DEATH = 5.0
# The longest delay, in seconds.
_LONGEST_PAUSE = 30.0
# Time after the grace period in which a worker writes its state on shutdown, in seconds.
_END_TIMEOUT = 10.0


def run(load: Callable[[], Settings]) -> int:
    """Serve until SIGTERM or SIGINT. Return the exit code.

    Raise ConfigError, StartError, StoreError or IndexFailedError if the service cannot start.
    """
    settings = load()
    configure_logs(settings.log.level, settings.log.format)
    for warning in settings.warnings:
        log.warning("%s", warning)
    raise_descriptor_limit()
    gate = build_gate(settings)
    notifier = Notifier(os.environ)
    tls = prepare_tls(settings)
    shares = bind(settings, settings.server.workers or len(os.sched_getaffinity(0)), os.environ)
    asyncio.run(prepare(settings))
    end_threads()
    signal.pthread_sigmask(signal.SIG_BLOCK, _AWAITED)
    # The workers share this process's memory until they write to it: the collector must not touch its objects.
    gc.collect()
    gc.freeze()
    return Supervisor(settings, load, shares, tls, Readiness(len(shares), notifier), gate).run()


class Supervisor:
    """The parent of the workers: it keeps one process running per share of the sockets."""

    def __init__(
        self,
        settings: Settings,
        load: Callable[[], Settings],
        shares: Sequence[Sockets],
        tls: CertificateService | None,
        readiness: Readiness,
        gate: Gate,
    ) -> None:
        self._settings = settings
        self._load = load
        self._shares = shares
        self._tls = tls
        self._readiness = readiness
        self._gate = gate
        self._heartbeats = Heartbeats(len(shares))
        self._watchdog = Watchdog(self._heartbeats)
        self._next_check = 0.0
        self._lifeline, self._lifeline_writer = os.pipe()
        self._workers: dict[int, int] = {}  # process id → number of its share
        self._started: dict[int, float] = {}  # number of a share → start time of its worker
        self._due: dict[int, float] = {}  # number of a share → start time of its next worker
        self._quick_deaths = 0
        self._recovery = IndexRecovery(self._start_preparation)

    def run(self) -> int:
        """Run until SIGTERM or SIGINT. Return the exit code."""
        for number in range(len(self._shares)):
            self._start(number)
        names = ", ".join(sorted(upstream.registry for upstream in self._settings.upstreams.values()))
        addresses = self._shares[0].describe()
        log.info("caching %s in %s; listening on %s", names, self._settings.storage.path, addresses)
        while True:
            received = signal.sigtimedwait(_AWAITED, INTERVAL)
            signalled = received.si_signo if received else None
            if signalled in {signal.SIGTERM, signal.SIGINT}:
                return self._shut_down()
            if signalled == signal.SIGHUP:
                self._reload()
            self._readiness.read_reports()
            self._reap()
            if self._recovery.advance(workers=bool(self._workers)):
                self._signal(signal.SIGKILL)
            self._restart()
            self._check_workers()

    def _reload(self) -> None:
        self._readiness.expect_reload()
        remark = "the configuration was not reloaded"
        # New workers start with the new configuration. If it is invalid, the running workers log the error.
        with contextlib.suppress(ConfigError):
            loaded = self._load()
            settings = merged_settings(self._settings, loaded)
            self._gate = build_gate(settings)
            remark = _restart_remark(waiting_for_restart(self._settings, loaded))
            self._settings = settings
            if self._tls is not None:
                self._tls.reconfigure(loaded.hostnames)
        self._readiness.remark = remark
        self._signal(signal.SIGHUP)

    def _start(self, number: int) -> None:
        self._started[number] = time.monotonic()
        self._watchdog.watch(number)
        process = os.fork()
        if process == 0:
            run_worker(number, partial(self._create_worker, number))
        self._workers[process] = number

    def _create_worker(self, number: int) -> Worker:
        """Return worker `number`, in its process."""
        self._detach(number)
        supervision = Supervision(
            self._lifeline,
            partial(self._readiness.report, number),
            partial(self._heartbeats.keep, number),
        )
        return Worker(self._settings, self._load, self._shares[number], self._tls, self._gate, supervision)

    def _start_preparation(self, replace_index: bool) -> int:
        self._readiness.expect_workers("the index failed, the content is counted again")
        process = os.fork()
        if process == 0:
            run_preparation(self._settings, self._detach, replace_index=replace_index)
        return process

    def _detach(self, number: int | None = None) -> None:
        """Close, in a child process, what belongs to the supervisor and to workers other than `number`."""
        os.close(self._lifeline_writer)
        for other, share in enumerate(self._shares):
            if other != number:
                share.close()

    def _reap(self) -> None:
        while self._workers or self._recovery.process is not None:
            process, status = os.waitpid(-1, os.WNOHANG)
            if process == 0:
                return
            number = self._workers.pop(process, None)
            if number is not None:
                self._end(number, status)
            elif self._recovery.end_preparation(process, status):
                self._due = dict.fromkeys(range(len(self._shares)), 0.0)
            # Otherwise: the first process of a container inherits children of other processes.

    def _end(self, number: int, status: int) -> None:
        """Plan what follows the end of worker `number`."""
        self._watchdog.forget(number)
        if os.waitstatus_to_exitcode(status) == INDEX_FAILED:
            self._recover()
        if not self._recovery.active:
            now = time.monotonic()
            quick = now - self._started[number] < _QUICK_DEATH
            self._quick_deaths = self._quick_deaths + 1 if quick else 0
            pause = min(2.0**self._quick_deaths - 1, _LONGEST_PAUSE)
            self._due[number] = now + pause
            log.error(
                "worker %d ended (%s), the next one starts in %.0f s", number, _describe_exit(status), pause
            )

    def _recover(self) -> None:
        """End the other workers, so that the index can be replaced."""
        if self._recovery.active:
            return
        log.error("all workers end, then the index is checked, and replaced if it is damaged")
        self._recovery.begin()
        self._due.clear()
        for number in self._workers.values():
            self._watchdog.forget(number)
        self._signal(signal.SIGTERM)

    def _check_workers(self) -> None:
        """Replace workers that hang, and notify systemd if there is none."""
        if time.monotonic() < self._next_check:
            return
        self._next_check = time.monotonic() + INTERVAL
        self._watchdog.check()
        for process, number in self._workers.items():
            state = self._watchdog.state(number)
            if state is State.HANGS:
                log.error("worker %d does not respond: its threads follow, then it is replaced", number)
                os.kill(process, REPORT_THREADS)
            elif state is State.STILL_HANGS:
                os.kill(process, signal.SIGKILL)
        if self._watchdog.all_alive:
            self._readiness.announce_life()

    def _restart(self) -> None:
        for number in [number for number, due in self._due.items() if due <= time.monotonic()]:
            del self._due[number]
            self._start(number)

    def _shut_down(self) -> int:
        """Let the workers drain, and kill those that do not end in time."""
        self._readiness.announce_stop()
        log.info("stopping; transfers to clients have %.0f s to finish", self._settings.server.grace_period)
        for share in self._shares:
            share.close()  # refuse new connections instead of leaving them in the backlog
        self._signal(signal.SIGTERM)
        self._recovery.abort()
        deadline = time.monotonic() + self._settings.server.grace_period + _END_TIMEOUT
        is_clean = not self._recovery.active
        while self._workers and time.monotonic() < deadline:
            process, status = os.waitpid(-1, os.WNOHANG)
            if not process:
                signal.sigtimedwait({signal.SIGCHLD}, max(0.0, deadline - time.monotonic()))
            elif self._workers.pop(process, None) is not None:
                is_clean &= status == 0
        self._signal(signal.SIGKILL)
        if is_clean and not self._workers:
            # The last worker has written the whole index to the disk.
            boot_mark(self._settings.storage.path).end()
        return 0

    def _signal(self, number: signal.Signals) -> None:
        for process in self._workers:
            os.kill(process, number)


def _restart_remark(keys: Sequence[str]) -> str:
    """Log the changed settings that wait for a restart. Return a remark for the state of the service."""
    if not keys:
        return ""
    log.warning("reload: changes to %s require a restart of the server", ", ".join(keys))
    return f"a restart is required for {', '.join(keys)}"


def _describe_exit(status: int) -> str:
    code = os.waitstatus_to_exitcode(status)
    return f"exit code {code}" if code >= 0 else f"signal {-code}"
