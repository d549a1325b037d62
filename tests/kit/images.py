"""Images, indexes and artifacts made in memory, the same bytes at every run.

Formats: OCI image-spec v1.1 and Docker image manifest version 2, schema 2.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import random
import tarfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
OCI_INDEX = "application/vnd.oci.image.index.v1+json"
OCI_CONFIG = "application/vnd.oci.image.config.v1+json"
OCI_LAYER = "application/vnd.oci.image.layer.v1.tar+gzip"
OCI_EMPTY = "application/vnd.oci.empty.v1+json"
DOCKER_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
DOCKER_LIST = "application/vnd.docker.distribution.manifest.list.v2+json"
DOCKER_CONFIG = "application/vnd.docker.container.image.v1+json"
DOCKER_LAYER = "application/vnd.docker.image.rootfs.diff.tar.gzip"
HELM_CONFIG = "application/vnd.cncf.helm.config.v1+json"
HELM_CHART = "application/vnd.cncf.helm.chart.content.v1.tar+gzip"
COSIGN_SIGNATURE = "application/vnd.dev.cosign.simplesigning.v1+json"
IN_TOTO = "application/vnd.in-toto+json"

BUSYBOX = Path("/bin/busybox")
_RANDOM_PIECE = 1 << 24  # Random.randbytes is limited to 2**28 bytes at once


def sha256(raw: bytes | memoryview) -> str:
    """Return the digest of `raw` as `sha256:HEX`."""
    return f"sha256:{hashlib.sha256(raw).hexdigest()}"


@dataclass(frozen=True, slots=True)
class Content:
    """Bytes that a registry names by digest: a blob or a manifest."""

    media_type: str
    raw: bytes = field(repr=False)
    digest: str

    @classmethod
    def of(cls, media_type: str, raw: bytes) -> Content:
        """Wrap `raw`, with the digest that belongs to it."""
        return cls(media_type, raw, sha256(raw))

    @property
    def size(self) -> int:
        """Length in bytes."""
        return len(self.raw)

    def descriptor(self, **extra: Any) -> dict[str, Any]:
        """Return the OCI descriptor of this content, with further fields such as `platform`."""
        return {"mediaType": self.media_type, "digest": self.digest, "size": self.size, **extra}


@dataclass(frozen=True, slots=True)
class Image:
    """A manifest with its config and layers; an artifact has the same shape."""

    manifest: Content
    config: Content
    layers: tuple[Content, ...]
    platform: str = "linux/amd64"

    @property
    def digest(self) -> str:
        """Digest of the manifest."""
        return self.manifest.digest

    @property
    def media_type(self) -> str:
        """Media type of the manifest."""
        return self.manifest.media_type

    @property
    def raw(self) -> bytes:
        """The manifest's bytes."""
        return self.manifest.raw

    @property
    def size(self) -> int:
        """Length of the manifest in bytes."""
        return self.manifest.size

    @property
    def manifests(self) -> tuple[Content, ...]:
        """Every manifest that a push of this image stores."""
        return (self.manifest,)

    @property
    def blobs(self) -> tuple[Content, ...]:
        """Config and layers."""
        return (self.config, *self.layers)


@dataclass(frozen=True, slots=True)
class Index:
    """An image index (OCI) or manifest list (Docker) over images."""

    manifest: Content
    images: tuple[Image, ...]

    @property
    def digest(self) -> str:
        """Digest of the index."""
        return self.manifest.digest

    @property
    def media_type(self) -> str:
        """Media type of the index."""
        return self.manifest.media_type

    @property
    def raw(self) -> bytes:
        """The index's bytes."""
        return self.manifest.raw

    @property
    def size(self) -> int:
        """Length of the index in bytes."""
        return self.manifest.size

    @property
    def manifests(self) -> tuple[Content, ...]:
        """The index and the manifests it lists."""
        return (self.manifest, *(image.manifest for image in self.images))

    @property
    def blobs(self) -> tuple[Content, ...]:
        """Every config and layer of every image."""
        return tuple(blob for image in self.images for blob in image.blobs)


