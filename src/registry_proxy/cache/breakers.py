"""Circuit breakers: which registries and repositories are failing."""

from __future__ import annotations

from collections import Counter, defaultdict
from typing import TYPE_CHECKING, Any, TypeVar

from cachetools import LRUCache

from registry_proxy.aio.fair_limit import FairLimit, QueueFullError
from registry_proxy.cache.failures import TooBusyError, classify_failure
from registry_proxy.policy.breaker import Breaker
from registry_proxy.policy.freshness import UpstreamFailure
from registry_proxy.upstream.base import UpstreamError, UpstreamLimitedError

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from registry_proxy.observe.outages import Outages
    from registry_proxy.oci.reference import Source

Result = TypeVar("Result")

# Requests to one registry at a time, those that wait for their turn, and the longest wait in seconds.
_REQUESTS = 24
_QUEUE = 256
_WAIT_LIMIT = 15.0
# Clients choose the names of repositories, so the number of breakers is bounded.
_MAX_REPOSITORIES = 10_000
# If so many repositories fail and none responds well, the registry may be failing as a whole.
_SEVERAL = 2


class CircuitBreakers:
    """One breaker per failing registry, and one per repository for which its registry responds with failures.

    One repository must not stop the others: only a registry that does not respond, or whose limit for the whole account
    is reached, is failing as a whole. While several repositories fail and none responds well, requests for others are
    sent, but cached content does not wait for them: each could take as long as the registry's gateway. Blob transfers
    do not count: they mostly come from another host.

    A registry gets a limited number of requests at a time, so that those of one client do not delay all others.
    """

    def __init__(self, monotonic: Callable[[], float], outages: Outages) -> None:
        self._monotonic = monotonic
        self._outages = outages
        self._registries: dict[str, Breaker] = {}
        self._repositories: LRUCache[Source, Breaker] = LRUCache(_MAX_REPOSITORIES)
        self._responses: Counter[str] = Counter()  # by registry
        # By registry, since its last good response.
        self._failing: defaultdict[str, set[Source]] = defaultdict(set)
        self._limits: dict[str, FairLimit] = {}  # by registry

    def is_open(self, source: Source) -> bool:
        """Return whether the next response can be a failure, so that cached content must not wait for it."""
        is_failing = source in self._repositories or source.registry in self._registries
        return is_failing or len(self._failing.get(source.registry, ())) >= _SEVERAL

    def may_ask(self, source: Source) -> bool:
        """Return whether a request is due."""
        now = self._monotonic()
        breakers = (self._registries.get(source.registry), self._repositories.get(source))
        return all(breaker is None or breaker.may_ask(now) for breaker in breakers)

    async def ask(
        self, source: Source, request: Coroutine[Any, Any, Result], *, for_cached: bool = True
    ) -> Result:
        """Return the result of a request about a repository, and record whether it failed. Raise UpstreamError.

        If the request is not for cached content, its failure says nothing about the cached content of the repository.
        """
        limit = self._limits.setdefault(source.registry, FairLimit(_REQUESTS, _QUEUE, _WAIT_LIMIT))
        try:
            async with limit.admitted():
                return await self._send(source, request, for_cached=for_cached)
        except QueueFullError:
            raise TooBusyError(f"requests to {source.registry}") from None
        finally:
            request.close()  # one that was not admitted never begins

    async def _send(
        self, source: Source, request: Coroutine[Any, Any, Result], *, for_cached: bool
    ) -> Result:
        responses = self._responses[source.registry]
        try:
            result = await request
        except UpstreamError as error:
            if classify_failure(error) is not UpstreamFailure.OUTAGE:
                self._succeeded(source)
            elif self._is_failing(source.registry, error, responses):
                pause = self._failed(self._registries.setdefault(source.registry, Breaker()), error)
                self._outages.failed(source.registry, str(error), pause, concerns_all=True)
            else:
                self._responses[source.registry] += 1
                breaker = self._repositories.setdefault(source, Breaker()) if for_cached else Breaker()
                self._outages.failed(source.registry, str(error), self._failed(breaker, error))
                if for_cached and len(self._failing[source.registry]) < _SEVERAL:
                    self._failing[source.registry].add(source)
            raise
        self._succeeded(source)
        return result

    def _is_failing(self, registry: str, error: UpstreamError, responses: int) -> bool:
        """Return whether the registry fails as a whole. `responses` is the number of them before the request."""
        if isinstance(error, UpstreamLimitedError):
            return error.concerns_registry
        # A registry that responds to others is there: it is this repository for which it does not respond.
        return error.concerns_registry and self._responses[registry] == responses

    def _failed(self, breaker: Breaker, error: UpstreamError) -> float:
        """Record a failure and return the seconds until the next request is due."""
        retry_after = error.retry_after if isinstance(error, UpstreamLimitedError) else None
        now = self._monotonic()
        breaker.failed(now, retry_after)
        return breaker.paused_until - now

    def _succeeded(self, source: Source) -> None:
        self._responses[source.registry] += 1
        self._outages.succeeded(source.registry)
        self._registries.pop(source.registry, None)
        self._repositories.pop(source, None)
        self._failing.pop(source.registry, None)
