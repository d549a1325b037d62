"""Whether a repository may give a digest: by link, or by the upstream's word."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from registry_proxy.cache.failures import classify_failure, recorded_if_possible, to_registry_error
from registry_proxy.cache.results import Outcome
from registry_proxy.policy.freshness import Fallback, Freshness, access_is_trusted, fall_back
from registry_proxy.upstream.base import UpstreamError

if TYPE_CHECKING:
    from collections.abc import Callable

    from registry_proxy.aio.singleflight import SingleFlight
    from registry_proxy.cache.breakers import CircuitBreakers
    from registry_proxy.index.base import Index, Link
    from registry_proxy.oci.digest import Digest
    from registry_proxy.oci.errors import ErrorCode
    from registry_proxy.oci.reference import Source
    from registry_proxy.upstream.base import Upstream


class Links:
    """Links: kept in the index, made and confirmed by the upstream's answers."""

    def __init__(
        self,
        index: Index,
        breakers: CircuitBreakers,
        single_flight: SingleFlight[int | None],
        rules: Freshness,
        clock: Callable[[], float],
    ) -> None:
        self._index = index
        self._breakers = breakers
        self._single_flight = single_flight
        self._rules = rules
        self._clock = clock

    def link(self, source: Source, digest: Digest) -> Link | None:
        """The link, however old."""
        return self._index.link(source, digest)

    def is_trusted(self, link: Link | None) -> bool:
        """Whether the link alone is enough."""
        return link is not None and access_is_trusted(link.confirmed_at, self._clock(), self._rules)

    async def permit(
        self,
        upstream: Upstream,
        source: Source,
        digest: Digest,
        unknown: ErrorCode,
        ask: Callable[[], asyncio.Future[Any]],
    ) -> Outcome:
        """Let content that is here go out through `source`: by a link that counts, else by the upstream's word.

        `ask` begins to ask the upstream. Raises RegistryError when the access is not given.
        """
        link = self.link(source, digest)
        if self.is_trusted(link):
            return Outcome.HIT
        if link is not None and self._breakers.is_failing(upstream):
            # An outage must not slow down what is here: the next try, when it is due, runs behind the client's back.
            if self._breakers.may_ask(upstream):
                ask()
            return Outcome.STALE
        try:
            await asyncio.shield(ask())
        except UpstreamError as error:
            if link is not None:
                match fall_back(classify_failure(error), link.confirmed_at, self._clock(), self._rules):
                    case Fallback.SERVE_STALE:
                        return Outcome.STALE
                    case Fallback.FORGET:
                        with recorded_if_possible(f"the loss of {source}@{digest}"):
                            await self._index.drop_link(source, digest)
                    case Fallback.REPORT:
                        pass
            raise to_registry_error(error, upstream, unknown) from error
        return Outcome.REVALIDATED

    def ask_for_blob(self, upstream: Upstream, source: Source, digest: Digest) -> asyncio.Future[int | None]:
        """Ask the upstream whether the repository holds the blob, and link it; its size where it was told.

        Don't cancel the future, which all who ask share. It raises UpstreamError.
        """
        return self._single_flight.start(
            (source, digest), lambda: self._confirm_blob(upstream, source, digest)
        )

    async def confirm_blob(self, upstream: Upstream, source: Source, digest: Digest) -> int | None:
        """`ask_for_blob`, and wait for the answer."""
        return await asyncio.shield(self.ask_for_blob(upstream, source, digest))

    async def grant(self, source: Source, digest: Digest) -> None:
        """The upstream has given the content through this repository: link it.

        A size that it tells by the way is not recorded, since nothing has proved it yet.
        """
        with recorded_if_possible(f"the link of {source}@{digest}"):
            await self._index.record_link(source, digest, None, self._clock())

    async def _confirm_blob(self, upstream: Upstream, source: Source, digest: Digest) -> int | None:
        size = await self._breakers.ask(upstream, upstream.probe_blob(source.repository, digest))
        await self.grant(source, digest)
        return size


class FillAccess:
    """The access of the repository that a fill is made for."""

    def __init__(self, access: Links, upstream: Upstream, source: Source, digest: Digest) -> None:
        self._access = access
        self._upstream = upstream
        self._source = source
        self._digest = digest

    def is_trusted(self) -> bool:
        """Whether a link allows it already."""
        return self._access.is_trusted(self._access.link(self._source, self._digest))

    async def confirm(self) -> None:
        """Make sure that the repository holds the digest, before bytes of another's transfer are used."""
        if not self.is_trusted():
            await self._access.confirm_blob(self._upstream, self._source, self._digest)

    async def grant(self) -> None:
        """The upstream is sending it."""
        await self._access.grant(self._source, self._digest)
