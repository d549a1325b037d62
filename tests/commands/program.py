"""The installed program, and a store with content to check."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from registry_proxy.index.sqlite import SqliteIndex
from registry_proxy.oci.manifest import Descriptor
from registry_proxy.oci.reference import Digest, Repository, Source
from registry_proxy.storage.filesystem import FilesystemStore

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

PROGRAM = Path(sys.executable).with_name("registry-proxy")
SOURCE = Source("docker.io", Repository("library/alpine"))


@dataclass
class Program:
    """Runs `registry-proxy` in a folder of its own, with nothing of the tests' environment that it would read."""

    folder: Path
    prefix: tuple[str, ...] = ()

    @property
    def environ(self) -> dict[str, str]:
        inherited = {
            name: value for name, value in os.environ.items() if not name.startswith("REGISTRY_PROXY_")
        }
        return {
            **inherited,
            "HOME": str(self.folder),
            "REGISTRY_PROXY_STORAGE_PATH": str(self.folder / "store"),
        }

    def __call__(self, *arguments: str, code: int = 0, **environ: str) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            [*self.prefix, PROGRAM, *arguments],
            cwd=self.folder,
            env={**self.environ, **environ},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == code, done
        return done


@dataclass
class Stored:
    """A store with its index, both real."""

    root: Path

    def put(self, content: bytes, *, damaged: bool = False, counted: bool = True) -> Digest:
        """Content, in the store and, if `counted`, in the index; `damaged` changes one byte of its file afterwards."""
        digest = Digest.of(content)
        ingest = FilesystemStore(self.root).begin(digest)
        assert ingest is not None
        ingest.append([content])
        ingest.commit()
        if damaged:
            with self.file(digest).open("r+b") as file:
                file.write(b"\0")
        if counted:
            self.indexed(lambda index: index.record_blob(SOURCE, Descriptor(digest, len(content)), 1.0))
        return digest

    def file(self, digest: Digest) -> Path:
        return self.root / "blobs" / digest.algorithm / digest.hex[:2] / digest.hex

    def indexed(self, work: Callable[[SqliteIndex], Awaitable[None]]) -> None:
        async def run() -> None:
            index = SqliteIndex(self.root / "index.db")
            await work(index)
            await index.close()

        asyncio.run(run())

    def rows(self) -> dict[Digest, int]:
        rows: dict[Digest, int] = {}

        async def read(index: SqliteIndex) -> None:
            rows.update({content.digest: content.size for content in index.least_recently_used(100)})

        self.indexed(read)
        return rows
