"""The storage folder of a `registry:2` or `registry:3` (distribution), read only.

Its layout (registry/storage/paths.go):

    blobs/sha256/ab/HEX/data
    repositories/NAME/_manifests/tags/TAG/current/link
    repositories/NAME/_manifests/revisions/sha256/HEX/link
    repositories/NAME/_layers/sha256/HEX/link
"""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import dataclass
from io import FileIO
from pathlib import Path
from typing import TYPE_CHECKING

from registry_proxy.oci.digest import Digest, InvalidDigestError
from registry_proxy.oci.reference import InvalidNameError, InvalidTagError, Repository, Tag
from registry_proxy.storage.base import StoreError
from registry_proxy.storage.ingest import store_error

if TYPE_CHECKING:
    from collections.abc import Iterator

_HOME = "docker/registry/v2"
_ALGORITHMS = ("sha256", "sha512")
_LONGEST_LINK = 256


@dataclass(frozen=True, slots=True)
class OldBlob:
    """A blob, not verified: its size in bytes, and when it was written (Unix seconds)."""

    digest: Digest
    size: int
    modified_at: float
    path: Path

    def open(self) -> FileIO:
        """Its bytes. Raises OSError."""
        return FileIO(os.open(self.path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC))


@dataclass(frozen=True, slots=True)
class OldRepository:
    """A repository: where its tags point, and when it was linked to its manifests and layers (Unix seconds)."""

    name: Repository
    tags: dict[str, Digest]
    manifests: dict[Digest, float]
    layers: dict[Digest, float]


class DistributionFolder:
    """The folder at `path`: the storage root, or the `v2` in it. Raises StoreError when it is none."""

    def __init__(self, path: Path) -> None:
        homes = [path / _HOME, path]
        found = next((home for home in homes if _is_folder(home / "blobs")), None)
        if found is None:
            raise StoreError(
                f"{path} is no storage folder of a registry: there is no {_HOME}/blobs in it. Name the folder that "
                "`rootdirectory` of its configuration names, or the volume mounted on /var/lib/registry"
            )
        self._home = found

    def blobs(self) -> Iterator[OldBlob]:
        """All blobs, in no order. Raises StoreError."""
        for digest, folder in _by_digest(self._home / "blobs", nested=True):
            path = folder / "data"
            try:
                status = path.lstat()
            except FileNotFoundError:
                continue
            except OSError as error:
                raise store_error(f"read {path}", error) from error
            yield OldBlob(digest, status.st_size, status.st_mtime, path)

    def repositories(self) -> Iterator[OldRepository]:
        """All repositories with a usable name. Raises StoreError."""
        root = self._home / "repositories"
        waiting = [root]
        while waiting:
            folder = waiting.pop()
            names = [entry.name for entry in _folders(folder)]
            if "_manifests" in names or "_layers" in names:
                with suppress(InvalidNameError):
                    yield _repository(Repository(folder.relative_to(root).as_posix()), folder)
            # No part of a name begins with an underscore.
            waiting += [folder / name for name in names if not name.startswith("_")]


def _repository(name: Repository, folder: Path) -> OldRepository:
    tags = {}
    for entry in _folders(folder / "_manifests/tags"):
        with suppress(InvalidTagError, InvalidDigestError, FileNotFoundError):
            tags[Tag(entry.name).name] = _read_link(Path(entry.path) / "current/link")
    return OldRepository(name, tags, _links(folder / "_manifests/revisions"), _links(folder / "_layers"))


def _links(folder: Path) -> dict[Digest, float]:
    """The digests that are linked in a folder, with the time of each link."""
    found = {}
    for digest, place in _by_digest(folder, nested=False):
        link = place / "link"
        # A deleted one leaves its folder behind.
        with suppress(FileNotFoundError, InvalidDigestError):
            if _read_link(link) == digest:
                found[digest] = link.stat().st_mtime
    return found


def _read_link(path: Path) -> Digest:
    try:
        with path.open("rb") as file:
            return Digest.parse(file.read(_LONGEST_LINK).decode("ascii", "replace").strip())
    except FileNotFoundError:
        raise
    except OSError as error:
        raise store_error(f"read {path}", error) from error


def _by_digest(folder: Path, *, nested: bool) -> Iterator[tuple[Digest, Path]]:
    """The folders that are named by a digest's algorithm and its hexadecimal form; `nested` below its beginning."""
    for algorithm in _ALGORITHMS:
        parents = [folder / algorithm]
        if nested:
            parents = [Path(entry.path) for entry in _folders(folder / algorithm)]
        for parent in parents:
            for entry in _folders(parent):
                with suppress(InvalidDigestError):
                    yield Digest(algorithm, entry.name), Path(entry.path)


def _folders(path: Path) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(path) as entries:
            return [entry for entry in entries if entry.is_dir(follow_symlinks=False)]
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError as error:
        raise store_error(f"list {path}", error) from error


def _is_folder(path: Path) -> bool:
    try:
        return path.is_dir()
    except OSError as error:
        raise store_error(f"look into {path}", error) from error
