"""The image that every server serves: a tree of files laid out by request path.

nginx serves the tree as files and the upstream serves it as a registry, so all servers have the same bytes.
"""

from __future__ import annotations

import hashlib
import json
import random
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

REPOSITORY = "bench/image"
TAG = "latest"
MANIFEST_TYPE = "application/vnd.oci.image.manifest.v1+json"

# A typical image also has some small layers, which give the manifest a typical size.
_SMALL_LAYERS = 8
_SMALL_LAYER_SIZE = 32 << 10  # bytes


@dataclass(frozen=True, slots=True)
class Content:
    """One part of the image: its digest, and its size in bytes."""

    digest: str
    size: int

    @property
    def blob_path(self) -> str:
        return f"blobs/{self.digest}"

    @property
    def manifest_path(self) -> str:
        return f"manifests/{self.digest}"


@dataclass(frozen=True, slots=True)
class Image:
    """The image under `root`. Each measure of a cold cache has a separate large layer."""

    root: Path
    manifest: Content
    cold_layer: Content
    fanout_layer: Content

    @property
    def tag_path(self) -> str:
        return f"manifests/{TAG}"


def request_path(path: str, prefix: str = "") -> str:
    """Return the request path of `path` in the repository. `prefix` specifies one of a server's registries."""
    return f"/v2/{prefix}{REPOSITORY}/{path}"


def write_image(root: Path, layer_size: int) -> Image:
    """Write an image with two layers of `layer_size` bytes below `root`, with the same bytes in every run."""
    repository = root / "v2" / REPOSITORY
    (repository / "blobs").mkdir(parents=True)
    (repository / "manifests").mkdir()
    generator = random.Random(layer_size)
    large = [_write_blob(repository, generator.randbytes(layer_size)) for _ in range(2)]
    small = [_write_blob(repository, generator.randbytes(_SMALL_LAYER_SIZE)) for _ in range(_SMALL_LAYERS)]
    config = _write_blob(repository, b'{"architecture":"amd64","os":"linux"}')
    document = _manifest(config, [*large, *small])
    manifest = Content(_digest(document), len(document))
    (repository / manifest.manifest_path).write_bytes(document)
    (repository / "manifests" / TAG).write_bytes(document)
    return Image(root, manifest, cold_layer=large[0], fanout_layer=large[1])


def _write_blob(repository: Path, data: bytes) -> Content:
    blob = Content(_digest(data), len(data))
    (repository / blob.blob_path).write_bytes(data)
    return blob


def _manifest(config: Content, layers: list[Content]) -> bytes:
    def descriptor(content: Content, kind: str) -> dict[str, object]:
        media_type = f"application/vnd.oci.image.{kind}"
        return {"mediaType": media_type, "digest": content.digest, "size": content.size}

    document = {
        "schemaVersion": 2,
        "mediaType": MANIFEST_TYPE,
        "config": descriptor(config, "config.v1+json"),
        "layers": [descriptor(layer, "layer.v1.tar+gzip") for layer in layers],
    }
    return json.dumps(document, indent=2).encode()


def _digest(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"
