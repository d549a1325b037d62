"""An index as after many pulls: images for several platforms that share layers, without their files."""

from __future__ import annotations

import asyncio
import json
import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING

from registry_proxy.index import writes
from registry_proxy.oci import media_types
from registry_proxy.oci.manifest import Descriptor, Manifest, parse_manifest
from registry_proxy.oci.reference import Digest, Repository, Source
from registry_proxy.service.site import open_site

if TYPE_CHECKING:
    from pathlib import Path

TAGS = 10  # per repository
SHARED, OWN = 5, 5  # layers of a platform's image: those of its repository, and its own
PULLED, OTHER = 2, 6  # platforms of an image: pulled ones, and ones that its index only mentions


def fill(root: Path, images: int) -> None:
    """Fill the index of a new store in `root`: `docker.io/acme/app0:v0` and so on, in one transaction."""
    asyncio.run(_create(root))
    with closing(sqlite3.connect(root / "index.db")) as db, db:
        for number in range(images):
            _pull(db, number)


async def _create(root: Path) -> None:
    async with open_site(root, create=True):
        pass


def _pull(db: sqlite3.Connection, number: int) -> None:
    repository = number // TAGS
    source, now = Source("docker.io", Repository(f"acme/app{repository}")), 1.0 + number
    pulled = []
    for platform in range(PULLED):
        names = [f"{repository} {platform} {layer}" for layer in range(SHARED)]
        names += [f"{repository} {platform} {number} {layer}" for layer in range(OWN)]
        blobs = [Descriptor(Digest.of(name.encode()), 10_000_000) for name in ["config", *names]]
        pulled.append(_manifest(media_types.OCI_MANIFEST, config=blobs[0], layers=blobs[1:]))
        for blob in blobs if number % TAGS == 0 else blobs[-OWN:]:
            writes.record_blob(db, source, blob, now)
        writes.record_manifest(db, source, pulled[-1], None, now)
    children = [Descriptor(each.digest, len(each.raw), each.media_type) for each in pulled]
    children += [Descriptor(Digest.of(f"other {number} {each}".encode()), 2000) for each in range(OTHER)]
    image = _manifest(media_types.OCI_INDEX, manifests=children)
    writes.record_manifest(db, source, image, f"v{number % TAGS}", now)


def _manifest(media_type: str, **fields: Descriptor | list[Descriptor]) -> Manifest:
    document: dict[str, object] = {"schemaVersion": 2, "mediaType": media_type}
    for name, value in fields.items():
        document[name] = [_json(each) for each in value] if isinstance(value, list) else _json(value)
    return parse_manifest(json.dumps(document).encode(), media_type)


def _json(descriptor: Descriptor) -> dict[str, object]:
    return {
        "mediaType": descriptor.media_type,
        "digest": str(descriptor.digest),
        "size": descriptor.size,
    }