def incompressible(size: int, seed: int = 0) -> bytes:
    """Return `size` bytes that don't compress, cheaply and always the same for one seed."""
    source = random.Random(seed)
    pieces = (source.randbytes(min(_RANDOM_PIECE, size - at)) for at in range(0, size, _RANDOM_PIECE))
    return b"".join(pieces)


def tarball(files: Mapping[str, bytes], links: Mapping[str, str] | None = None) -> bytes:
    """Return an uncompressed tar of executable `files` and symbolic `links`, without times or owners."""
    target = io.BytesIO()
    with tarfile.open(fileobj=target, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for name, data in files.items():
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode = len(data), 0o755
            archive.addfile(entry, io.BytesIO(data))
        for name, linked in (links or {}).items():
            entry = tarfile.TarInfo(name)
            entry.type, entry.linkname = tarfile.SYMTYPE, linked
            archive.addfile(entry)
    return target.getvalue()


@dataclass(frozen=True, slots=True)
class Layer:
    """A compressed root file system layer and the digest of its tar (the config's diff ID)."""

    packed: bytes = field(repr=False)
    diff_id: str

    @classmethod
    def of(cls, tar: bytes, *, level: int = 6) -> Layer:
        """Compress `tar`; level 0 stores it, which is all that incompressible data needs."""
        return cls(gzip.compress(tar, compresslevel=level, mtime=0), sha256(tar))


def random_layer(size: int, seed: int = 0) -> Layer:
    """Return a layer of about `size` bytes on the wire, one incompressible file."""
    return Layer.of(tarball({f"data-{seed}": incompressible(size, seed)}), level=0)


def image(
    *,
    layers: int = 2,
    layer_size: int = 4096,
    seed: int = 0,
    docker: bool = False,
    platform: str = "linux/amd64",
    annotations: Mapping[str, str] | None = None,
) -> Image:
    """Return an image of incompressible layers; another seed gives other digests throughout."""
    made = [random_layer(layer_size, seed * 1000 + number) for number in range(layers)]
    return assemble(made, docker=docker, platform=platform, seed=seed, annotations=annotations)


def runnable_image(
    *, docker: bool = False, greeting: str = "hello", platform: str = "linux/amd64", busybox: Path = BUSYBOX
) -> Image:
    """Return an image that prints `greeting` when it runs. Needs Debian's busybox-static."""
    tar = tarball(
        {"bin/busybox": busybox.read_bytes()},
        {f"bin/{name}": "busybox" for name in ("sh", "echo", "cat", "sleep")},
    )
    return assemble([Layer.of(tar, level=1)], docker=docker, platform=platform, command=["echo", greeting])


def assemble(
    layers: Iterable[Layer],
    *,
    docker: bool = False,
    platform: str = "linux/amd64",
    command: list[str] | None = None,
    seed: int = 0,
    annotations: Mapping[str, str] | None = None,
) -> Image:
    """Put layers, a config and a manifest together."""
    layers = list(layers)
    system, architecture, *variant = platform.split("/")
    config = {
        "architecture": architecture,
        "os": system,
        **({"variant": variant[0]} if variant else {}),
        "config": {"Cmd": command or ["/bin/sh"], "Env": ["PATH=/bin"], "Labels": {"seed": str(seed)}},
        "rootfs": {"type": "layers", "diff_ids": [layer.diff_id for layer in layers]},
    }
    kinds = (DOCKER_CONFIG, DOCKER_LAYER) if docker else (OCI_CONFIG, OCI_LAYER)
    return compose(
        DOCKER_MANIFEST if docker else OCI_MANIFEST,
        Content.of(kinds[0], _json(config)),
        [Content.of(kinds[1], layer.packed) for layer in layers],
        platform=platform,
        annotations=annotations,
    )


def compose(
    media_type: str,
    config: Content,
    layers: Iterable[Content],
    *,
    platform: str = "linux/amd64",
    annotations: Mapping[str, str] | None = None,
    **fields: Any,
) -> Image:
    """Write the manifest of any image or artifact; `fields` go into it as they are."""
    layers = tuple(layers)
    manifest = {
        "schemaVersion": 2,
        "mediaType": media_type,
        "config": config.descriptor(),
        "layers": [layer.descriptor() for layer in layers],
        **fields,
    }
    if annotations:
        manifest["annotations"] = dict(annotations)
    return Image(Content.of(media_type, _json(manifest)), config, layers, platform)


def index(*images: Image, docker: bool = False, odd_whitespace: bool = False) -> Index:
    """Return an index over `images`; its raw bytes can carry whitespace that no encoder writes."""
    media_type = DOCKER_LIST if docker else OCI_INDEX
    document = {
        "schemaVersion": 2,
        "mediaType": media_type,
        "manifests": [each.manifest.descriptor(platform=_platform(each.platform)) for each in images],
    }
    raw = _json(document)
    if odd_whitespace:
        raw = b"\r\n" + json.dumps(document, indent=3, separators=(" ,\t", " :  ")).encode() + b"\n \n"
    return Index(Content.of(media_type, raw), images)


def multi_platform(*, docker: bool = False, seed: int = 0, odd_whitespace: bool = True) -> Index:
    """Return an index of linux/amd64, linux/arm64 and linux/arm/v7."""
    platforms = ("linux/amd64", "linux/arm64", "linux/arm/v7")
    images = (
        image(layers=1, seed=seed * 10 + number, docker=docker, platform=platform)
        for number, platform in enumerate(platforms, 1)
    )
    return index(*images, docker=docker, odd_whitespace=odd_whitespace)


def artifact(
    artifact_type: str, payload: bytes, *, payload_type: str = IN_TOTO, subject: Content | None = None
) -> Image:
    """Return an OCI 1.1 artifact; with a `subject` it is a referrer of that manifest."""
    fields: dict[str, Any] = {"artifactType": artifact_type}
    if subject is not None:
        fields["subject"] = subject.descriptor()
    layers = [Content.of(payload_type, payload)]
    return compose(OCI_MANIFEST, Content.of(OCI_EMPTY, b"{}"), layers, **fields)


def attestation(subject: Content, statement: bytes = b'{"_type":"https://in-toto.io/Statement/v1"}') -> Image:
    """Return an in-toto attestation that refers to `subject`."""
    return artifact(IN_TOTO, statement, subject=subject)


def signature(signed: Content) -> tuple[str, Image]:
    """Return a cosign signature and the tag it is stored under: `sha256-HEX.sig`."""
    payload = {"critical": {"image": {"docker-manifest-digest": signed.digest}, "type": "cosign"}}
    layer = Content.of(COSIGN_SIGNATURE, _json(payload))
    made = compose(OCI_MANIFEST, Content.of(OCI_CONFIG, _json({"layer": layer.digest})), [layer])
    return signed.digest.replace(":", "-") + ".sig", made


def helm_chart(name: str = "chart", version: str = "1.0.0") -> Image:
    """Return a Helm chart as `helm push` stores it."""
    description = {"apiVersion": "v2", "name": name, "version": version}
    tar = tarball({f"{name}/Chart.yaml": _json(description)})
    chart = Content.of(HELM_CHART, Layer.of(tar).packed)
    return compose(OCI_MANIFEST, Content.of(HELM_CONFIG, _json(description)), [chart])


def oversized(size: int = (4 << 20) + 1) -> Image:
    """Return an image whose manifest is at least `size` bytes long."""
    return image(layers=1, layer_size=64, annotations={"padding": "x" * size})


def _platform(text: str) -> dict[str, str]:
    return dict(zip(("os", "architecture", "variant"), text.split("/"), strict=False))


def _json(document: object) -> bytes:
    return json.dumps(document, separators=(",", ":")).encode()
