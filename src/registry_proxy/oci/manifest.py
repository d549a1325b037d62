"""Parsing of manifests and indexes. Their bytes are kept unchanged."""

from __future__ import annotations

import re
from dataclasses import dataclass

import msgspec

from registry_proxy.oci import media_types
from registry_proxy.oci.documents import InvalidDocumentError, decode_document
from registry_proxy.oci.reference import Digest, InvalidDigestError

# The limit of registries (distribution: 4 MiB). Larger manifests are an attack on memory.
MAX_MANIFEST_SIZE = 4 * 1024 * 1024

# Sizes are int64 (image-spec, descriptor.md).
_MAX_SIZE = 2**63 - 1
# RFC 6838, section 4.2. Other text could add headers to a response.
_NAME = r"[a-z0-9][a-z0-9!#$&^_.+-]{0,126}"
_MEDIA_TYPE = re.compile(rf"{_NAME}/{_NAME}", re.ASCII | re.IGNORECASE)

# Kinds of documents, of which an index and an image must not be one.
_NO_INDEX = (media_types.IMAGES, media_types.ARTIFACTS)
_NO_IMAGE = (media_types.INDEXES, media_types.ARTIFACTS)


class InvalidManifestError(ValueError):
    """The document is not a manifest that can be served."""


@dataclass(frozen=True, slots=True)
class Descriptor:
    """A reference to content: its digest, its size in bytes and its media type (image-spec, descriptor.md)."""

    digest: Digest
    size: int
    media_type: str = "application/octet-stream"

    def __post_init__(self) -> None:
        if not 0 <= self.size <= _MAX_SIZE:
            raise InvalidManifestError(f"the descriptor of {self.digest} has the invalid size {self.size}")


@dataclass(frozen=True, slots=True)
class Manifest:
    """One manifest or index: its exact bytes, and the fields that the cache uses."""

    raw: bytes
    digest: Digest
    media_type: str
    children: tuple[Descriptor, ...]
    subject: Digest | None = None


class _Descriptor(msgspec.Struct, rename="camel"):
    digest: str
    size: int = 0
    media_type: str = "application/octet-stream"


class _Document(msgspec.Struct, rename="camel"):
    schema_version: int | None = None
    media_type: str | None = None
    config: _Descriptor | None = None
    layers: list[_Descriptor] | None = None
    manifests: list[_Descriptor] | None = None
    blobs: list[_Descriptor] | None = None
    subject: _Descriptor | None = None


def parse_manifest(raw: bytes, content_type: str, expected: Digest | None = None) -> Manifest:
    """Parse a manifest that a registry sent as `content_type` (a `Content-Type` value).

    The media type follows from the bytes alone: registries share content, and one of them must not change the responses
    of another one. With `expected`, the bytes must have that digest. Raise InvalidManifestError, also for a document
    that is both manifest and index, or was sent as another kind of document: clients would interpret it differently
    (CVE-2021-41190).
    """
    if len(raw) > MAX_MANIFEST_SIZE:
        raise InvalidManifestError(f"{len(raw)} bytes are more than the {MAX_MANIFEST_SIZE} allowed")
    digest = Digest.of(raw, expected.algorithm if expected else "sha256")
    if expected and digest != expected:
        raise InvalidManifestError(f"the bytes have the digest {digest}, not {expected}")
    try:
        document = decode_document(raw, _Document)
    except InvalidDocumentError as error:
        raise InvalidManifestError(f"the document is not a manifest: {error}") from None
    media_type = _media_type(document, content_type)
    try:
        children = tuple(_descriptor(child) for child in _children(document, media_type))
        subject = Digest.parse(document.subject.digest) if document.subject else None
    except InvalidDigestError as error:
        raise InvalidManifestError(str(error)) from None
    return Manifest(raw, digest, media_type, children, subject)


def _media_type(document: _Document, content_type: str) -> str:
    sent = content_type.partition(";")[0].strip().lower()
    if sent in media_types.DOCKER_SCHEMA1 or document.schema_version == 1:
        raise InvalidManifestError("Docker's schema 1 is not supported; push the image again")
    is_index = document.manifests is not None
    is_image = document.layers is not None or document.config is not None
    if is_index and is_image:
        raise InvalidManifestError("the document is both a manifest and an index")
    media_type = document.media_type or _inferred(document)
    if not _MEDIA_TYPE.fullmatch(media_type):
        raise InvalidManifestError(f"the media type {media_type[:80]!r} is invalid")
    kind, sent_kind = _kind(media_type), _kind(sent)
    if document.schema_version is None and kind is not media_types.ARTIFACTS:
        raise InvalidManifestError("the document is not a manifest: it has no schemaVersion")
    if sent_kind is not None and sent_kind is not kind:
        raise InvalidManifestError(f"the Content-Type {sent} contradicts the media type {media_type}")
    if (is_index and kind in _NO_INDEX) or (is_image and kind in _NO_IMAGE):
        raise InvalidManifestError(f"the fields do not match the media type {media_type}")
    return media_type


def _inferred(document: _Document) -> str:
    """Return the media type of a document that does not state it, as clients guess it from the types inside."""
    if document.manifests is not None:
        types = {child.media_type for child in document.manifests}
        is_docker = bool(types) and types <= {media_types.DOCKER_MANIFEST, media_types.DOCKER_LIST}
        return media_types.DOCKER_LIST if is_docker else media_types.OCI_INDEX
    is_docker = document.config is not None and document.config.media_type == media_types.DOCKER_CONFIG
    return media_types.DOCKER_MANIFEST if is_docker else media_types.OCI_MANIFEST


def _kind(media_type: str) -> frozenset[str] | None:
    kinds = (media_types.IMAGES, media_types.INDEXES, media_types.ARTIFACTS)
    return next((kind for kind in kinds if media_type in kind), None)


def _children(document: _Document, media_type: str) -> list[_Descriptor]:
    if media_type in media_types.ARTIFACTS:
        return document.blobs or []
    config = [document.config] if document.config else []
    return config + (document.layers or []) + (document.manifests or [])


def _descriptor(child: _Descriptor) -> Descriptor:
    return Descriptor(Digest.parse(child.digest), child.size, child.media_type)
