"""Issuance and renewal of certificates, by one process at a time."""

from __future__ import annotations

import asyncio
import contextlib
import datetime
import logging
import math
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, NoReturn

import msgspec

from registry_proxy.policy.renewal import Span, recheck_after, renew_at, retry_at, retry_at_after_start
from registry_proxy.tls.certificates import CertificateError
from registry_proxy.tls.issuer import IssueError
from registry_proxy.tls.last_failure import LastFailure

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from registry_proxy.aio.locks import ProcessLocks
    from registry_proxy.aio.tasks import BackgroundTasks
    from registry_proxy.tls.certificates import Certificate
    from registry_proxy.tls.challenges import Challenges
    from registry_proxy.tls.issued import IssuedCertificates
    from registry_proxy.tls.issuer import Issuer

log = logging.getLogger(__name__)

_LOCK = "certificates"
# Seconds between attempts to get the lock, and at most between checks for due certificates.
_LOCK_INTERVAL = 5.0
_CHECK_INTERVAL = 60.0
# Minimum age in seconds of a certificate before its CA is asked for a renewal window.
_MIN_AGE = 3600.0
# Maximum of host names worked on at the same time. A request that hangs occupies one thread and delays no other one.
_THREADS = 8


@dataclass(frozen=True, slots=True)
class Timing:
    """Source of the time, in seconds since the epoch, and of random numbers from 0 to 1."""

    clock: Callable[[], float]
    jitter: Callable[[], float]


@dataclass(frozen=True, slots=True)
class CertificateConfig:
    """Host names that need a certificate, the name of their CA for the log, and the challenge types in order.

    `fingerprint` identifies everything that the CA's response depends on.
    """

    ca_name: str
    hostnames: Sequence[str]
    challenge_types: Sequence[str]
    fingerprint: str


@dataclass(slots=True)
class _ManagedCertificate:
    """State of one host name.

    `jitter` spreads the renewals. `window` is the CA's suggested renewal window, requested again at `recheck_at`.
    `checked_at` is the last time at which `is_due` was called.
    """

    hostname: str
    jitter: float
    failure: LastFailure | None
    window: Span | None = None
    recheck_at: float = 0.0
    wake_at: float = 0.0
    checked_at: float = 0.0
    busy: bool = False

    def is_due(self, now: float) -> bool:
        """Return whether to check the certificate now: also after the clock was set back, which moves all times."""
        is_set_back, self.checked_at = now < self.checked_at, now
        if is_set_back:
            self.recheck_at = 0.0
            if self.failure is not None:
                pause = self.failure.retry_at - self.failure.failed_at
                self.failure = msgspec.structs.replace(self.failure, failed_at=now, retry_at=now + pause)
        return is_set_back or self.wake_at <= now

    def due_at(self, certificate: Certificate | None) -> float:
        """Return when to obtain the next certificate."""
        renewal = renew_at(certificate.validity, self.window, self.jitter) if certificate else 0.0
        return max(renewal, self.failure.retry_at if self.failure else 0.0)


