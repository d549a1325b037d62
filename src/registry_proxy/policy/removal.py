"""Selection of the content that is removed with an image, without what the rest of its repository needs."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from registry_proxy.oci.reference import Reference, Tag

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Set

    from registry_proxy.oci.reference import Digest


@dataclass(frozen=True, slots=True)
class Holdings:
    """A repository: the digests of its names, its links, and the children of its manifests.

    A name is a tag, or `referrers:DIGEST` for the list of a manifest's referrers.
    """

    names: Mapping[str, Digest]
    links: Set[Digest]
    children: Mapping[Digest, Set[Digest]]


@dataclass(frozen=True, slots=True)
class Removal:
    """Names and digests to remove from a repository. `unknown` are the requested references that it does not have."""

    names: frozenset[str]
    digests: frozenset[Digest]
    unknown: tuple[Reference, ...] = ()


def everything(holdings: Holdings) -> Removal:
    """Return the removal of the whole repository."""
    return Removal(frozenset(holdings.names), frozenset(holdings.links))


def select_removal(holdings: Holdings, references: Iterable[Reference]) -> Removal:
    """Return the removal of these tags and digests.

    A tag's manifest is removed with it, unless another tag or an index needs it. A digest is removed with all tags that
    point to it. A manifest's children are removed with the last manifest that needs them.
    """
    removing = _Removing(holdings)
    unknown = [reference for reference in references if not removing.remove(reference)]
    removing.collect()
    return Removal(frozenset(removing.names), frozenset(removing.digests), tuple(unknown))


class _Removing:
    """A removal under construction."""

    def __init__(self, holdings: Holdings) -> None:
        self._holdings = holdings
        self.names: set[str] = set()
        self.digests: set[Digest] = set()
        self._suspects: list[Digest] = []
        # Number of names and manifests of the repository that need each digest.
        self._needed = Counter(holdings.names.values())
        for manifest, children in holdings.children.items():
            if manifest in holdings.links:
                self._needed.update(children)

    def remove(self, reference: Reference) -> bool:
        """Remove the reference, and return whether the repository had it."""
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
        """Remove the digests that no name or manifest needs any more."""
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
