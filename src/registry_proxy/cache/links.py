"""Access to content through a repository: by a link, or by the upstream's confirmation."""

from __future__ import annotations

import asyncio
import os
import secrets
from functools import partial
from typing import TYPE_CHECKING, Any

from registry_proxy.aio.pools import READING
from registry_proxy.cache.content import log_index_errors
from registry_proxy.cache.failures import classify_failure, to_registry_error
from registry_proxy.cache.results import Outcome
from registry_proxy.policy.freshness import (
    CLOCK_TOLERANCE,
    Fallback,
    Freshness,
    UpstreamFailure,
    access_is_trusted,
    fall_back,
)
from registry_proxy.upstream.base import UpstreamBrokenError, UpstreamError

if TYPE_CHECKING:
    from collections.abc import Callable

    from registry_proxy.aio.tasks import SingleFlight
    from registry_proxy.cache.breakers import CircuitBreakers
    from registry_proxy.cache.content import ContentStore
    from registry_proxy.index.base import Index, Link
    from registry_proxy.oci.errors import ErrorCode
    from registry_proxy.oci.reference import Digest, Source
    from registry_proxy.storage.base import StoredBlob
    from registry_proxy.upstream.base import RemoteRepository

# Bytes that a registry has to send as a proof that it has a blob.
_SAMPLE = 64 * 1024


class Links:
    """The links in the index: which repository holds which digest, as its registry confirmed."""

    def __init__(
        self,
        index: Index,
        content: ContentStore,
        breakers: CircuitBreakers,
        single_flight: SingleFlight[int | None],
        rules: Freshness,
        clock: Callable[[], float],
    ) -> None:
        self._index = index
        self._content = content
        self._breakers = breakers
        self._single_flight = single_flight
        self._rules = rules
        self._clock = clock

    def get(self, source: Source, digest: Digest) -> Link | None:
        """Return the link, of any age."""
        return self._index.link(source, digest)

    def is_known_to(self, remote: RemoteRepository, digest: Digest) -> bool:
        """Return whether the repository's registry has delivered or proved the content, in any repository."""
        return self._index.is_confirmed(remote.source.registry, digest)

    def is_trusted(self, link: Link | None) -> bool:
        """Return whether the link alone grants access."""
        return link is not None and self.is_recent(link.confirmed_at)

    def is_delivered(self, source: Source, digest: Digest) -> bool:
        """Return whether the repository's own upstream delivers the digest, and no link is recorded yet."""
        delivery = self._index.delivery(digest)
        return delivery is not None and delivery.source == source and self.is_recent(delivery.reserved_at)

    def is_recent(self, confirmed_at: float) -> bool:
        """Return whether a confirmation at this time still grants access."""
        return access_is_trusted(confirmed_at, self._clock(), self._rules)

    async def check_access(
        self,
        remote: RemoteRepository,
        digest: Digest,
        unknown: ErrorCode,
        probe: Callable[[], asyncio.Future[Any]],
    ) -> Outcome:
        """Check that stored content may be served through `remote`: by a trusted link, otherwise by `probe`.

        `probe` starts the request to the upstream. Raise RegistryError if access is refused; `unknown` is the code for
        content that the upstream does not have.
        """
        link = self.get(remote.source, digest)
        if self.is_trusted(link) or self.is_delivered(remote.source, digest):
            return Outcome.HIT
        registry = remote.source.registry
        if link is not None and link.is_confirmed and self._breakers.is_open(remote.source):
            # An outage must not delay cached content: the next probe, when due, runs in the background.
            if self._breakers.may_ask(remote.source):
                probe()
            return Outcome.STALE
        try:
            await asyncio.shield(probe())
        except UpstreamError as error:
            if link is not None and link.is_confirmed:
                match fall_back(classify_failure(error), link.confirmed_at, self._clock(), self._rules):
                    case Fallback.SERVE_STALE:
                        return Outcome.STALE
                    case Fallback.FORGET:
                        with log_index_errors(f"removing the link of {remote.source}@{digest}"):
                            await self._index.drop_link(remote.source, digest)
                    case Fallback.REPORT:
                        await self.withdraw_if_refused(remote.source, error)
            raise to_registry_error(error, registry, unknown) from error
        return Outcome.REVALIDATED

    def probe(self, remote: RemoteRepository, digest: Digest) -> asyncio.Future[int | None]:
        """Request a confirmation that the repository holds the blob, and link it; the result is its size in bytes.

        All callers share the future: do not cancel it. It raises UpstreamError.
        """
        return self._single_flight.start((remote.source, digest), partial(self._probe, remote, digest))

    async def ensure(self, remote: RemoteRepository, digest: Digest) -> None:
        """Make sure that the repository holds the blob, before bytes of another repository's transfer are used.

        Raise UpstreamError.
        """
        if not self.is_delivered(remote.source, digest) and not self.is_trusted(
            self.get(remote.source, digest)
        ):
            await asyncio.shield(self.probe(remote, digest))

    async def add(self, source: Source, digest: Digest, size: int | None = None) -> None:
        """Link content that the upstream confirms through the repository, with the size that it reports."""
        with log_index_errors(f"linking {source}@{digest}"):
            await self._index.record_link(source, digest, size, self._clock())

    async def withdraw_if_refused(self, source: Source, error: UpstreamError) -> None:
        """Remove the confirmations older than `access_ttl` if the error is a refusal.

        No later outage may bring back content that the upstream refuses: only a new confirmation does.
        """
        if classify_failure(error) is UpstreamFailure.REFUSED:
            with log_index_errors(f"removing the links of {source}"):
                now = self._clock()
                await self._index.withdraw(source, now - self._rules.access_ttl, now + CLOCK_TOLERANCE)

    async def _probe(self, remote: RemoteRepository, digest: Digest) -> int | None:
        stored = None if self.is_known_to(remote, digest) else await self._content.open(digest)
        work = self._prove(remote, digest, stored) if stored else remote.probe_blob(digest)
        size = await self._breakers.ask(remote.source, work)
        # A claim about content that is not here must not open it when another registry delivers it later.
        if stored is not None or self.is_known_to(remote, digest):
            await self.add(remote.source, digest, size)
        return size

    async def _prove(self, remote: RemoteRepository, digest: Digest, stored: StoredBlob) -> int:
        """Have the registry prove that the repository holds the blob, which came from another registry.

        Its word alone would open private content of the other one. Close the blob, and return its size in bytes.
        """
        try:
            start = secrets.randbelow(max(1, stored.size - _SAMPLE + 1))
            stop = min(start + _SAMPLE, stored.size)
            if stop == start:
                await remote.probe_blob(digest)  # an empty blob has nothing to hide
                return stored.size
            expected = await READING.run(os.pread, stored.file.fileno(), stop - start, start)
            if await remote.sample(digest, start, stop) != expected:
                text = (
                    f"the bytes of {remote.source}@{digest} do not match the digest, or it does not have them"
                )
                raise UpstreamBrokenError(text)
            return stored.size
        finally:
            stored.close()
