"""Credentials that expire, and are renewed before."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

from registry_proxy.aio.tasks import SingleFlight
from registry_proxy.policy.breaker import Breaker
from registry_proxy.upstream.auth.commands import CommandError
from registry_proxy.upstream.base import UpstreamDeniedError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from registry_proxy.aio.tasks import BackgroundTasks
    from registry_proxy.oci.reference import Repository
    from registry_proxy.upstream.auth.credentials import Credentials

log = logging.getLogger(__name__)

# The part of their lifetime after which credentials are renewed in the background.
_REFRESH_AT = 0.8
# In seconds. Refused credentials that are younger are not renewed: a client can request any number of forbidden names.
_MIN_AGE = 60.0


class ExpiringCredentials:
    """A provider of the credentials that `fetch` returns, for `lifetime` seconds. `fetch` may raise CommandError.

    Concurrent requests share one call of `fetch`. If it fails, the previous credentials stay in use, because the
    upstream may still accept them. `clock` is monotonic, in seconds; `what` is the name of the credentials in the log.
    """

    def __init__(
        self,
        fetch: Callable[[], Awaitable[Credentials]],
        lifetime: float,
        *,
        what: str,
        background: BackgroundTasks,
        clock: Callable[[], float],
    ) -> None:
        self._fetch = fetch
        self._lifetime = lifetime
        self._what = what
        self._clock = clock
        self._credentials: Credentials | None = None
        self._fetched_at = 0.0
        self._error = ""
        self._breaker = Breaker()
        self._single_flight: SingleFlight[None] = SingleFlight(background)

    async def get(self, repository: Repository) -> Credentials | None:  # noqa: ARG002
        """Return the current credentials. Wait only if there are none, or if they expired and `fetch` may succeed."""
        age = self._clock() - self._fetched_at
        if self._credentials is None or (age >= self._lifetime and not self._breaker.failing):
            await self._refresh()
        elif age >= self._lifetime * _REFRESH_AT:
            self._start()
        if self._credentials is None:
            # Denied, as for wrong credentials: the registry itself works.
            raise UpstreamDeniedError(f"there are no credentials: {self._error}", login_required=True)
        return self._credentials

    async def refresh(self, repository: Repository, refused: Credentials) -> Credentials | None:  # noqa: ARG002
        if self._credentials == refused and self._clock() - self._fetched_at >= _MIN_AGE:
            await self._refresh()
        return self._credentials

    async def _refresh(self) -> None:
        """Wait for new credentials. The attempt may fail."""
        if attempt := self._start():
            await asyncio.wait([attempt])

    def _start(self) -> asyncio.Future[None] | None:
        """Return the running attempt, or a new one unless the last one has just failed."""
        if (running := self._single_flight.running(self._what)) is not None:
            return running
        if not self._breaker.may_ask(self._clock()):
            return None
        return self._single_flight.start(self._what, self._attempt)

    async def _attempt(self) -> None:
        try:
            self._credentials = await self._fetch()
        except CommandError as error:
            now = self._clock()
            self._breaker.failed(now)
            self._error = str(error)
            pause = self._breaker.paused_until - now
            use = "the previous ones stay in use" if self._credentials else "there are none"
            message = "no new credentials for %s, %s: %s. Next attempt in %.0f s"
            log.error(message, self._what, use, error, pause)  # noqa: TRY400
        else:
            self._breaker.succeeded()
            self._fetched_at = self._clock()
            log.info("new credentials for %s", self._what)
