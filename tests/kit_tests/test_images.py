"""Images are the same bytes at every run, and well-formed."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import tarfile

import pytest
from tests.kit import images


def test_same_seed_gives_same_digest() -> None:
    assert images.image(seed=3).digest == images.image(seed=3).digest
    assert images.image(seed=3).digest != images.image(seed=4).digest


@pytest.mark.parametrize("docker", [False, True])
def test_manifest_describes_its_blobs(docker: bool) -> None:
    made = images.image(layers=2, docker=docker)
    document = json.loads(made.raw)
    assert document["mediaType"] == made.media_type
    assert document["config"] == made.config.descriptor()
    assert document["layers"] == [layer.descriptor() for layer in made.layers]
    assert made.digest == f"sha256:{hashlib.sha256(made.raw).hexdigest()}"


def test_diff_ids_are_digests_of_the_unpacked_layers() -> None:
    made = images.image(layers=2)
    unpacked = [images.sha256(gzip.decompress(layer.raw)) for layer in made.layers]
    assert json.loads(made.config.raw)["rootfs"]["diff_ids"] == unpacked


def test_incompressible_layer_has_about_the_size_asked_for() -> None:
    made = images.image(layers=1, layer_size=1_000_000)
    assert 1_000_000 <= made.layers[0].size < 1_020_000


def test_runnable_image_holds_busybox() -> None:
    layer = images.runnable_image().layers[0]
    with tarfile.open(fileobj=io.BytesIO(layer.raw)) as archive:
        assert archive.getmember("bin/busybox").mode == 0o755
        assert archive.getmember("bin/echo").linkname == "busybox"


def test_index_with_odd_whitespace_is_still_json_but_not_canonical() -> None:
    made = images.multi_platform(odd_whitespace=True)
    document = json.loads(made.raw)
    assert [each["platform"]["architecture"] for each in document["manifests"]] == ["amd64", "arm64", "arm"]
    assert json.dumps(document, separators=(",", ":")).encode() != made.raw


def test_artifact_names_its_subject() -> None:
    subject = images.image().manifest
    made = images.attestation(subject)
    assert json.loads(made.raw)["subject"] == subject.descriptor()


def test_signature_tag_follows_cosign() -> None:
    subject = images.image().manifest
    tag, _ = images.signature(subject)
    assert tag == f"sha256-{subject.digest[7:]}.sig"


def test_oversized_manifest_exceeds_four_mebibytes() -> None:
    assert images.oversized().size > 4 << 20
