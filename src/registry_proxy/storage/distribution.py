"""Read-only access to the storage directory of a `registry:2` or `registry:3` (distribution).

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

from registry_proxy.oci.reference import (
    Digest,
    InvalidDigestError,
    InvalidNameError,
    InvalidTagError,
    Repository,
    Tag,
)
from registry_proxy.storage.base import ArchivedRepository, StoreError
from registry_proxy.storage.ingest import store_error

if TYPE_CHECKING:
    from collections.abc import Iterator

_HOME = "docker/registry/v2"
_ALGORITHMS = ("sha256", "sha512")
_LONGEST_LINK = 256


@dataclass(frozen=True, slots=True)
class DistributionBlob:
    """An unverified blob: its size in bytes, and the time it was written (Unix seconds)."""

    digest: Digest
    size: int
    modified_at: float
    path: Path

    def open(self) -> FileIO:
        """Open the blob's file. Raise OSError."""
        return FileIO(os.open(self.path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC))


class DistributionDirectory:
    """The directory at `path`: the storage root, or the `v2` in it. Raise StoreError if it is neither."""

    def __init__(self, path: Path) -> None:
        homes = [path / _HOME, path]
        found = next((home for home in homes if _is_directory(home / "blobs")), None)
        if found is None:
            raise StoreError(
                f"{path} is not the storage directory of a registry: {_HOME}/blobs is missing. Pass the "
                "`rootdirectory` of its configuration, or the volume mounted on /var/lib/registry"
            )
        self._home = found

    def blobs(self) -> Iterator[DistributionBlob]:
        """Yield all blobs, in no order. Raise StoreError."""
        for digest, directory in _by_digest(self._home / "blobs", nested=True):
            path = directory / "data"
            try:
                status = path.lstat()
            except FileNotFoundError:
                continue
            except OSError as error:
                raise store_error(f"read {path}", error) from error
            yield DistributionBlob(digest, status.st_size, status.st_mtime, path)

    def repositories(self) -> Iterator[ArchivedRepository]:
        """Yield all repositories with a valid name. Raise StoreError."""
        root = self._home / "repositories"
        waiting = [root]
        while waiting:
            directory = waiting.pop()
            names = [entry.name for entry in _subdirectories(directory)]
            if "_manifests" in names or "_layers" in names:
                with suppress(InvalidNameError):
                    yield _repository(Repository(directory.relative_to(root).as_posix()), directory)
            # No part of a name begins with an underscore.
            waiting += [directory / name for name in names if not name.startswith("_")]


def _repository(name: Repository, directory: Path) -> ArchivedRepository:
    tags = {}
    for entry in _subdirectories(directory / "_manifests/tags"):
        with suppress(InvalidTagError, InvalidDigestError, FileNotFoundError):
            tags[Tag(entry.name).name] = _read_link(Path(entry.path) / "current/link")
    return ArchivedRepository(
        name, tags, _links(directory / "_manifests/revisions"), _links(directory / "_layers")
    )


def _links(directory: Path) -> dict[Digest, float]:
    """Return the digests that a directory links to, with the time of each link."""
    found = {}
    for digest, subdirectory in _by_digest(directory, nested=False):
        link = subdirectory / "link"
        # A deleted link leaves its directory behind.
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


def _by_digest(directory: Path, *, nested: bool) -> Iterator[tuple[Digest, Path]]:
    """Yield the subdirectories `ALGORITHM/HEX`, or with `nested` those of the form `ALGORITHM/PREFIX/HEX`."""
    for algorithm in _ALGORITHMS:
        parents = [directory / algorithm]
        if nested:
            parents = [Path(entry.path) for entry in _subdirectories(directory / algorithm)]
        for parent in parents:
            for entry in _subdirectories(parent):
                with suppress(InvalidDigestError):
                    yield Digest(algorithm, entry.name), Path(entry.path)


def _subdirectories(path: Path) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(path) as entries:
            return [entry for entry in entries if entry.is_dir(follow_symlinks=False)]
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError as error:
        raise store_error(f"list {path}", error) from error


def _is_directory(path: Path) -> bool:
    try:
        return path.is_dir()
    except OSError as error:
        raise store_error(f"read {path}", error) from error
