"""The current manifest of a reference at its registry: by a HEAD, or by a GET where a HEAD does not work."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

from cachetools import LRUCache

from registry_proxy.cache.failures import classify_failure
from registry_proxy.policy.freshness import UpstreamFailure
from registry_proxy.policy.heads import Heads
from registry_proxy.upstream.base import UpstreamError, UpstreamLimitedError, UpstreamTimeoutError

if TYPE_CHECKING:
    from collections.abc import Callable

    from registry_proxy.oci.reference import Digest, Reference, Source
    from registry_proxy.upstream.base import FetchedManifest, RemoteRepository


# Clients choose the names of repositories, so their number is bounded.
_MAX_SUSPECTS = 1000


class CurrentManifests:
    """Requests for the current manifest. It remembers for each registry whether HEAD requests are of use."""

    def __init__(self, monotonic: Callable[[], float]) -> None:
        self._monotonic = monotonic
        self._heads: defaultdict[str, Heads] = defaultdict(Heads)
        # Repositories whose last HEAD got no response: the next GET shows whether the HEAD or the registry failed.
        self._suspects: LRUCache[Source, bool] = LRUCache(_MAX_SUSPECTS)

    async def get(self, remote: RemoteRepository, reference: Reference) -> Digest | FetchedManifest:
        """Return the digest that a HEAD reports, otherwise the manifest that a GET returns. Raise UpstreamError."""
        heads = self._heads[remote.source.registry]
        is_suspect = self._suspects.pop(remote.source, False)
        if not is_suspect and heads.may_help(self._monotonic()):
            return await self._by_head(remote, reference, heads)
        fetched = await remote.manifest(reference)
        if is_suspect:
            heads.failed(self._monotonic())
        return fetched

    async def _by_head(
        self, remote: RemoteRepository, reference: Reference, heads: Heads
    ) -> Digest | FetchedManifest:
        try:
            digest = await remote.resolve(reference)
        except UpstreamLimitedError:
            raise  # a GET would be one request more, and it counts
        except UpstreamError as error:
            if error.concerns_registry or isinstance(error, UpstreamTimeoutError):
                self._suspects[remote.source] = True
                raise
            failure = classify_failure(error)
        else:
            if digest is not None:
                heads.helped()
                return digest
            failure = UpstreamFailure.REFUSED
        fetched = await remote.manifest(reference)
        if failure is UpstreamFailure.OUTAGE:
            heads.failed(self._monotonic())
        else:
            heads.refused(self._monotonic())
        return fetched
