"""Gets the certificates, and renews them: one process at a time is in charge."""

from __future__ import annotations

import asyncio
import contextlib
import datetime
import logging
import math
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, NoReturn, Protocol

import msgspec

from registry_proxy.policy.renewal import (
    Span,
    look_again_after,
    renew_at,
    try_again_after_start,
    try_again_at,
)
from registry_proxy.tls.attempts import LastFailure
from registry_proxy.tls.certificates import CertificateError
from registry_proxy.tls.issuer import IssueError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from registry_proxy.tls.certificates import Certificate
    from registry_proxy.tls.challenges import Challenges
    from registry_proxy.tls.folder import CertificateFolder
    from registry_proxy.tls.issuer import Issuer

log = logging.getLogger(__name__)

_LOCK = "certificates"
# Seconds between attempts to take charge, and at most between looks at what is due.
_CHARGE_EVERY = 5.0
_LOOK_EVERY = 60.0
# How long a new certificate is good, whatever its authority suggests. Seconds.
_FRESH = 3600.0
# Names that are worked on at the same time: one that hangs doesn't hold up the others.
_THREADS = 8


class ProcessLocks(Protocol):
    """Named locks between processes."""

    def try_acquire(self, name: str) -> bool: ...
    def release(self, name: str) -> None: ...


@dataclass(frozen=True, slots=True)
class Timing:
    """The time in seconds since the epoch, and a random number from 0 to 1."""

    clock: Callable[[], float]
    chance: Callable[[], float]


@dataclass(frozen=True, slots=True)
class CertificateConfig:
    """What is to be had: certificates for host names, from the authority of that name, proven in one of these ways."""

    authority: str
    hostnames: Sequence[str]
    challenges: Sequence[str]


@dataclass(slots=True)
class _ManagedCertificate:
    """One host name. `chance` spreads its renewals; `window` is what the authority suggests, asked for at `look_at`."""

    hostname: str
    chance: float
    failure: LastFailure | None
    window: Span | None = None
    look_at: float = 0.0
    wake_at: float = 0.0
    busy: bool = False

    def due_at(self, certificate: Certificate | None) -> float:
        """When to get the next certificate."""
        renewal = renew_at(certificate.validity, self.window, self.chance) if certificate else 0.0
        return max(renewal, self.failure.try_again_at if self.failure else 0.0)