class CertificateManager:
    """Obtains and renews one certificate for each host name. `connect` creates the CA's client, at its first use."""

    def __init__(
        self,
        config: CertificateConfig,
        issued: IssuedCertificates,
        challenges: Challenges,
        connect: Callable[[], Issuer],
        timing: Timing,
    ) -> None:
        self._config = config
        self._issued = issued
        self._challenges = challenges
        self._connect = connect
        self._timing = timing
        self._connecting = threading.Lock()
        self._issuer: Issuer | None = None
        self._managed: dict[str, _ManagedCertificate] = {}
        self._wake = asyncio.Event()

    async def run(self, background: BackgroundTasks, locks: ProcessLocks) -> None:
        """Wait until no other process holds the lock, then maintain the certificates until cancelled."""
        while not locks.try_acquire(_LOCK):  # noqa: ASYNC110 - another process releases it
            await asyncio.sleep(_LOCK_INTERVAL)
        # Not waited for on shutdown: a request may hang, and the process ends anyway.
        executor = ThreadPoolExecutor(_THREADS, "acme")
        try:
            self._challenges.clear()
            await self._schedule(background, executor)
        finally:
            executor.shutdown(wait=False, cancel_futures=True)
            locks.release(_LOCK)

    def reconfigure(self, hostnames: Sequence[str]) -> None:
        """Replace the host names, and retry failed ones at once."""
        self._config = replace(self._config, hostnames=hostnames)
        for managed in self._managed.values():
            if managed.failure and not managed.busy:
                managed.failure = msgspec.structs.replace(managed.failure, retry_at=0.0)
                managed.wake_at = 0.0
        self._wake.set()

    async def _schedule(self, background: BackgroundTasks, executor: ThreadPoolExecutor) -> NoReturn:
        while True:
            self._wake.clear()
            self._managed = {
                name: self._managed.get(name) or self._add(name) for name in self._config.hostnames
            }
            for managed in self._managed.values():
                if not managed.busy and managed.is_due(self._timing.clock()):
                    managed.busy = True
                    background.spawn(self._maintain(managed, executor), f"certificate for {managed.hostname}")
            await self._wait()

    def _add(self, hostname: str) -> _ManagedCertificate:
        failure = LastFailure.load(self._issued.failure(hostname))
        if failure is not None and failure.configuration != self._config.fingerprint:
            failure = None  # the configuration was corrected since then
        if failure is not None:
            # A failure in the future was recorded before the clock was set back.
            failed_at = min(failure.failed_at, self._timing.clock())
            due = retry_at_after_start(failed_at, failure.retry_at)
            failure = msgspec.structs.replace(failure, retry_at=due)
        return _ManagedCertificate(hostname, self._timing.jitter(), failure)

    async def _wait(self) -> None:
        """Wait until a certificate may be due."""
        now = self._timing.clock()
        times = [managed.wake_at for managed in self._managed.values() if not managed.busy]
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(min(max(min(times, default=math.inf) - now, 0.1), _CHECK_INTERVAL)):
                await self._wake.wait()

    async def _maintain(self, managed: _ManagedCertificate, executor: ThreadPoolExecutor) -> None:
        # Holds after an unexpected error, which the background task logs.
        managed.wake_at = self._timing.clock() + _CHECK_INTERVAL
        try:
            managed.wake_at = await self._renew_if_due(managed, executor)
        finally:
            managed.busy = False
            self._wake.set()

    async def _renew_if_due(self, managed: _ManagedCertificate, executor: ThreadPoolExecutor) -> float:
        """Renew the certificate if it is due, and return when to check again."""
        loop = asyncio.get_running_loop()
        certificate = self._issued.read(managed.hostname)
        if certificate is not None and managed.recheck_at <= self._timing.clock():
            await loop.run_in_executor(executor, self._update_window, managed, certificate)
        if managed.due_at(certificate) <= self._timing.clock():
            certificate = await loop.run_in_executor(executor, self._obtain, managed, certificate)
        return min(managed.due_at(certificate), managed.recheck_at if certificate else math.inf)

    # The methods below run in a thread, one per host name.

    def _client(self) -> Issuer:
        with self._connecting:
            self._issuer = self._issuer or self._connect()
            return self._issuer

    def _update_window(self, managed: _ManagedCertificate, certificate: Certificate) -> None:
        """Request the renewal window. If that fails, the certificate's own dates are used."""
        ca_name, retry_after = self._config.ca_name, None
        try:
            suggestion = self._client().renewal_suggestion(certificate.leaf)
        except Exception as error:  # noqa: BLE001 - no error may stop the other host names
            log.debug("no renewal window for %s from %s: %s", managed.hostname, ca_name, error)
        else:
            retry_after = suggestion.retry_after
            if suggestion.window and suggestion.window != managed.window:
                begin, end = _text(suggestion.window.start), _text(suggestion.window.stop)
                log.info("%s suggests renewing %s between %s and %s", ca_name, managed.hostname, begin, end)
            managed.window = suggestion.window
        managed.recheck_at = self._timing.clock() + recheck_after(retry_after)

    def _obtain(self, managed: _ManagedCertificate, current: Certificate | None) -> Certificate | None:
        """Return a new certificate. If issuance fails, record why and return the current one."""
        failures = managed.failure.failures if managed.failure else 0
        # Alternate the preferred challenge type: the server cannot check which port is reachable from outside.
        types = self._config.challenge_types
        first = failures % len(types)
        preferred = [*types[first:], *types[:first]]
        try:
            issued = self._client().issue(managed.hostname, preferred)
            certificate = self._issued.write(managed.hostname, issued.pem)
        except Exception as error:  # noqa: BLE001 - no error may stop the other host names
            self._record_failure(managed, current, preferred[0], error)
            return current
        log.info("obtained %s, from %s (%s)", certificate, self._config.ca_name, issued.challenge)
        self._issued.failure(managed.hostname).unlink(missing_ok=True)
        managed.failure = managed.window = None
        # Without a minimum age, a CA that suggests immediate renewal would get order after order.
        managed.jitter, managed.recheck_at = self._timing.jitter(), self._timing.clock() + _MIN_AGE
        return certificate

    def _record_failure(
        self, managed: _ManagedCertificate, current: Certificate | None, preferred: str, error: Exception
    ) -> None:
        now = self._timing.clock()
        challenge = (isinstance(error, IssueError) and error.challenge) or preferred
        failures = managed.failure.failures + 1 if managed.failure else 1
        retry_after = error.retry_after if isinstance(error, IssueError) else None
        due = retry_at(now, failures, retry_after, self._timing.jitter())
        expected = isinstance(error, IssueError | CertificateError | OSError)
        problem = str(error) if expected else f"unexpected {error!r}; please report this."
        managed.failure = LastFailure(failures, now, due, problem, self._config.fingerprint)
        managed.failure.save(self._issued.failure(managed.hostname))
        log.error(
            "no certificate for %s from %s (%s, attempt %d): %s Next attempt at %s, serving %s until then."
            " SIGHUP retries now.",
            *(managed.hostname, self._config.ca_name, challenge, failures, problem),
            *(_text(due), current or "no certificate"),
        )


def _text(time: float) -> str:
    return f"{datetime.datetime.fromtimestamp(time, datetime.UTC):%Y-%m-%d %H:%M:%S}Z"
