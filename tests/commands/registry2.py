"""The storage folder of another cache: made by Debian's docker-registry, or by hand in its layout."""

from __future__ import annotations

import hashlib
import re
from contextlib import contextmanager
from typing import TYPE_CHECKING

from tests.kit.processes import Daemon, Local

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.kit.content import Pushable


class OldFolder:
    """A folder in distribution's layout."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.home = root / "docker/registry/v2"

    def data(self, digest: str) -> Path:
        """The file of a blob."""
        algorithm, _, encoded = digest.partition(":")
        return self.home / "blobs" / algorithm / encoded[:2] / encoded / "data"

    def put_blob(self, content: bytes) -> str:
        digest = f"sha256:{hashlib.sha256(content).hexdigest()}"
        path = self.data(digest)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        return digest

    def link(self, repository: str, place: str, digest: str) -> Path:
        """A link file in a repository; `place` is below its folder."""
        path = self.home / "repositories" / repository / place / "link"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(digest)
        return path

    def push(self, repository: str, pushed: Pushable, *tags: str) -> None:
        """An image as the cache keeps one that was pulled."""
        for manifest in pushed.manifests:
            self.put_blob(manifest.raw)
            self.link(
                repository, f"_manifests/revisions/{manifest.digest.replace(':', '/')}", manifest.digest
            )
        for blob in pushed.blobs:
            self.put_blob(blob.raw)
            self.link(repository, f"_layers/{blob.digest.replace(':', '/')}", blob.digest)
        for tag in tags:
            self.link(repository, f"_manifests/tags/{tag}/current", pushed.manifest.digest)

    def state(self) -> dict[str, tuple[object, ...]]:
        """All that could change of its files and folders."""
        return {
            str(path.relative_to(self.root)): _state(path)
            for path in (self.root, *sorted(self.root.rglob("*")))
        }


def _state(path: Path) -> tuple[object, ...]:
    status = path.lstat()
    content = hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else ""
    return (status.st_mode, status.st_uid, status.st_gid, status.st_mtime_ns, content)


@contextmanager
def docker_registry(folder: OldFolder, upstream: str = "") -> Iterator[str]:
    """Debian's docker-registry over the folder, as a pull-through cache of an `upstream`; its host and port."""
    config = folder.root.with_suffix(".yml")
    proxy = f'proxy: {{remoteurl: "{upstream}"}}' if upstream else ""
    config.write_text(f"""\
version: 0.1
log: {{level: info, accesslog: {{disabled: true}}}}
storage:
  filesystem: {{rootdirectory: {folder.root}}}
http: {{addr: "127.0.0.1:0"}}
{proxy}
""")
    log = config.with_suffix(".log")
    daemon = Daemon(Local(), ["docker-registry", "serve", str(config)], log)
    try:
        daemon.wait_until(lambda: "listening on" in log.read_text())
        found = re.search(r"listening on (127\.0\.0\.1:\d+)", log.read_text())
        assert found, log.read_text()
        yield found[1]
    finally:
        daemon.stop()
