"""Asking upstreams, and remembering which of them is failing."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from registry_proxy.cache.failures import classify_failure
from registry_proxy.policy.breaker import Breaker
from registry_proxy.policy.freshness import UpstreamFailure
from registry_proxy.upstream.base import UpstreamError, UpstreamLimitedError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from registry_proxy.upstream.base import Upstream

Answer = TypeVar("Answer")


class CircuitBreakers:
    """A breaker an upstream registry. Blob transfers don't count: their host is seldom the registry's own."""

    def __init__(self, monotonic: Callable[[], float]) -> None:
        self._monotonic = monotonic
        self._breakers: dict[str, Breaker] = {}

    def is_failing(self, upstream: Upstream) -> bool:
        """Whether its last answer was a failure, so that nothing that is cached should wait for it."""
        breaker = self._breakers.get(upstream.registry)
        return breaker is not None and breaker.failing

    def may_ask(self, upstream: Upstream) -> bool:
        """Whether another try is due."""
        breaker = self._breakers.get(upstream.registry)
        return breaker is None or breaker.may_ask(self._monotonic())

    async def ask(self, upstream: Upstream, question: Awaitable[Answer]) -> Answer:
        """The answer; any UpstreamError is passed on."""
        breaker = self._breakers.setdefault(upstream.registry, Breaker())
        try:
            answer = await question
        except UpstreamError as error:
            if classify_failure(error) is UpstreamFailure.OUTAGE:
                retry_after = error.retry_after if isinstance(error, UpstreamLimitedError) else None
                breaker.failed(self._monotonic(), retry_after)
            else:
                breaker.succeeded()
            raise
        breaker.succeeded()
        return answer
