from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from registry_proxy.oci.manifest import (
    MAX_MANIFEST_SIZE,
    Descriptor,
    InvalidManifestError,
    Manifest,
    parse_manifest,
)
from registry_proxy.oci.media_types import (
    ACCEPT,
    ARTIFACTS,
    DOCKER_CONFIG,
    DOCKER_LIST,
    DOCKER_MANIFEST,
    DOCKER_SCHEMA1,
    IMAGES,
    INDEXES,
    MANIFESTS,
    OCI_ARTIFACT,
    OCI_INDEX,
    OCI_MANIFEST,
)
from registry_proxy.oci.reference import Digest

CONFIG, LAYER, CHILD, SUBJECT = (Digest.of(name) for name in (b"config", b"layer", b"child", b"subject"))
LAYER_TYPE = "application/vnd.oci.image.layer.v1.tar+gzip"
IMAGE_FIELDS = {"config": {"digest": str(CONFIG), "size": 2}, "layers": []}


def document(**fields: object) -> bytes:
    return json.dumps({"schemaVersion": 2} | fields).encode()


def descriptor(digest: object, size: object = 7, **fields: object) -> dict[str, object]:
    return {"mediaType": LAYER_TYPE, "digest": str(digest), "size": size} | fields


class TestChildren:
    def test_of_an_image_are_its_config_and_layers(self) -> None:
        raw = document(
            mediaType=OCI_MANIFEST,
            config=descriptor(CONFIG, 3, mediaType="application/vnd.oci.image.config.v1+json"),
            layers=[descriptor(LAYER, 9)],
            annotations={"a": "b"},
        )
        assert parse_manifest(raw, OCI_MANIFEST) == Manifest(
            raw,
            Digest.of(raw),
            OCI_MANIFEST,
            (
                Descriptor(CONFIG, 3, "application/vnd.oci.image.config.v1+json"),
                Descriptor(LAYER, 9, LAYER_TYPE),
            ),
        )

    def test_of_an_index_are_its_manifests(self) -> None:
        raw = document(manifests=[descriptor(CHILD, 5, mediaType=OCI_MANIFEST, platform={"os": "linux"})])
        assert parse_manifest(raw, OCI_INDEX).children == (Descriptor(CHILD, 5, OCI_MANIFEST),)

    def test_of_an_artifact_are_its_blobs(self) -> None:
        raw = document(mediaType=OCI_ARTIFACT, blobs=[descriptor(LAYER)], subject=descriptor(SUBJECT))
        artifact = parse_manifest(raw, OCI_ARTIFACT)
        assert artifact.media_type == OCI_ARTIFACT
        assert artifact.children == (Descriptor(LAYER, 7, LAYER_TYPE),)
        assert artifact.subject == SUBJECT

    def test_don_t_include_the_subject(self) -> None:
        raw = document(**IMAGE_FIELDS, subject=descriptor(SUBJECT))
        parsed = parse_manifest(raw, OCI_MANIFEST)
        assert parsed.subject == SUBJECT
        assert [child.digest for child in parsed.children] == [CONFIG]

    def test_have_a_type_and_a_size_even_where_none_is_told(self) -> None:
        raw = document(layers=[{"digest": str(LAYER)}])
        assert parse_manifest(raw, "").children == (Descriptor(LAYER, 0, "application/octet-stream"),)

    @pytest.mark.parametrize(
        "fields", [{"manifests": []}, {"layers": []}, {"manifests": None, "layers": None}, {}]
    )
    def test_can_be_none(self, fields: dict[str, Any]) -> None:
        assert parse_manifest(document(**fields), "").children == ()


def fields_of(media_type: str) -> dict[str, Any]:
    if media_type in ARTIFACTS:
        return {"blobs": [descriptor(LAYER)]}
    return {"manifests": []} if media_type in INDEXES else IMAGE_FIELDS


