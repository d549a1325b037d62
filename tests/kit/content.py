"""What a simulated registry holds: repositories of manifests, tags and blobs."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from tests.kit.images import OCI_INDEX, Content

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence


class Pushable(Protocol):
    """An image or an index."""

    @property
    def manifest(self) -> Content: ...
    @property
    def manifests(self) -> Sequence[Content]: ...
    @property
    def blobs(self) -> Sequence[Content]: ...


@dataclass(slots=True)
class Repository:
    """One repository. `readers` are the users who may pull; `None` means everyone."""

    name: str
    readers: frozenset[str] | None = None
    tags: dict[str, str] = field(default_factory=dict)
    manifests: dict[str, Content] = field(default_factory=dict)
    blobs: dict[str, Content] = field(default_factory=dict)

    def push(self, pushed: Pushable, *tags: str) -> None:
        """Store an image or index with everything it consists of, and point `tags` at it."""
        self.manifests |= {each.digest: each for each in pushed.manifests}
        self.blobs |= {each.digest: each for each in pushed.blobs}
        self.tags |= dict.fromkeys(tags, pushed.manifest.digest)

    def resolve(self, reference: str) -> Content | None:
        """Return the manifest behind a tag or digest."""
        return self.manifests.get(self.tags.get(reference, reference))

    def readable_by(self, user: str | None) -> bool:
        """Tell whether `user` (`None`: anonymous) may pull from here."""
        return self.readers is None or user in self.readers

    def referrers(self, subject: str, artifact_type: str | None = None) -> bytes:
        """Return the referrers of `subject` as an OCI index (distribution spec, "Listing Referrers")."""
        found = [
            each for each in map(_referrer, self.manifests.values(), [subject] * len(self.manifests)) if each
        ]
        kept = [each for each in found if artifact_type in (None, each["artifactType"])]
        return json.dumps({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": kept}).encode()


def _referrer(manifest: Content, subject: str) -> dict[str, Any] | None:
    document = json.loads(manifest.raw)
    if document.get("subject", {}).get("digest") != subject:
        return None
    kind = document.get("artifactType") or document["config"]["mediaType"]
    extra = {"annotations": document["annotations"]} if "annotations" in document else {}
    return manifest.descriptor(artifactType=kind, **extra)


@dataclass(slots=True)
class Contents:
    """Everything an upstream holds, and who its users are."""

    repositories: dict[str, Repository] = field(default_factory=dict)
    users: dict[str, str] = field(default_factory=dict, repr=False)

    def repository(self, name: str, *, private_to: Iterable[str] | None = None) -> Repository:
        """Return a repository, made when it does not exist; `private_to` names the users who may pull."""
        found = self.repositories.setdefault(name, Repository(name))
        if private_to is not None:
            found.readers = frozenset(private_to)
        return found

    def blob(self, digest: str) -> Content | None:
        """Return a blob whatever repository it is in, as object storage does."""
        held = (each.blobs.get(digest) for each in self.repositories.values())
        return next((blob for blob in held if blob), None)

    def knows(self, user: str, password: str) -> bool:
        """Check a password."""
        return self.users.get(user) == password
