"""The write side of a simulated registry: blobs by POST, PATCH and PUT, and manifests (distribution-spec, "Push")."""

from __future__ import annotations

import json
import re
import secrets
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from tests.kit.images import Content
from tests.kit.wire import Reply, error, reply

from registry_proxy.oci.reference import Digest, InvalidDigestError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tests.kit.content import Contents, Repository

UPLOAD = re.compile(r"/v2/(?P<repository>.+)/blobs/uploads/(?P<upload>[^/]*)")
_MANIFEST = re.compile(r"/v2/(?P<repository>.+)/manifests/(?P<reference>[^/]+)")


@dataclass(frozen=True, slots=True)
class Push:
    """One request of a push."""

    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    body: bytes


@dataclass(slots=True)
class Pushes:
    """The pushes into `contents`, and the uploads that are not complete."""

    contents: Contents
    _uploads: dict[str, bytearray] = field(default_factory=dict)

    def answer(self, push: Push) -> Reply:
        """Answer one request."""
        try:
            if found := UPLOAD.fullmatch(push.path):
                return self._upload(push, self.contents.repository(found["repository"]), found["upload"])
            if push.method == "PUT" and (found := _MANIFEST.fullmatch(push.path)):
                return _put_manifest(push, self.contents.repository(found["repository"]), found["reference"])
        except InvalidDigestError as problem:
            return error(400, "DIGEST_INVALID", str(problem))
        return error(405, "UNSUPPORTED")

    def _upload(self, push: Push, repository: Repository, upload: str) -> Reply:
        if push.method == "POST":
            return self._begin(push, repository)
        received = self._uploads.get(upload)
        if received is None:
            return error(404, "BLOB_UPLOAD_UNKNOWN")
        if push.method == "GET":
            return _progress(204, push.path, received)
        begin = push.headers.get("Content-Range", "").partition("-")[0]
        if begin and int(begin) != len(received):
            return _progress(416, push.path, received)
        received += push.body
        if push.method == "PATCH":
            return _progress(202, push.path, received)
        del self._uploads[upload]
        return _complete(push, repository, bytes(received))

    def _begin(self, push: Push, repository: Repository) -> Reply:
        mounted = self.contents.blob(push.query.get("mount", ""))
        if mounted is not None:
            repository.blobs[mounted.digest] = mounted
            return _created(f"/v2/{repository.name}/blobs/{mounted.digest}", mounted.digest)
        if "digest" in push.query:
            return _complete(push, repository, push.body)
        upload = secrets.token_hex(8)
        self._uploads[upload] = bytearray()
        return _progress(202, f"/v2/{repository.name}/blobs/uploads/{upload}", b"")


def _progress(status: int, location: str, received: bytes | bytearray) -> Reply:
    return reply(status, location=location, range=f"0-{max(0, len(received) - 1)}")


def _created(location: str, digest: str) -> Reply:
    return reply(201, location=location, docker_content_digest=digest)


def _verified(raw: bytes, digest: str) -> Content:
    if not Digest.parse(digest).matches(raw):
        raise InvalidDigestError(f"the bytes do not have the digest {digest}")
    return Content("application/octet-stream", raw, digest)


def _complete(push: Push, repository: Repository, raw: bytes) -> Reply:
    blob = _verified(raw, push.query.get("digest", ""))
    repository.blobs[blob.digest] = blob
    return _created(f"/v2/{repository.name}/blobs/{blob.digest}", blob.digest)


def _put_manifest(push: Push, repository: Repository, reference: str) -> Reply:
    if ":" in reference:
        digest = _verified(push.body, reference).digest
    else:
        digest = str(Digest.of(push.body))
        repository.tags[reference] = digest
    repository.manifests[digest] = Content(push.headers.get("Content-Type", ""), push.body, digest)
    answer = _created(f"/v2/{repository.name}/manifests/{digest}", digest)
    if subject := json.loads(push.body).get("subject"):
        answer.headers["OCI-Subject"] = subject["digest"]
    return answer
