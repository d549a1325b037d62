"""Interface of the index. Every implementation passes the conformance suite in `tests/index`.

Times are Unix seconds, sizes are bytes.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from registry_proxy.oci.manifest import Descriptor, Manifest
    from registry_proxy.oci.reference import Digest, Source
    from registry_proxy.policy.removal import Holdings, Removal


class IndexCheck(Enum):
    """The check of an index before it is used, by a process that has it alone."""

    QUICK = "quick"  # that the file is an index: takes milliseconds; damage elsewhere shows when it is read
    FULL = "full"  # all of the file
    REPLACE = "replace"  # none: the index is replaced, even if no damage is found


class IndexFailedError(Exception):
    """An operation of the index failed. The text has the file and the database's reason."""


# The descriptors of one manifest that are recorded. A repository with more of them loses sizes, and no content.
MAX_CHILDREN = 1000


@dataclass(frozen=True, slots=True)
class Link:
    """A digest that belongs to a repository, as far as is known. `size` is None if it is unknown.

    `confirmed_at` is the time of the upstream's last confirmation, which is the delivery of the content through the
    repository or a response about it; 0 if a manifest names the digest and the upstream has confirmed nothing.
    """

    digest: Digest
    size: int | None
    confirmed_at: float

    @property
    def is_confirmed(self) -> bool:
        """True if the upstream has ever confirmed the link, and has not withdrawn it since."""
        return self.confirmed_at > 0


@dataclass(frozen=True, slots=True)
class TagRecord:
    """The digest of a tag at the last check with upstream, and the time of it."""

    digest: Digest
    checked_at: float


@dataclass(frozen=True, slots=True)
class Content:
    """Content in the store. `media_type` is set for manifests. `used_at` is the access time."""

    digest: Digest
    size: int
    media_type: str | None
    used_at: float


@dataclass(frozen=True, slots=True)
class Delivery:
    """The repository whose upstream delivers the bytes of an ingest, and the time of its reservation."""

    source: Source
    reserved_at: float


@dataclass(frozen=True, slots=True)
class RegistryUsage:
    """The content of one registry. `size` counts content that its repositories share once."""

    registry: str
    repositories: int
    tags: int
    size: int


@dataclass(frozen=True, slots=True)
class Count:
    """A counter of a registry since `since`: a number of responses, or of bytes."""

    registry: str
    name: str
    value: int
    since: float


@dataclass(frozen=True, slots=True)
class Outage:
    """A registry that fails since `since`. The next request to it is due at `retry_at`."""

    registry: str
    since: float
    retry_at: float
    cause: str


@dataclass(frozen=True, slots=True)
class Image:
    """A tag of a repository, or (`tag` is None) a manifest that no tag and no other manifest of it refers to.

    `size` is that of the manifest and of all stored content below it. `checked_at` is when upstream last confirmed the
    image. `used_at` is the manifest's access time, None if the manifest is not stored.
    """

    source: Source
    tag: str | None
    digest: Digest
    size: int
    checked_at: float
    used_at: float | None


class IndexReads(Protocol):
    """Reads. The synchronous ones take microseconds, except lists. Every method raises IndexFailedError."""

    def link(self, source: Source, digest: Digest) -> Link | None:
        """Return the repository's link to a digest, or None if there is none."""
        ...

    def is_confirmed(self, registry: str, digest: Digest) -> bool:
        """Return whether the registry has confirmed, for any of its repositories, that it has the digest."""
        ...

    def tag(self, source: Source, name: str) -> TagRecord | None:
        """Return the record of a tag, or None if there is none.

        `name` is a tag, or the key of another mutable document of the repository. Such a key has a colon, so it cannot
        be a tag.
        """
        ...

    def content(self, digest: Digest) -> Content | None:
        """Return the record of stored content, or None if there is none."""
        ...

    def tags(self, source: Source) -> list[str]:
        """Return the known tags of a repository in lexical order."""
        ...

    def tags_of(self, source: Source, digest: Digest) -> list[str]:
        """Return the known tags of a repository that point to a digest, the one that was checked last first."""
        ...

    def repositories(self, registry: str | None, after: str, limit: int) -> list[Source]:
        """Return at most `limit` repositories of a registry, or of all, that have at least one link.

        They are ordered by their full name, and begin after the full name `after`.
        """
        ...

    def used_bytes(self) -> int:
        """Return the total size of all content and all reservations in bytes. A digest counts once."""
        ...

    def file_bytes(self) -> int:
        """Return the bytes of the index's own file that are in use."""
        ...

    def least_recently_used(self, limit: int) -> list[Content]:
        """Return at most `limit` records of content, ordered by access time, the earliest first."""
        ...

    def reserved(self) -> Mapping[Digest, int]:
        """Return the reservations: the digests of ingests, and the bytes reserved for each."""
        ...

    def delivery(self, digest: Digest) -> Delivery | None:
        """Return the repository for which the digest is reserved, None without one."""
        ...

    async def usage(self) -> list[RegistryUsage]:
        """Return the registries that have links, by name. Reads all links, in a thread."""
        ...

    async def images(self, registry: str | None) -> list[Image]:
        """Return the images of one registry or of all, by full name and tag. Reads all of them, in a thread."""
        ...

    def holders(self, digest: Digest) -> list[Source]:
        """Return the repositories that have a link to the digest, by full name."""
        ...

    def holdings(self, source: Source) -> Holdings:
        """Return all names, links and manifest children of a repository, to select a removal."""
        ...

    def counts(self) -> list[Count]:
        """Return all counters, by registry and name."""
        ...

    def outages(self) -> list[Outage]:
        """Return the registries that fail, by name."""
        ...

    @property
    def removals(self) -> int:
        """The number of calls of `remove`. A process that keeps content in memory drops it when this changes."""
        ...


