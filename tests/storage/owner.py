"""Another process on a store: it does one thing a line of its input, and answers with a line."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Self
from unittest.mock import patch

from tests.storage.stores import open_store

from registry_proxy.oci.reference import Digest

if TYPE_CHECKING:
    from registry_proxy.storage.base import BlobStore, Ingest

_ROOT = Path(__file__).parents[2]


class Owner:
    """The test's end of such a process; killed with SIGKILL at the end of the `with` block at the latest."""

    def __init__(self, address: str) -> None:
        path = os.pathsep.join((str(_ROOT / "src"), str(_ROOT)))
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.storage.owner", address],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=os.environ | {"PYTHONPATH": path},
        )

    def tell(self, *words: object) -> str:
        """Do it there; returns once it is done."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        print(*words, file=self._process.stdin, flush=True)
        return self._process.stdout.readline().strip()

    def kill(self) -> None:
        """As the kernel's memory killer or `kill -9` would."""
        self._process.kill()
        assert self._process.wait() == -signal.SIGKILL

    def die_in_commit(self) -> None:
        """Begin to commit, and die before the bytes are synced."""
        assert self.tell("die_in_commit") == ""
        assert self._process.wait() == -signal.SIGKILL

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._process.poll() is None:
            self.kill()
        for pipe in (self._process.stdin, self._process.stdout):
            assert pipe is not None
            pipe.close()


def _obey(store: BlobStore, ingest: Ingest | None, words: list[str]) -> Ingest | None:
    match words:
        case ["begin", digest]:
            return store.begin(Digest.parse(digest))
        case ["append", text] if ingest is not None:
            ingest.append([text.encode()])
        case ["die_in_commit"] if ingest is not None:
            with patch("os.fdatasync", lambda _: os.kill(os.getpid(), signal.SIGKILL)):
                ingest.commit()
        case [method] if ingest is not None:
            getattr(ingest, method)()
        case _:
            raise AssertionError(words)
    return ingest


def main(address: str) -> None:
    store = open_store(address)
    ingest = None
    for line in sys.stdin:
        ingest = _obey(store, ingest, line.split())
        print("none" if ingest is None else ingest.size, flush=True)


if __name__ == "__main__":
    main(sys.argv[1])