class TestMediaType:
    @pytest.mark.parametrize("media_type", sorted(MANIFESTS))
    @pytest.mark.parametrize("is_sent", [True, False])
    def test_is_what_is_stated(self, media_type: str, is_sent: bool) -> None:
        raw = document(**fields_of(media_type), mediaType=media_type)
        assert parse_manifest(raw, media_type if is_sent else "text/plain").media_type == media_type

    @pytest.mark.parametrize(
        ("fields", "expected"),
        [
            ({}, OCI_MANIFEST),
            (IMAGE_FIELDS, OCI_MANIFEST),
            ({"config": descriptor(CONFIG, mediaType=DOCKER_CONFIG)}, DOCKER_MANIFEST),
            ({"config": descriptor(CONFIG, mediaType="application/vnd.example")}, OCI_MANIFEST),
            ({"manifests": []}, OCI_INDEX),
            ({"manifests": [descriptor(CHILD, mediaType=OCI_MANIFEST)]}, OCI_INDEX),
            ({"manifests": [descriptor(CHILD, mediaType=DOCKER_MANIFEST)]}, DOCKER_LIST),
            (
                {
                    "manifests": [
                        descriptor(CHILD, mediaType=DOCKER_MANIFEST),
                        descriptor(CHILD, mediaType=OCI_MANIFEST),
                    ]
                },
                OCI_INDEX,
            ),
        ],
    )
    @pytest.mark.parametrize("empty", [{}, {"mediaType": None}, {"mediaType": ""}])
    def test_follows_from_the_types_inside_where_none_is_stated(
        self, fields: dict[str, Any], expected: str, empty: dict[str, Any]
    ) -> None:
        kind = INDEXES if expected in INDEXES else IMAGES
        for sent in ("", "text/plain", *kind):
            assert parse_manifest(document(**fields, **empty), sent).media_type == expected

    @pytest.mark.parametrize("media_type", sorted(IMAGES | INDEXES))
    def test_is_the_documents_even_if_another_of_its_kind_was_sent(self, media_type: str) -> None:
        raw = document(**fields_of(media_type), mediaType=media_type)
        for sent in INDEXES if media_type in INDEXES else IMAGES:
            assert parse_manifest(raw, sent).media_type == media_type

    @pytest.mark.parametrize(
        "sent", [f"{DOCKER_LIST}; charset=utf-8", f" {DOCKER_LIST} ", DOCKER_LIST.upper(), f"{DOCKER_LIST};x"]
    )
    def test_is_checked_against_all_of_a_content_type_s_forms(self, sent: str) -> None:
        with pytest.raises(InvalidManifestError, match="contradicts"):
            parse_manifest(document(**IMAGE_FIELDS), sent)

    @pytest.mark.parametrize("media_type", sorted(ARTIFACTS))
    def test_of_an_artifact_needs_no_schema_version(self, media_type: str) -> None:
        raw = json.dumps({"mediaType": media_type, "artifactType": "application/x"}).encode()
        assert parse_manifest(raw, media_type).media_type == media_type

    @pytest.mark.parametrize("media_type", sorted(INDEXES))
    def test_of_an_index_holds_for_one_that_lists_nothing(self, media_type: str) -> None:
        """Go writes an empty list that was never made as null."""
        raw = document(mediaType=media_type, manifests=None)
        assert parse_manifest(raw, media_type).media_type == media_type


@pytest.mark.parametrize(
    ("raw", "content_type", "reason"),
    [
        (b"", OCI_MANIFEST, "the document is not a manifest"),
        (b"{}", OCI_MANIFEST, "schemaVersion"),
        (b"[]", OCI_MANIFEST, "Expected `object`"),
        (b"null", OCI_MANIFEST, "Expected `object`"),
        (b"<html>", "text/html", "the document is not a manifest"),
        (b"\xff\xfe", OCI_MANIFEST, "the document is not a manifest"),
        (document() + b"x", OCI_MANIFEST, "trailing characters"),
        (b'{"schemaVersion":2,"x":' + b"[" * 100_000, OCI_MANIFEST, "the document is not a manifest"),
        (b'{"errors":[{"code":"MANIFEST_UNKNOWN"}]}', "application/json", "schemaVersion"),
        (document(layers={}), OCI_MANIFEST, "layers"),
        (document(layers=[None]), OCI_MANIFEST, "layers"),
        (document(layers=[{}]), OCI_MANIFEST, "digest"),
        (document(layers=[descriptor(LAYER, "7")]), OCI_MANIFEST, "size"),
        (document(layers=[descriptor(LAYER, 7.5)]), OCI_MANIFEST, "size"),
        (document(layers=[descriptor(LAYER, -1)]), OCI_MANIFEST, "has the invalid size -1"),
        (document(layers=[descriptor(LAYER, 2**63)]), OCI_MANIFEST, "has the invalid size"),
        (document(layers=[descriptor(LAYER, 10**40)]), OCI_MANIFEST, "has the invalid size|not a manifest"),
        (document(layers=[descriptor("md5:abc")]), OCI_MANIFEST, "'md5:abc' is not a sha256"),
        (document(layers=[descriptor("../../etc/passwd")]), OCI_MANIFEST, "is not a sha256"),
        (document(subject=descriptor("sha256:abc")), OCI_MANIFEST, "'sha256:abc' is not a sha256"),
        (document(manifests=[], layers=[]), OCI_INDEX, "both a manifest and an index"),
        (document(manifests=[], config=descriptor(CONFIG)), OCI_INDEX, "both a manifest and an index"),
        (
            document(mediaType=OCI_INDEX, manifests=[]),
            OCI_MANIFEST,
            "the Content-Type .* contradicts the media type",
        ),
        (document(mediaType=OCI_ARTIFACT), OCI_MANIFEST, "the Content-Type .* contradicts the media type"),
        (document(mediaType=OCI_ARTIFACT, manifests=[]), "", "the fields do not match the media type"),
        (document(mediaType=OCI_ARTIFACT, layers=[]), OCI_ARTIFACT, "the fields do not match the media type"),
        (document(mediaType="application/x"), OCI_MANIFEST, "the Content-Type .* contradicts the media type"),
        (b'{"mediaType":"application/x","blobs":[]}', "", "schemaVersion"),
        (document(manifests=[]), OCI_MANIFEST, "the Content-Type .* contradicts the media type"),
        (document(mediaType=DOCKER_LIST, **IMAGE_FIELDS), "", "the fields do not match the media type"),
        (document(**IMAGE_FIELDS), OCI_INDEX, "the Content-Type .* contradicts the media type"),
        (document(mediaType="text/html\r\nSet-Cookie: a=b"), "", "the media type .* is invalid"),
        (document(mediaType="html"), "", "the media type 'html' is invalid"),
        (document(mediaType="a/b/c"), "", "the media type 'a/b/c' is invalid"),
        (document(mediaType="ä/b"), "", "the media type '.*' is invalid"),
        (document(mediaType=7), "", "mediaType"),
        (b'{"schemaVersion":1,"fsLayers":[]}', "application/json", "Docker's schema 1"),
        *((document(), schema1, "Docker's schema 1") for schema1 in sorted(DOCKER_SCHEMA1)),
    ],
)
def test_what_clients_might_not_agree_on_is_refused(raw: bytes, content_type: str, reason: str) -> None:
    with pytest.raises(InvalidManifestError, match=reason):
        parse_manifest(raw, content_type)