class Index(IndexReads, Protocol):
    """Reads, and writes that a writer batches.

    An awaited write is visible to the reads of every process, and survives the end of this process. A power loss may
    undo the last writes, but never a part of one. Every method raises IndexFailedError.
    """

    @property
    def is_new(self) -> bool:
        """True if the store may have content without a row: then scan it, `adopt` its content, and call `end_scan`.

        True for only one of several processes that open the index.
        """
        ...

    async def record_manifest(self, source: Source, manifest: Manifest, tag: str | None, now: float) -> None:
        """Record a stored manifest that the upstream confirmed, and link it to the repository.

        A `tag` then points to it.

        Its children get links without a confirmation: any manifest can name any digest.

        Ends the manifest's reservation.
        """
        ...

    async def record_blob(self, source: Source, descriptor: Descriptor, now: float) -> None:
        """Record a stored blob, and link it to the repository. Ends the blob's reservation."""
        ...

    async def record_link(self, source: Source, digest: Digest, size: int | None, now: float) -> None:
        """Link a digest to the repository, confirmed at `now`. `size` None keeps a known size."""
        ...

    async def refresh_tag(self, source: Source, tag: str, digest: Digest, now: float) -> None:
        """Record that upstream confirmed that the tag points to `digest`: tag and link are confirmed at `now`."""
        ...

    async def withdraw(self, source: Source, before: float, after: float) -> None:
        """Remove a repository's confirmations until `before` and after `after`, since the upstream refuses access.

        Those after `after` are in the future, because the clock was set back.
        """
        ...

    async def drop_tag(self, source: Source, tag: str) -> None:
        """Remove a tag or another key. Do nothing if it is unknown."""
        ...

    async def drop_link(self, source: Source, digest: Digest) -> None:
        """Remove a repository's link to a digest. Do nothing if there is none."""
        ...

    async def remove(self, source: Source, removal: Removal) -> list[Digest]:
        """Remove names and links, and the rows of content that no repository has any more.

        Return the digests that no repository has any more, so that their files can be deleted.
        """
        ...

    async def reserve(self, digest: Digest, size: int, now: float, source: Source | None = None) -> None:
        """Reserve `size` bytes for an ingest, instead of an earlier reservation of the digest.

        `source` is the repository whose upstream delivers the bytes of a fill.
        """
        ...

    async def release(self, digest: Digest) -> None:
        """End a digest's reservation. Do nothing if there is none."""
        ...

    async def forget(self, digests: Iterable[Digest]) -> None:
        """Remove the rows and all links of deleted content, or of content about to be deleted. Its tags stay."""
        ...

    async def adopt(self, contents: Iterable[tuple[Digest, int]], now: float) -> None:
        """Record files found in the store, with their sizes. Known content gets the size, and keeps its access time."""
        ...

    async def import_manifest(
        self, source: Source, manifest: Manifest, tags: Iterable[str], confirmed_at: float
    ) -> None:
        """Link a manifest as another cache had it in this repository, and its children without a confirmation.

        The tags count as never checked. Later confirmations, and tags that were checked with upstream, are kept.
        """
        ...

    async def import_links(self, source: Source, links: Iterable[Link]) -> None:
        """Add links that another cache had in this repository. Later confirmations are kept."""
        ...

    async def end_scan(self) -> None:
        """Record that all content of the store was adopted: `is_new` is false from the next start on."""
        ...

    async def collect(self, before: float, after: int) -> int | None:
        """Remove links and tags of content that is gone, last confirmed before `before`, and empty repositories.

        A link stays while a stored manifest mentions its digest, because it has the size. One call handles the next
        repositories after the number `after`, so that it delays no other write for long. Return the number to continue
        with, None at the end.
        """
        ...

    async def limit_access_times(self, now: float) -> None:
        """Set access times after `now` to `now`, since the clock was set back. They would delay eviction for ever."""
        ...

    async def touch(self, access_times: Mapping[Digest, float]) -> None:
        """Record access times of content. Ignore times before the recorded one, and unknown digests."""
        ...

    async def count(self, counts: Mapping[tuple[str, str], int], now: float) -> None:
        """Add to the counters, by registry and name. `now` is when a new counter starts."""
        ...

    def failure(self) -> str | None:
        """Return why the index cannot be used any more, None if it can: damage, or a lost file.

        Then close it and open it again, once no other process has it open: it is replaced.
        """
        ...

    async def begin_outage(self, registry: str, since: float, retry_at: float, cause: str) -> bool:
        """Record that a registry fails. Return whether that was unknown. A known outage keeps its beginning."""
        ...

    async def end_outage(self, registry: str) -> float | None:
        """Record that a registry responds. Return the beginning of the outage, or None if there was none."""
        ...

    async def close(self) -> None:
        """Write what is queued, and close the index. Do nothing if it is closed already.

        Afterwards, writes and synchronous reads raise IndexFailedError.
        """
        ...
