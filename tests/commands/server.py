"""`registry-proxy` as it is installed, on this machine's loopback, before a simulated Docker Hub."""

from __future__ import annotations

import http.client
import json
import os
import re
import subprocess
import sys
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.kit.processes import Daemon, Local, environment

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.kit.images import Content
    from tests.kit.remote import RemoteUpstream

PROGRAM = Path(sys.executable).with_name("registry-proxy")
PREFIX = "REGISTRY_PROXY_"


@dataclass(frozen=True, slots=True)
class Reply:
    """An HTTP answer, read to its end."""

    status: int
    cache_status: str
    body: bytes


class Site:
    """A folder with a store, and a configuration in environment variables, written as `cache_tag_ttl="0s"`."""

    def __init__(self, folder: Path, upstream: str, **settings: str) -> None:
        self.folder = folder
        self.trusted: Path | None = None  # a file with the authorities to trust, instead of the system's
        self.store = folder / "store"
        self.settings = {
            "storage_path": str(self.store),
            "server_listen": "127.0.0.1:0",
            "server_workers": "2",
            "dockerhub_url": upstream,
        } | settings

    @property
    def env(self) -> dict[str, str]:
        """The program's environment."""
        inherited = {name: value for name, value in environment().items() if not name.startswith(PREFIX)}
        own = {PREFIX + name.upper(): value for name, value in self.settings.items()}
        trust = {"SSL_CERT_FILE": str(self.trusted)} if self.trusted else {}
        return {**inherited, "HOME": str(self.folder), **trust, **own}

    def run(self, *arguments: str, code: int = 0, text: str = "") -> subprocess.CompletedProcess[str]:
        """Run a command to its end."""
        done = self.attempt(*arguments, text=text)
        assert done.returncode == code, done
        assert "Traceback" not in done.stderr
        return done

    def attempt(self, *arguments: str, text: str = "") -> subprocess.CompletedProcess[str]:
        """Run a command to its end, whatever that is."""
        return subprocess.run(
            [PROGRAM, *arguments],
            cwd=self.folder,
            env=self.env,
            input=text,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )

    def json(self, *arguments: str, code: int = 0) -> Any:
        """What a command tells programs."""
        return json.loads(self.run(*arguments, "--json", code=code).stdout)

    def file(self, digest: str) -> Path:
        """Where content is kept."""
        algorithm, _, encoded = digest.partition(":")
        return self.store / "blobs" / algorithm / encoded[:2] / encoded

    @contextmanager
    def serving(self, *, asked: bool = True) -> Iterator[Server]:
        """The server, running, and answering if it is to be `asked`; stopped in order at the end of the block."""
        log = self.folder / "server.log"
        log.unlink(missing_ok=True)
        daemon = Daemon(
            Local(), ["env", "-C", str(self.folder), str(PROGRAM), "serve"], log, env=self._cleared
        )
        try:
            server = Server(self, daemon)
            if asked:
                server.until(lambda: server.get("").status in {200, 401})
            yield server
        finally:
            daemon.stop(seconds=40)

    @property
    def _cleared(self) -> dict[str, str]:
        """The environment, with what must not be inherited made empty."""
        return dict.fromkeys((name for name in os.environ if name.startswith(PREFIX)), "") | self.env


class Server:
    """A running server."""

    def __init__(self, site: Site, daemon: Daemon) -> None:
        self.site = site
        self._daemon = daemon
        daemon.wait_until(lambda: "listening on" in daemon.log.read_text())
        found = re.search(r"listening on 127\.0\.0\.1:(\d+)", daemon.log.read_text())
        assert found, daemon.log.read_text()
        self.port = int(found[1])
        self.url = f"http://127.0.0.1:{self.port}"

    def get(self, path: str, *, method: str = "GET", **headers: str) -> Reply:
        """Ask for `/v2/PATH` over a connection of its own; header names have underscores for hyphens."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        try:
            named = {name.replace("_", "-"): value for name, value in headers.items()}
            connection.request(method, f"/v2/{path}", headers=named)
            with connection.getresponse() as answer:
                return Reply(answer.status, answer.headers.get("Cache-Status", ""), answer.read())
        finally:
            connection.close()

    def blob(self, content: Content, repository: str = "library/alpine") -> Reply:
        """Pull a blob, and wait until it is kept."""
        reply = self.get(f"{repository}/blobs/{content.digest}")
        assert reply.body == content.raw
        self.until(self.site.file(content.digest).exists)
        return reply

    def until(self, holds: Callable[[], bool]) -> None:
        """Wait for what the server does on its own; an error with its log when it doesn't."""
        self._daemon.wait_until(holds)

    def log(self) -> str:
        """Everything it has logged so far."""
        return self._daemon.log.read_text()

    def kill(self) -> None:
        """End all of it as a crash would."""
        self._daemon.kill()


@contextmanager
def outage(upstream: RemoteUpstream) -> Iterator[None]:
    """The upstream can't be reached."""
    upstream.stop()
    try:
        yield
    finally:
        upstream.start()
