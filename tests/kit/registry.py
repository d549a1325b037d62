"""The answers of a simulated registry and of the storage behind it. No I/O: a call in, a reply out."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from urllib.parse import urlencode

from multidict import CIMultiDict
from tests.kit.images import OCI_INDEX
from tests.kit.wire import Call, Kind, Reply, Target, error, locate, redirect, reply

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.kit.auth import Gatekeeper
    from tests.kit.content import Contents, Repository
    from tests.kit.images import Content
    from tests.kit.profiles import Profile

_SIGNING_KEY = b"storage signing key"
_SIGNED_SECONDS = 300
_RANGE = re.compile(r"bytes=(\d*)-(\d*)")


@dataclass(slots=True)
class Registry:
    """One registry in the way of its profile. The addresses are known once its servers listen."""

    profile: Profile
    contents: Contents
    gatekeeper: Gatekeeper
    clock: Callable[[], float]
    base: str = ""
    storage_base: str = ""
    backend_base: str = ""
    pulls_left: int | None = field(default=None)

    def __post_init__(self) -> None:
        if self.profile.counts_pulls:
            self.pulls_left = 100

    def locate(self, call: Call) -> Target:
        """Tell what a call asks for; what only redirects is of its own kind."""
        if call.path == self.profile.token_path and not self.profile.token_host:
            return Target("token", reference="token")
        if not self.profile.storage_host and call.path.startswith(self.profile.storage_path):
            return self.locate_object(call)
        target = locate(call.path)
        return Target("redirect", target.repository, target.reference) if self._moved(target.kind) else target

    def locate_backend(self, call: Call) -> Target:
        """Tell what a call to the host that everything but blobs is redirected to asks for."""
        return (
            Target("token", reference="token") if call.path == self.profile.token_path else locate(call.path)
        )

    def _moved(self, kind: Kind) -> bool:
        if kind == "blob" and not self.profile.backend_guarded:
            return self.profile.blob_redirect != 0
        return self.profile.manifest_redirect != 0 and kind in ("blob", "manifest", "tags", "referrers")

    def locate_object(self, call: Call) -> Target:
        """Tell which blob a path of the storage names."""
        return Target("blob", reference=call.path.removeprefix(self.profile.storage_path))

    def answer(self, call: Call, target: Target) -> Reply:
        """Answer a call to the registry's own host."""
        if target.kind == "blob" and not target.repository:
            return self.answer_object(call, target)
        return self._exception(call, target) or self._answer_guarded(call, target)

    def _exception(self, call: Call, target: Target) -> Reply | None:
        """Answer what is answered before anybody looks at the login."""
        if call.method not in ("GET", "HEAD"):
            return error(405, "UNSUPPORTED", "the operation is unsupported")
        if target.kind in ("catalog", "other"):
            return error(404, "NOT_FOUND", "page not found")
        asked = locate(call.path).kind
        if asked == "blob" and call.method == "HEAD" and self.profile.head_blob_status != 200:
            return error(self.profile.head_blob_status, "UNAUTHORIZED", "not authorized")
        if asked == "blob" and self.profile.missing_blob_redirects:
            return self._to_storage(target)
        if target.kind == "redirect" and (asked != "blob" or self.profile.backend_guarded):
            return self._to_backend(call)
        return None

    def _answer_guarded(self, call: Call, target: Target) -> Reply:
        if target.kind == "ping":
            refusal = self.gatekeeper.refuse(call, "") if self.profile.ping_needs_auth else None
            return refusal or reply(200, b"{}", content_type="application/json")
        return self.gatekeeper.refuse(call, target.repository) or self._answer_allowed(call, target)

    def answer_backend(self, call: Call, target: Target) -> Reply:
        """Answer a call to the host that everything but blobs is redirected to."""
        name = target.repository.removeprefix(self.profile.backend_prefix)
        refusal = self.gatekeeper.refuse(call, name) if self.profile.backend_guarded else None
        if refusal is not None:
            return refusal
        if name not in self.contents.repositories:
            return error(404, "NAME_UNKNOWN", "repository name not known to registry")
        return self._answer_allowed(call, Target(target.kind, name, target.reference))

    def answer_object(self, call: Call, target: Target) -> Reply:
        """Answer a call to the storage or content delivery network that blobs are redirected to."""
        if self.profile.storage_login:
            if self.gatekeeper.refuse(call, "") is not None:
                return reply(self.profile.storage_login, b"<Error><Code>AccessDenied</Code></Error>")
        elif self._refuses_login() and "Authorization" in call.headers:  # S3 and Azure
            return reply(
                400,
                b"<Error><Code>InvalidArgument</Code>"
                b"<Message>Only one auth mechanism allowed</Message></Error>",
            )
        if self.profile.storage_signed and not self._signed(call, target.reference):
            return reply(403, b"<Error><Code>AccessDenied</Code></Error>", content_type="application/xml")
        if call.method == "HEAD" and not self.profile.storage_head:
            return reply(403, b"<Error><Code>SignatureDoesNotMatch</Code></Error>")
        blob = self.contents.blob(target.reference)
        if blob is None:
            return reply(self.profile.missing_object_status, b"<Error><Code>NoSuchKey</Code></Error>")
        return self._ranged(call, blob, reply(200, blob.raw, content_type="application/octet-stream"))

    def _refuses_login(self) -> bool:
        return bool(self.profile.storage_host) or self.profile.storage_refuses_login

    def _answer_allowed(self, call: Call, target: Target) -> Reply:
        repository = self.contents.repositories[target.repository]
        match target.kind:
            case "manifest":
                return self._manifest(call, repository, target.reference)
            case "tags":
                return self._tags(call, repository)
            case "referrers":
                return self._referrers(call, repository, target.reference)
            case _:
                return self._blob(call, repository, target)

    def _manifest(self, call: Call, repository: Repository, reference: str) -> Reply:
        if call.method == "HEAD" and self.profile.head_manifest_status != 200:
            return error(self.profile.head_manifest_status, "UNSUPPORTED", "no HEAD here")
        by_digest = ":" in reference
        found = repository.resolve(reference) if self.profile.manifests_by_digest or not by_digest else None
        if found is None:
            return error(404, "MANIFEST_UNKNOWN", f"manifest unknown: {reference}")
        limit = self._count_pull(call)
        if limit is None:
            message = "You have reached your unauthenticated pull rate limit."
            return error(429, "TOOMANYREQUESTS", message, **_pull_limit(0))
        answer = reply(
            200,
            found.raw,
            content_type=found.media_type,
            docker_content_digest=found.digest,
            etag=f'"{found.digest}"',
            **limit,
        )
        if self.profile.padding_header:
            answer.headers["X-Padding"] = "x" * self.profile.padding_header
        if found.digest in call.headers.get("If-None-Match", ""):
            return Reply(304, b"", answer.headers)
        if call.method == "HEAD" and self.profile.bare_manifest_head:
            return Reply(200, b"", CIMultiDict({"Content-Type": found.media_type}), announced=False)
        return answer

    def _count_pull(self, call: Call) -> dict[str, str] | None:
        if self.pulls_left is None:
            return {}
        if self.pulls_left <= 0 and call.method == "GET":
            return None
        self.pulls_left -= call.method == "GET"
        return _pull_limit(self.pulls_left)

    def _blob(self, call: Call, repository: Repository, target: Target) -> Reply:
        blob = repository.blobs.get(target.reference)
        if blob is None:
            return error(404, "BLOB_UNKNOWN", f"blob unknown to registry: {target.reference}")
        if target.kind == "redirect":
            return self._to_storage(target)
        return self._ranged(
            call,
            blob,
            reply(
                200,
                blob.raw,
                content_type="application/octet-stream",
                docker_content_digest=blob.digest,
                etag=f'"{blob.digest}"',
            ),
        )

    def _ranged(self, call: Call, blob: Content, whole: Reply) -> Reply:
        """Cut one byte range (RFC 9110 section 14.2); a Range that is malformed is ignored."""
        if not self.profile.ranges:
            return whole
        whole.headers["Accept-Ranges"] = "bytes"
        asked = _RANGE.fullmatch(call.headers.get("Range", ""))
        if asked is None or not any(asked.groups()):
            return whole
        first, last = _bounds(asked[1], asked[2], blob.size)
        if first >= blob.size or first > last:
            return reply(416, content_range=f"bytes */{blob.size}")
        whole.headers["Content-Range"] = f"bytes {first}-{last}/{blob.size}"
        return Reply(206, memoryview(blob.raw)[first : last + 1], whole.headers)

    def _tags(self, call: Call, repository: Repository) -> Reply:
        query = call.query
        # A registry with marks of its own takes no tag for where a page begins.
        begin = _unmark(query.get("next_page", "")) if self.profile.opaque_pages else query.get("last", "")
        names = sorted(name for name in repository.tags if name > begin)
        wanted = min(int(query.get("n", len(names))), self.profile.max_page or len(names))
        page = names[:wanted]
        answer = reply(
            200, json.dumps({"name": repository.name, "tags": page}).encode(), content_type="application/json"
        )
        if wanted and len(names) > wanted:
            mark = ("next_page", _mark(page[-1])) if self.profile.opaque_pages else ("last", page[-1])
            more = f"{call.path}?{urlencode({mark[0]: mark[1], 'n': wanted})}"
            base = self.base if self.profile.absolute_links else ""
            answer.headers["Link"] = f'<{base}{more}>; rel="next"'
        return answer

    def _referrers(self, call: Call, repository: Repository, subject: str) -> Reply:
        match self.profile.referrers:
            case "not-found":
                return error(404, "NOT_FOUND", "page not found")
            case "astray":
                return redirect(303, f"{self.base}/nowhere")
            case "api":
                return self._listed_referrers(call, repository, subject)

    def _listed_referrers(self, call: Call, repository: Repository, subject: str) -> Reply:
        kind, begin = call.query.get("artifactType"), int(call.query.get("begin", "0"))
        listed = json.loads(repository.referrers(subject, kind))
        end = begin + (self.profile.max_page or len(listed["manifests"]))
        more = end < len(listed["manifests"])
        listed["manifests"] = listed["manifests"][begin:end]
        answer = reply(200, json.dumps(listed).encode(), content_type=OCI_INDEX)
        if kind:
            answer.headers["OCI-Filters-Applied"] = "artifactType"
        if more:
            answer.headers["Link"] = f'<?begin={end}>; rel="next"'
        return answer

    def _to_backend(self, call: Call) -> Reply:
        rest = call.path.removeprefix("/v2/")
        location = f"{self.backend_base}/v2/{self.profile.backend_prefix}{rest}"
        return redirect(
            self.profile.manifest_redirect, location
        )  # the query string is dropped, as in reality

    def _to_storage(self, target: Target) -> Reply:
        location = f"{self.storage_base}{self.profile.storage_path}{target.reference}"
        if self.profile.storage_signed:
            expires = int(self.clock()) + _SIGNED_SECONDS
            query = {"expires": expires, "signature": _signature(target.reference, expires)}
            location = f"{location}?{urlencode(query)}"
        answer = redirect(self.profile.blob_redirect, location, docker_content_digest=target.reference)
        answer.headers.update(self.profile.redirect_headers)
        return answer

    def _signed(self, call: Call, digest: str) -> bool:
        expires = call.query.get("expires", "")
        if not expires.isdecimal() or int(expires) < self.clock():
            return False
        return hmac.compare_digest(call.query.get("signature", ""), _signature(digest, int(expires)))


def _mark(tag: str) -> str:
    """Return where a page ends, as only this registry reads it."""
    return base64.b64encode(f"{tag} \u00fe+/".encode()).decode()


def _unmark(mark: str) -> str:
    return base64.b64decode(mark).decode().partition(" ")[0]


def _signature(digest: str, expires: int) -> str:
    return hmac.new(_SIGNING_KEY, f"{digest} {expires}".encode(), hashlib.sha256).hexdigest()


def _pull_limit(left: int) -> dict[str, str]:
    return {
        "ratelimit_limit": "100;w=21600",
        "ratelimit_remaining": f"{left};w=21600",
        "docker_ratelimit_source": "192.0.2.1",
    }


def _bounds(first: str, last: str, size: int) -> tuple[int, int]:
    if not first:
        return max(0, size - int(last)) if int(last) else size, size - 1
    return int(first), min(int(last), size - 1) if last else size - 1
