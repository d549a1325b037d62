"""What the cache asks of an index. Times are Unix seconds; sizes are bytes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from registry_proxy.oci.digest import Digest
    from registry_proxy.oci.manifest import Descriptor, Manifest
    from registry_proxy.oci.reference import Source
    from registry_proxy.policy.removal import Holdings, Removal


class IndexFailedError(Exception):
    """The index can't do it: the text names the file and SQLite's reason."""


@dataclass(frozen=True, slots=True)
class Link:
    """The upstream's word that a repository holds a digest, and when it was given."""

    digest: Digest
    size: int | None
    confirmed_at: float


@dataclass(frozen=True, slots=True)
class TagRecord:
    """Where a tag pointed when the upstream was last asked."""

    digest: Digest
    checked_at: float


@dataclass(frozen=True, slots=True)
class Content:
    """Content in the store. `media_type` is set for manifests."""

    digest: Digest
    size: int
    media_type: str | None
    used_at: float


@dataclass(frozen=True, slots=True)
class RegistryUsage:
    """What is kept of one registry: `size` counts content that its repositories share once."""

    registry: str
    repositories: int
    tags: int
    size: int


@dataclass(frozen=True, slots=True)
class Count:
    """What was counted of a registry's answers since `since`: their number, or bytes."""

    registry: str
    name: str
    value: int
    since: float


@dataclass(frozen=True, slots=True)
class Image:
    """A tag of a repository, or (`tag` is None) a manifest that no tag and no other manifest of it leads to.

    `size` is what is kept of it: the manifest and all below it that is in the store. `checked_at` is when the upstream
    last confirmed it; `used_at` is the manifest's, and None when that is not in the store.
    """

    source: Source
    tag: str | None
    digest: Digest
    size: int
    checked_at: float
    used_at: float | None


class IndexReads(Protocol):
    """They are synchronous and, but for the lists, take microseconds. Every method raises IndexFailedError."""

    def link(self, source: Source, digest: Digest) -> Link | None: ...
    def tag(self, source: Source, name: str) -> TagRecord | None:
        """`name` is a tag, or another key of a repository's documents that can't be a tag (it has a colon)."""
        ...

    def content(self, digest: Digest) -> Content | None: ...
    def tags(self, source: Source) -> list[str]:
        """The known tags of a repository in lexical order."""
        ...

    def repositories(self, registry: str | None, after: str, limit: int) -> list[Source]:
        """Repositories with at least one link, ordered by their full name, those after `after` (a full name)."""
        ...

    def used_bytes(self) -> int:
        """The sizes of all content, each counted once, and of all reservations."""
        ...

    def least_recently_used(self, limit: int) -> list[Content]:
        """The least recently used content, coldest first."""
        ...

    def reserved(self) -> Mapping[Digest, int]:
        """The reservations: running ingests and the bytes they may come to."""
        ...

    async def usage(self) -> list[RegistryUsage]:
        """The registries that have links, by name. It reads all links, in a thread."""
        ...

    async def images(self, registry: str | None) -> list[Image]:
        """The images of one registry or of all, by full name and tag. It reads all of them, in a thread."""
        ...

    def holders(self, digest: Digest) -> list[Source]:
        """The repositories with a link to it, by full name."""
        ...

    def holdings(self, source: Source) -> Holdings:
        """All of a repository: what a removal is decided by."""
        ...

    def counts(self) -> list[Count]:
        """What was counted so far, by registry and name."""
        ...

    @property
    def removals(self) -> int:
        """How often `remove` was called: who keeps content in memory forgets it when this changes."""
        ...


class Index(IndexReads, Protocol):
    """Reads, and writes that are batched by a writer.

    An awaited write shows in every process's reads and survives the end of this process; a power loss may undo the last
    ones, never a part of one. Every method raises IndexFailedError.
    """

    @property
    def is_new(self) -> bool:
        """Whether content may be in the store that no row names: scan it, `adopt` what is there, then `end_scan`.

        Of several processes on one index, one is told.
        """
        ...

    async def record_manifest(self, source: Source, manifest: Manifest, tag: str | None, now: float) -> None:
        """The manifest is content; the repository holds it and all its children; with `tag`, that points to it."""
        ...

    async def record_blob(self, source: Source, descriptor: Descriptor, now: float) -> None:
        """The blob is content and the repository holds it; its reservation ends."""
        ...

    async def record_link(self, source: Source, digest: Digest, size: int | None, now: float) -> None:
        """The repository holds it; `size` None keeps a size that is known."""
        ...

    async def refresh_tag(self, source: Source, tag: str, digest: Digest, now: float) -> None:
        """The upstream confirmed that the tag still points to `digest`: tag and link are confirmed at `now`."""
        ...

    async def drop_tag(self, source: Source, tag: str) -> None: ...
    async def drop_link(self, source: Source, digest: Digest) -> None: ...
    async def remove(self, source: Source, removal: Removal) -> list[Digest]:
        """Drop these names and links, and the rows of content that no repository holds any more.

        Returns the digests that none holds, for their files, if there are any, to be deleted.
        """
        ...

    async def reserve(self, digest: Digest, size: int, now: float) -> None: ...
    async def release(self, digest: Digest) -> None: ...
    async def forget(self, digests: Iterable[Digest]) -> None:
        """Content is gone or about to go: no row, no link of it is left (tags that point to it stay)."""
        ...

    async def adopt(self, contents: Iterable[tuple[Digest, int]], now: float) -> None:
        """Content was found in the store that no row names: count it from now on."""
        ...

    async def import_manifest(
        self, source: Source, manifest: Manifest, tags: Iterable[str], confirmed_at: float
    ) -> None:
        """Another cache had the manifest through this repository, confirmed then: link it and all its children.

        The tags count as never checked. What the upstream has told us is not changed.
        """
        ...

    async def import_links(self, source: Source, links: Iterable[Link]) -> None:
        """Another cache had these through this repository."""
        ...

    async def end_scan(self) -> None:
        """All of the store was adopted: `is_new` is false from the next start on."""
        ...

    async def touch(self, uses: Mapping[Digest, float]) -> None:
        """Note last uses, to the second or so; an earlier one than is known changes nothing."""
        ...

    async def count(self, counts: Mapping[tuple[str, str], int], now: float) -> None:
        """Add to what was counted, by registry and name."""
        ...

    async def close(self) -> None:
        """Write what is pending and end the writer."""
        ...
