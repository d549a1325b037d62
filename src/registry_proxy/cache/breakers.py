"""Circuit breakers: which registries are failing."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from registry_proxy.cache.failures import classify_failure
from registry_proxy.policy.breaker import Breaker
from registry_proxy.policy.freshness import UpstreamFailure
from registry_proxy.upstream.base import UpstreamError, UpstreamLimitedError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

Result = TypeVar("Result")


class CircuitBreakers:
    """One breaker per failing registry. Blob transfers do not count: they mostly come from another host."""

    def __init__(self, monotonic: Callable[[], float]) -> None:
        self._monotonic = monotonic
        self._failing: dict[str, Breaker] = {}

    def is_open(self, registry: str) -> bool:
        """Return whether the registry's last response was a failure, so that cached content must not wait for it."""
        return registry in self._failing

    def may_ask(self, registry: str) -> bool:
        """Return whether a request is due."""
        breaker = self._failing.get(registry)
        return breaker is None or breaker.may_ask(self._monotonic())

    async def ask(self, registry: str, request: Awaitable[Result]) -> Result:
        """Return the result of a request to the registry, and record whether it failed. Raise UpstreamError."""
        try:
            result = await request
        except UpstreamError as error:
            if classify_failure(error) is UpstreamFailure.OUTAGE:
                retry_after = error.retry_after if isinstance(error, UpstreamLimitedError) else None
                breaker = self._failing.setdefault(registry, Breaker())
                breaker.failed(self._monotonic(), retry_after)
            else:
                self._failing.pop(registry, None)
            raise
        self._failing.pop(registry, None)
        return result
