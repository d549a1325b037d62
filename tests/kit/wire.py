"""The values that the simulated servers pass around: a call, what it is about, and the reply."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from multidict import CIMultiDict

if TYPE_CHECKING:
    from collections.abc import Mapping

    from multidict import MultiMapping

Role = Literal["registry", "token", "storage", "backend"]
Kind = Literal["ping", "manifest", "blob", "tags", "referrers", "catalog", "token", "redirect", "other"]

_ROUTES: tuple[tuple[Kind, re.Pattern[str]], ...] = (
    ("ping", re.compile(r"/v2/?")),
    ("catalog", re.compile(r"/v2/(?P<reference>_catalog)")),
    ("manifest", re.compile(r"/v2/(?P<repository>.+)/manifests/(?P<reference>[^/]+)")),
    ("blob", re.compile(r"/v2/(?P<repository>.+)/blobs/(?P<reference>[^/]+)")),
    ("tags", re.compile(r"/v2/(?P<repository>.+)/(?P<reference>tags/list)")),
    ("referrers", re.compile(r"/v2/(?P<repository>.+)/referrers/(?P<reference>[^/]+)")),
)


@dataclass(frozen=True, slots=True)
class Call:
    """One HTTP request as a server received it."""

    method: str
    path: str
    query: MultiMapping[str]
    headers: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Target:
    """What a call asks for. `reference` is a tag, a digest, or the name of the endpoint."""

    kind: Kind
    repository: str = ""
    reference: str = ""


@dataclass(slots=True)
class Reply:
    """An answer before faults are applied to it.

    `body` is what a GET gets; `announced` says whether Content-Length is sent.
    """

    status: int
    body: bytes | memoryview = b""
    headers: CIMultiDict[str] = field(default_factory=CIMultiDict)
    announced: bool = True


def locate(path: str) -> Target:
    """Tell what a path of the distribution API is about."""
    for kind, pattern in _ROUTES:
        if found := pattern.fullmatch(path):
            parts = found.groupdict()
            return Target(kind, parts.get("repository") or "", parts.get("reference") or "")
    return Target("other", reference=path)


def reply(status: int, body: bytes | memoryview = b"", **headers: str) -> Reply:
    """Return a reply whose headers are given as keywords: `content_type=` is `Content-Type`."""
    named = CIMultiDict({name.replace("_", "-").title(): value for name, value in headers.items()})
    return Reply(status, body, named)


def reply_json(status: int, document: object, **headers: str) -> Reply:
    """Return a JSON reply."""
    return reply(status, json.dumps(document).encode(), content_type="application/json", **headers)


def error(status: int, code: str, message: str = "", **headers: str) -> Reply:
    """Return the registry's error document (distribution spec, "Error Codes")."""
    document = {"errors": [{"code": code, "message": message or code.lower(), "detail": None}]}
    return reply_json(status, document, **headers)


def redirect(status: int, location: str, **headers: str) -> Reply:
    """Return a redirect with the little HTML body that Go's servers send."""
    return reply(status, b'<a href="#">Found</a>.\n', location=location, content_type="text/html", **headers)