class CertificateManager:
    """Keeps a certificate for each host name. `connect` makes the authority's client, once there is a need to ask."""

    def __init__(
        self,
        task: CertificateConfig,
        folder: CertificateFolder,
        pending: Challenges,
        connect: Callable[[], Issuer],
        timing: Timing,
    ) -> None:
        self._task = task
        self._folder = folder
        self._pending = pending
        self._connect = connect
        self._timing = timing
        self._connecting = threading.Lock()
        self._issuer: Issuer | None = None
        self._managed_certificates: dict[str, _ManagedCertificate] = {}
        self._wake = asyncio.Event()

    async def run(self, locks: ProcessLocks) -> None:
        """Wait until no other process is in charge, then be, until cancelled."""
        while not locks.try_acquire(_LOCK):  # noqa: ASYNC110 - it is another process that lets go
            await asyncio.sleep(_CHARGE_EVERY)
        # Not waited for at the end: a request may hang, and the process ends anyway.
        executor = ThreadPoolExecutor(_THREADS, "acme")
        try:
            self._pending.clear()
            async with asyncio.TaskGroup() as tasks:
                await self._work(tasks, executor)
        finally:
            executor.shutdown(wait=False, cancel_futures=True)
            locks.release(_LOCK)

    def reconfigure(self, hostnames: Sequence[str]) -> None:
        """From now on these host names; what failed is tried again at once."""
        self._task = replace(self._task, hostnames=hostnames)
        for managed in self._managed_certificates.values():
            if managed.failure and not managed.busy:
                managed.failure = msgspec.structs.replace(managed.failure, try_again_at=0.0)
                managed.wake_at = 0.0
        self._wake.set()

    async def _work(self, tasks: asyncio.TaskGroup, executor: ThreadPoolExecutor) -> NoReturn:
        while True:
            self._wake.clear()
            self._managed_certificates = {
                name: self._managed_certificates.get(name) or self._managed(name)
                for name in self._task.hostnames
            }
            for managed in self._managed_certificates.values():
                if not managed.busy and managed.wake_at <= self._timing.clock():
                    managed.busy = True
                    tasks.create_task(self._maintain(managed, executor))
            await self._rest()

    def _managed(self, hostname: str) -> _ManagedCertificate:
        failure = LastFailure.load(self._folder.failure(hostname))
        if failure is not None:
            due = try_again_after_start(failure.failed_at, failure.try_again_at)
            failure = msgspec.structs.replace(failure, try_again_at=due)
        return _ManagedCertificate(hostname, self._timing.chance(), failure)

    async def _rest(self) -> None:
        """Until something is due, or may be."""
        now = self._timing.clock()
        times = [managed.wake_at for managed in self._managed_certificates.values() if not managed.busy]
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(min(max(min(times, default=math.inf) - now, 0.1), _LOOK_EVERY)):
                await self._wake.wait()

    async def _maintain(self, managed: _ManagedCertificate, executor: ThreadPoolExecutor) -> None:
        loop = asyncio.get_running_loop()
        certificate = self._folder.read(managed.hostname)
        if certificate is not None and managed.look_at <= self._timing.clock():
            await loop.run_in_executor(executor, self._look, managed, certificate)
        if managed.due_at(certificate) <= self._timing.clock():
            certificate = await loop.run_in_executor(executor, self._obtain, managed, certificate)
        managed.wake_at = min(managed.due_at(certificate), managed.look_at if certificate else math.inf)
        managed.busy = False
        self._wake.set()

    # In a thread, one a host name.

    def _client(self) -> Issuer:
        with self._connecting:
            self._issuer = self._issuer or self._connect()
            return self._issuer

    def _look(self, managed: _ManagedCertificate, certificate: Certificate) -> None:
        """Ask when to renew. Without an answer the certificate's own dates count."""
        retry_after = None
        try:
            suggestion = self._client().suggestion(certificate.leaf)
        except Exception as error:  # noqa: BLE001 - whatever it is, the other host names go on
            log.debug("%s does not say when to renew %s: %s", self._task.authority, managed.hostname, error)
        else:
            retry_after = suggestion.retry_after
            if suggestion.window and suggestion.window != managed.window:
                begin, end = _text(suggestion.window.start), _text(suggestion.window.stop)
                log.info(
                    "%s suggests to renew %s from %s to %s",
                    self._task.authority,
                    managed.hostname,
                    begin,
                    end,
                )
            managed.window = suggestion.window
        managed.look_at = self._timing.clock() + look_again_after(retry_after)

    def _obtain(self, managed: _ManagedCertificate, held: Certificate | None) -> Certificate | None:
        """A new certificate; or the one held, and note why."""
        failures = managed.failure.failures if managed.failure else 0
        # Another way each time: which port is open from outside can't be seen from here.
        challenge = self._task.challenges[failures % len(self._task.challenges)]
        try:
            pem = self._client().issue(managed.hostname, challenge)
            certificate = self._folder.write(managed.hostname, pem)
        except Exception as error:  # noqa: BLE001 - whatever it is, the other host names go on
            self._note(managed, held, challenge, error)
            return held
        log.info("got %s, from %s by %s", certificate, self._task.authority, challenge)
        self._folder.failure(managed.hostname).unlink(missing_ok=True)
        managed.failure = managed.window = None
        # An authority that would have each new certificate renewed at once must not be asked for one after the other.
        managed.chance, managed.look_at = self._timing.chance(), self._timing.clock() + _FRESH
        return certificate

    def _note(
        self, managed: _ManagedCertificate, held: Certificate | None, challenge: str, error: Exception
    ) -> None:
        now = self._timing.clock()
        failures = managed.failure.failures + 1 if managed.failure else 1
        retry_after = error.retry_after if isinstance(error, IssueError) else None
        due = try_again_at(now, failures, retry_after, self._timing.chance())
        expected = isinstance(error, IssueError | CertificateError | OSError)
        problem = str(error) if expected else f"unexpected {error!r}; please report this."
        managed.failure = LastFailure(failures, now, due, problem)
        managed.failure.save(self._folder.failure(managed.hostname))
        log.error(
            "no certificate for %s from %s by %s, attempt %d: %s Until %s %s is served; SIGHUP tries at once.",
            *(managed.hostname, self._task.authority, challenge, failures, problem),
            *(f"the next attempt at {_text(due)}", held or "nothing"),
        )


def _text(time: float) -> str:
    return f"{datetime.datetime.fromtimestamp(time, datetime.UTC):%Y-%m-%d %H:%M:%S}Z"
