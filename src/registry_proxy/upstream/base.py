"""Interface between the cache and an upstream registry, and the errors of an upstream."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from contextlib import AbstractAsyncContextManager

    from registry_proxy.oci.reference import Digest, Reference, Repository, Source

Chunk = bytes | memoryview


class UpstreamError(Exception):
    """A failed upstream request. The message has the request, the host and the cause, and never a secret.

    `concerns_registry` is true if the registry fails as a whole: its host or its token service does not respond, or
    the limit of the whole account is reached. Otherwise the error says something about this request only.
    """

    def __init__(self, message: str, *, concerns_registry: bool = False) -> None:
        super().__init__(message)
        self.concerns_registry = concerns_registry


class UpstreamNotFoundError(UpstreamError):
    """404 or 410: the content is missing, or hidden from these credentials."""


class UpstreamDeniedError(UpstreamError):
    """Refused: 401 or 403 after authentication, or another 4xx.

    `login_required` is true for 401 only.
    """

    def __init__(self, message: str, *, login_required: bool) -> None:
        super().__init__(message)
        self.login_required = login_required


class UpstreamLimitedError(UpstreamError):
    """429, from the registry or its token service. `retry_after` is in seconds, or None if it was not sent."""

    def __init__(self, message: str, *, retry_after: int | None) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class UpstreamBrokenError(UpstreamError):
    """Unreachable, a 5xx or an invalid response, an incomplete body, or a redirect to a forbidden address."""


class CodingError(UpstreamBrokenError):
    """The body does not have the content coding that its headers state, or stands for too many bytes."""


class UpstreamTimeoutError(UpstreamError):
    """No connection, no response or no more bytes within the timeout."""


class UpstreamSlowError(UpstreamTimeoutError):
    """A transfer below the least rate. The bytes that it brought do not count as progress."""


@dataclass(frozen=True, slots=True)
class FetchedManifest:
    """A manifest's bytes (at most 4 MiB) as the upstream sent them, not yet verified.

    `content_type` is the header's value. `digest` is that of `Docker-Content-Digest`, if it was sent.
    """

    raw: bytes
    content_type: str
    digest: Digest | None = None


@dataclass(frozen=True, slots=True)
class TagQuery:
    """The query of a page of tags: `n`, `last`, and whatever else the registry uses to find the page."""

    fields: tuple[tuple[str, str], ...] = ()

    @property
    def limit(self) -> int | None:
        """The maximum number of tags, if it is a number."""
        n = dict(self.fields).get("n", "")
        return int(n) if n.isascii() and n.isdecimal() else None

    @property
    def last(self) -> str | None:
        """The tag, or the registry's own mark, after which the page begins."""
        return dict(self.fields).get("last")

    def after(self, tag: str) -> TagQuery:
        """Return the query of the tags after `tag`."""
        return TagQuery((*((name, value) for name, value in self.fields if name != "last"), ("last", tag)))


@dataclass(frozen=True, slots=True)
class TagPage:
    """One page of a tag list, and the query of the next one if there are more."""

    tags: tuple[str, ...]
    following: TagQuery | None = None


def cut_page(tags: tuple[str, ...], query: TagQuery, following: TagQuery | None) -> TagPage:
    """Return the requested page, even if the upstream ignored `n` and `last` (registry.k8s.io's redirect).

    `following` is the upstream's query of the page after `tags`.
    """
    limit, last = query.limit, query.last
    if limit == 0:
        return TagPage((), None)  # without a link (distribution-spec, "Listing Tags")
    if last in tags:
        tags = tags[tags.index(last) + 1 :]
    if limit is not None and len(tags) > limit:
        return TagPage(tags[:limit], query.after(tags[limit - 1]))
    return TagPage(tags, following)


class BlobStream(Protocol):
    """The transfer of a blob: the bytes from `offset` on, not verified."""

    @property
    def offset(self) -> int:
        """The first byte of the transfer: the requested offset, or 0 if the upstream ignored the range."""
        ...

    @property
    def size(self) -> int | None:
        """The size of the whole blob in bytes, if the upstream reports it."""
        ...

    @property
    def is_coded(self) -> bool:
        """True if the response states the coding gzip: then `size` is that of the coded or of the decoded bytes."""
        ...

    def decoded(self, limit: int) -> AsyncIterator[Chunk]:
        """Yield the bytes after the removal of the coding. Raise UpstreamError, also after more than `limit` bytes."""
        ...

    def chunks(self) -> AsyncIterator[Chunk]:
        """Yield the bytes as they arrive. A chunk is never changed afterwards.

        Raise UpstreamError if the body is incomplete or stalls.
        """
        ...


class RemoteRepository(Protocol):
    """A repository at its registry, by its name there. Every method may raise any UpstreamError."""

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

    async def sample(self, digest: Digest, start: int, stop: int) -> bytes:
        """Return the bytes of the blob from `start` to `stop`, as the registry sends them."""
        ...

    async def tags(self, query: TagQuery) -> TagPage:
        """Return one page of tags."""
        ...

    async def referrers(self, subject: Digest) -> bytes:
        """Return an image index of all manifests that refer to `subject`: unfiltered, all pages, possibly empty."""
        ...


class Upstream(Protocol):
    """A registry."""

    @property
    def registry(self) -> str:
        """The name of the registry in image references, such as `docker.io`."""
        ...

    def repository(self, name: Repository) -> RemoteRepository:
        """Return the repository that clients call `name`: for `alpine`, `library/alpine` on Docker Hub. No I/O."""
        ...
