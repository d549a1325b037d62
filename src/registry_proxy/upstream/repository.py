"""One repository at its registry, over HTTP (OCI distribution-spec, "Pull" and "Content Discovery")."""

from __future__ import annotations

import re
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from registry_proxy.aio.pools import parse
from registry_proxy.oci import media_types
from registry_proxy.oci.manifest import MAX_MANIFEST_SIZE
from registry_proxy.oci.ranges import parse_content_range
from registry_proxy.oci.reference import Digest, InvalidDigestError, referrers_tag
from registry_proxy.upstream.base import (
    FetchedManifest,
    TagPage,
    TagQuery,
    UpstreamBrokenError,
    UpstreamDeniedError,
    UpstreamError,
    UpstreamNotFoundError,
)
from registry_proxy.upstream.coding import gunzip
from registry_proxy.upstream.discovery import Lists, NoReferrersError
from registry_proxy.upstream.listings import InvalidListingError, parse_referrers, referrers_index

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping
    from contextlib import AbstractAsyncContextManager

    from yarl import URL

    from registry_proxy.oci.reference import Reference, Repository, Source
    from registry_proxy.upstream.base import Chunk
    from registry_proxy.upstream.response import UpstreamResponse

_ACCEPT_MANIFEST = {"Accept": media_types.ACCEPT}
# In bytes. A sample at the end of a blob requires all of it, if the registry ignores `Range`.
_MAX_SAMPLED = 2**63
# The `Content-Range` of a 416 (RFC 9110, section 14.4).
_UNSATISFIED = re.compile(r"bytes \*/(\d{1,19})", re.ASCII | re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class ResponseStream:
    """The bytes of a blob after `offset` (see `base.BlobStream`)."""

    response: UpstreamResponse
    offset: int
    size: int | None

    @property
    def is_coded(self) -> bool:
        # A part of coded bytes could not be decoded, so it is read as a part of the blob.
        return self.response.is_coded and self.response.status == 200

    def chunks(self) -> AsyncIterator[Chunk]:
        return self.response.chunks()

    def decoded(self, limit: int) -> AsyncIterator[Chunk]:
        return gunzip(self.response.chunks(), limit)


class RegistryClient(Protocol):
    """Authenticated requests to the registry at `home`. `clock` returns Unix seconds."""

    home: URL
    clock: Callable[[], float]

    def open(
        self, method: str, url: URL, repository: Repository, headers: Mapping[str, str]
    ) -> AbstractAsyncContextManager[UpstreamResponse]:
        """Send a request and follow redirects. Raise UpstreamError."""
        ...


@dataclass(frozen=True, slots=True)
class RegistryRepository:
    """A repository of a registry (see `base.RemoteRepository`)."""

    source: Source
    _client: RegistryClient

    async def resolve(self, reference: Reference) -> Digest | None:
        async with self._open("HEAD", f"manifests/{reference}", _ACCEPT_MANIFEST) as response:
            if response.status in (405, 501):
                return None
            if response.status != 200:
                raise await self._refusal(response)
            digest = digest_header(response)
            return None if isinstance(reference, Digest) and digest != reference else digest

    async def manifest(self, reference: Reference) -> FetchedManifest:
        async with self._open("GET", f"manifests/{reference}", _ACCEPT_MANIFEST) as response:
            if response.status != 200:
                raise await self._refusal(response)
            raw = await response.read(MAX_MANIFEST_SIZE)
            return FetchedManifest(raw, response.headers.get("Content-Type", ""), digest_header(response))

    @asynccontextmanager
    async def blob(self, digest: Digest, offset: int = 0) -> AsyncIterator[ResponseStream]:
        path = f"blobs/{digest}"
        headers = {"Range": f"bytes={offset}-"} if offset else {}
        async with self._open("GET", path, headers) as response:
            if response.status != 416:
                if response.status not in (200, 206):
                    raise await self._refusal(response)
                yield response_stream(response, offset)
                return
            if offset and unsatisfied_size(response) == offset:
                yield ResponseStream(response, offset, offset)
                return
        # More bytes are stored than the upstream's blob has: only the whole blob shows which of the two is wrong.
        async with self._open("GET", path, {}) as response:
            if response.status != 200:
                raise await self._refusal(response)
            yield response_stream(response, 0)

    async def probe_blob(self, digest: Digest) -> int | None:
        path = f"blobs/{digest}"
        async with self._open("GET", path, {"Range": "bytes=0-0"}) as response:
            # 416: an empty blob has no first byte.
            if response.status not in (200, 206, 416):
                raise await self._refusal(response)
            return probed_size(response)

    async def sample(self, digest: Digest, start: int, stop: int) -> bytes:
        headers = {"Range": f"bytes={start}-{stop - 1}"}
        async with self._open("GET", f"blobs/{digest}", headers) as response:
            if response.status not in (200, 206):
                raise await self._refusal(response)
            sample, position = bytearray(), 0  # a registry that ignores `Range` sends the whole blob
            if response.status == 206:
                part = parse_content_range(response.headers.get("Content-Range"))
                position = part.start if part else stop
            async for chunk in _sampled_chunks(response, stop):
                sample += chunk[max(0, start - position) : max(0, stop - position)]
                position += len(chunk)
                if position >= stop:
                    break
            return bytes(sample)

    async def tags(self, query: TagQuery) -> TagPage:
        return await self._lists.tags(query)

    async def referrers(self, subject: Digest) -> bytes:
        try:
            descriptors = await self._lists.referrers(subject)
        except NoReferrersError:
            descriptors = await self._tagged_referrers(subject)
        return referrers_index(descriptors)

    @property
    def _lists(self) -> Lists:
        return Lists(self._client, self.source.repository)

    async def _tagged_referrers(self, subject: Digest) -> list[bytes]:
        """Return the descriptors of the tag that replaces the API (distribution-spec, "Referrers Tag Schema")."""
        tag = referrers_tag(subject)
        try:
            fetched = await self.manifest(tag)
        except UpstreamNotFoundError:
            return []
        try:
            return await parse(parse_referrers, fetched.raw)
        except InvalidListingError as error:
            raise UpstreamBrokenError(f"referrers of {self.source}@{subject} by tag {tag}: {error}") from None

    def _open(
        self, method: str, path: str, headers: Mapping[str, str]
    ) -> AbstractAsyncContextManager[UpstreamResponse]:
        repository = self.source.repository
        url = self._client.home.with_path(f"/v2/{repository}/{path}")
        return self._client.open(method, url, repository, headers)

    async def _refusal(self, response: UpstreamResponse) -> UpstreamError:
        error = await response.refusal(self._client.clock())
        host, home = response.url.host, self._client.home
        if response.status != 401 or response.url.origin() == home:
            return error
        return UpstreamDeniedError(
            f"{error}. {home.host} redirected to {host}, which did not get the login of {home.host}: if it requires "
            f'it, add "{host}" to `realms` of the upstream',
            login_required=True,
        )


def _sampled_chunks(response: UpstreamResponse, stop: int) -> AsyncIterator[Chunk]:
    """Return the body, decoded if it was coded on the way: then it has no length, or is too short for the sample."""
    is_decoded = response.is_coded and response.status == 200 and (response.length or 0) < stop
    return gunzip(response.chunks(), _MAX_SAMPLED) if is_decoded else response.chunks()


def response_stream(response: UpstreamResponse, requested: int) -> ResponseStream:
    """Return the stream of a 200 or 206 to a request for the bytes from `requested` on. Raise UpstreamBrokenError."""
    if response.status == 200:
        return ResponseStream(response, 0, response.length)
    part = parse_content_range(response.headers.get("Content-Range"))
    if part is None or part.start != requested or (part.size is not None and part.stop != part.size):
        raise UpstreamBrokenError(
            f"{response.request}: not the requested range, which begins at byte {requested}"
        )
    return ResponseStream(response, requested, part.size)


def unsatisfied_size(response: UpstreamResponse) -> int | None:
    """Return the blob's size in bytes as a 416 reports it."""
    match = _UNSATISFIED.fullmatch(response.headers.get("Content-Range", "").strip())
    return int(match[1]) if match else None


def probed_size(response: UpstreamResponse) -> int | None:
    """Return the blob's size in bytes as a successful response to `Range: bytes=0-0` reports it."""
    if response.status == 200:
        return None if response.is_coded else response.length
    if response.status == 416:
        return unsatisfied_size(response)
    part = parse_content_range(response.headers.get("Content-Range"))
    return part.size if part else None


def digest_header(response: UpstreamResponse) -> Digest | None:
    """Return the digest in the header; Amazon's public registry, for example, sends none in response to a HEAD."""
    try:
        return Digest.parse(response.headers.get("Docker-Content-Digest", ""))
    except InvalidDigestError:
        return None
