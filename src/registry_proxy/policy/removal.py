"""What goes with an image that is removed, and what stays because the rest of its repository needs it."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from registry_proxy.oci.reference import Reference, Tag

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Set

    from registry_proxy.oci.digest import Digest


@dataclass(frozen=True, slots=True)
class Holdings:
    """A repository: where its names point, what it holds, and what the manifests that it holds consist of.

    A name is a tag, or `referrers:DIGEST` for the list of what refers to a manifest.
    """

    names: Mapping[str, Digest]
    links: Set[Digest]
    children: Mapping[Digest, Set[Digest]]


@dataclass(frozen=True, slots=True)
class Removal:
    """Names and digests that leave a repository; `unknown` was asked for and is not there."""

    names: frozenset[str]
    digests: frozenset[Digest]
    unknown: tuple[Reference, ...] = ()


def everything(holdings: Holdings) -> Removal:
    """The whole repository."""
    return Removal(frozenset(holdings.names), frozenset(holdings.links))


def select_removal(holdings: Holdings, references: Iterable[Reference]) -> Removal:
    """What goes with these tags and digests.

    With a tag its manifest goes, unless another tag or an index needs it; with a digest all tags that point to it, too.
    What a manifest consists of goes with the last one that needs it.
    """
    removing = _Removing(holdings)
    unknown = [reference for reference in references if not removing.remove(reference)]
    removing.collect()
    return Removal(frozenset(removing.names), frozenset(removing.digests), tuple(unknown))


class _Removing:
    """A removal as it is put together."""

    def __init__(self, holdings: Holdings) -> None:
        self._holdings = holdings
        self.names: set[str] = set()
        self.digests: set[Digest] = set()
        self._suspects: list[Digest] = []
        # How many names and manifests of the repository need each digest.
        self._needed = Counter(holdings.names.values())
        for manifest, children in holdings.children.items():
            if manifest in holdings.links:
                self._needed.update(children)

    def remove(self, reference: Reference) -> bool:
        """Take the reference out; whether it was there."""
        if isinstance(reference, Tag):
            digest = self._holdings.names.get(reference.name)
            if digest is None:
                return False
            self._drop_name(reference.name)
            return True
        pointing = [name for name, digest in self._holdings.names.items() if digest == reference]
        for name in pointing:
            self._drop_name(name)
        if reference in self._holdings.links:
            self._drop(reference)
        return bool(pointing) or reference in self._holdings.links

    def collect(self) -> None:
        """Take out what nothing needs any more."""
        while self._suspects:
            digest = self._suspects.pop()
            if not self._needed[digest] and digest in self._holdings.links:
                self._drop(digest)

    def _drop_name(self, name: str) -> None:
        if name not in self.names:
            self.names.add(name)
            self._release(self._holdings.names[name])

    def _drop(self, digest: Digest) -> None:
        if digest in self.digests:
            return
        self.digests.add(digest)
        for child in self._holdings.children.get(digest, ()):
            self._release(child)
        referrers = f"referrers:{digest}"
        if referrers in self._holdings.names:
            self._drop_name(referrers)

    def _release(self, digest: Digest) -> None:
        self._needed[digest] -= 1
        self._suspects.append(digest)
