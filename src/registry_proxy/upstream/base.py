"""What the cache asks of an upstream registry, and what can go wrong there."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from contextlib import AbstractAsyncContextManager

    from registry_proxy.oci.digest import Digest
    from registry_proxy.oci.reference import Reference, Repository, Source

Chunk = bytes | memoryview


class UpstreamError(Exception):
    """The upstream did not do it. The text says what was asked of which host, and why it failed; never a secret."""


class UpstreamNotFoundError(UpstreamError):
    """404 or 410: the upstream doesn't have it, or not for us."""


class UpstreamDeniedError(UpstreamError):
    """It won't: 401 or 403 after authenticating as well as we can, or another 4xx.

    `login_required` tells 401 from the others.
    """

    def __init__(self, message: str, *, login_required: bool) -> None:
        super().__init__(message)
        self.login_required = login_required


class UpstreamLimitedError(UpstreamError):
    """429, from the registry or its token service; `retry_after` in seconds where it said so."""

    def __init__(self, message: str, *, retry_after: int | None) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class UpstreamBrokenError(UpstreamError):
    """It can't be reached, answers 5xx or nonsense, breaks off, or sends us where we don't go."""


class UpstreamTimeoutError(UpstreamError):
    """It didn't connect, answer or send in time."""


@dataclass(frozen=True, slots=True)
class FetchedManifest:
    """A manifest's bytes (at most 4 MiB) as the upstream sent them, not yet verified.

    `content_type` is the header's value; `digest` is what `Docker-Content-Digest` claims, where it is sent.
    """

    raw: bytes
    content_type: str
    digest: Digest | None = None


@dataclass(frozen=True, slots=True)
class TagPage:
    """One page of a tag list, and whether the upstream has more after it."""

    tags: tuple[str, ...]
    more: bool


class BlobStream(Protocol):
    """A blob's transfer: the bytes from `offset` on. Not verified."""

    @property
    def offset(self) -> int:
        """Where it begins: what was asked for, or 0 when the upstream ignored the range."""
        ...

    @property
    def size(self) -> int | None:
        """The whole blob's size in bytes, where the upstream tells."""
        ...

    def chunks(self) -> AsyncIterator[Chunk]:
        """The bytes as they come in; nobody changes a chunk. Raises UpstreamError when they break off or stall."""
        ...


class RemoteRepository(Protocol):
    """One repository at its registry, under its own name there. Every method may raise any UpstreamError."""

    @property
    def source(self) -> Source:
        """The registry and the repository."""
        ...

    async def resolve(self, reference: Reference) -> Digest | None:
        """Return the digest that a HEAD reports; None if a GET is needed to know it.

        None says nothing about the existence of the reference.
        """
        ...

    async def manifest(self, reference: Reference) -> FetchedManifest: ...
    def blob(self, digest: Digest, offset: int = 0) -> AbstractAsyncContextManager[BlobStream]: ...
    async def probe_blob(self, digest: Digest) -> int | None:
        """Confirm by one small request that the repository holds the blob. Return its size if it is reported."""
        ...

    async def tags(self, limit: int | None, last: str | None) -> TagPage: ...
    async def referrers(self, subject: Digest) -> bytes:
        """Return an image index of all manifests that refer to `subject`: unfiltered, all pages, possibly empty."""
        ...


class Upstream(Protocol):
    """A registry."""

    @property
    def registry(self) -> str:
        """Its name in image references, such as `docker.io`."""
        ...

    def repository(self, name: Repository) -> RemoteRepository:
        """Return the repository that clients call `name`: for `alpine`, `library/alpine` on Docker Hub. No I/O."""
        ...