class TestBytes:
    def test_are_kept_as_they_came(self) -> None:
        raw = b' {\n "schemaVersion" : 2 }\n'
        assert parse_manifest(raw, "").raw == raw

    @pytest.mark.parametrize("algorithm", ["sha256", "sha512"])
    def test_have_the_digest_that_is_expected(self, algorithm: str) -> None:
        raw = document()
        expected = Digest.of(raw, algorithm)
        assert parse_manifest(raw, "", expected).digest == expected

    def test_of_another_digest_are_refused(self) -> None:
        with pytest.raises(InvalidManifestError, match=f"not {SUBJECT}"):
            parse_manifest(document(), "", SUBJECT)

    def test_may_be_as_many_as_the_limit(self) -> None:
        raw = document()
        assert parse_manifest(raw.ljust(MAX_MANIFEST_SIZE), "").media_type == OCI_MANIFEST
        with pytest.raises(InvalidManifestError, match="4194305 bytes are more than the 4194304 allowed"):
            parse_manifest(raw.ljust(MAX_MANIFEST_SIZE + 1), "")


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.text(max_size=5)
    | st.sampled_from([OCI_INDEX, str(LAYER)]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["digest", "size", "mediaType", "urls"]), inner, max_size=3)
    ),
    max_leaves=8,
)
FIELDS = ["schemaVersion", "mediaType", "config", "layers", "manifests", "blobs", "subject", "annotations"]


@given(
    st.dictionaries(st.sampled_from(FIELDS), JSON), st.sampled_from([*sorted(MANIFESTS), "", "text/plain"])
)
def test_any_document_is_refused_or_is_what_it_says(fields: dict[str, Any], content_type: str) -> None:
    raw = json.dumps({"schemaVersion": 2} | fields).encode()
    try:
        parsed = parse_manifest(raw, content_type)
    except InvalidManifestError:
        return
    assert parsed.digest == Digest.of(raw)
    assert parsed == parse_manifest(raw, "")
    assert parsed.media_type == fields.get("mediaType") or not fields.get("mediaType")
    assert not (fields.get("manifests") is not None and parsed.media_type in IMAGES)


@given(st.binary(max_size=50))
def test_any_bytes_are_survived(raw: bytes) -> None:
    with pytest.raises(InvalidManifestError):
        parse_manifest(raw, "")


def test_upstreams_are_asked_for_every_kind_of_manifest() -> None:
    assert set(ACCEPT.split(", ")) == MANIFESTS | {"*/*;q=0.1"}


@pytest.mark.parametrize("size", [-1, 2**63])
def test_a_descriptor_has_a_size_that_can_be(size: int) -> None:
    with pytest.raises(InvalidManifestError, match=str(LAYER)):
        Descriptor(LAYER, size)
