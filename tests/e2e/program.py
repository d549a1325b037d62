"""The program under test: `registry-proxy serve` in a sealed network, with next to nothing configured."""

from __future__ import annotations

import http.client
import json
import os
import signal
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from tests.kit.processes import Daemon, run

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

    from tests.kit.sealed import SealedNetwork

PROGRAM = Path(sys.executable).with_name("registry-proxy")
PREFIX = "REGISTRY_PROXY_"
# Where it listens unless told otherwise.
ADDRESS = ("127.0.0.1", 5000)
HOST = f"{ADDRESS[0]}:{ADDRESS[1]}"
URL = f"http://{HOST}"


@dataclass(frozen=True, slots=True)
class Answer:
    """An HTTP answer, read to its end."""

    status: int
    headers: http.client.HTTPMessage
    body: bytes = field(repr=False)

    @property
    def cache_status(self) -> str:
        """How the answer came about."""
        return self.headers["Cache-Status"]

    def json(self) -> Any:
        """The body's JSON."""
        return json.loads(self.body)


class RegistryProxy:
    """The server with two workers and a store of its own; runs within a `with` block.

    `settings` are environment variables without their prefix: `cache_tag_ttl="0s"`.
    """

    def __init__(self, network: SealedNetwork, folder: Path, **settings: str) -> None:
        wanted = {"storage_path": str(folder / "store"), "server_workers": "2"} | settings
        self.store = Path(wanted["storage_path"])
        self.log = folder / "registry-proxy.log"
        self._network = network
        inherited = dict.fromkeys((name for name in os.environ if name.startswith(PREFIX)), "")
        self._env = inherited | {PREFIX + name.upper(): value for name, value in wanted.items()}

    def start(self) -> None:
        """Start it, and wait until it answers."""
        command = [str(PROGRAM), "serve"]
        self._daemon = Daemon.started(self._network, command, self.log, self._answers, env=self._env)

    def stop(self) -> int:
        """Have it end in order; its exit status."""
        return self._daemon.stop(seconds=40)

    def kill(self) -> None:
        """Let all of its processes end as in a crash."""
        self._daemon.kill()

    def reload(self) -> None:
        """Have it read its configuration again."""
        self._daemon.process.send_signal(signal.SIGHUP)

    def output_of(self, *arguments: str) -> str:
        """Run another command with the server's configuration; return its standard output, whatever its exit code."""
        command = ["sh", "-c", '"$@" || true', "sh", str(PROGRAM), *arguments]
        return run(self._network, command, env=self._env)

    def workers(self) -> list[int]:
        """The processes that serve."""
        supervisor = self._daemon.process.pid
        return [
            int(each) for each in Path(f"/proc/{supervisor}/task/{supervisor}/children").read_text().split()
        ]

    def ingest(self, digest: str) -> Path:
        """The file of a fill that is not complete."""
        return self._network.path(f"{self.store}/ingest/{digest.partition(':')[2]}")

    def blob(self, digest: str) -> Path:
        """The file of content that is complete."""
        algorithm, _, encoded = digest.partition(":")
        return self._network.path(f"{self.store}/blobs/{algorithm}/{encoded[:2]}/{encoded}")

    def wait_until(self, condition: Callable[[], bool]) -> None:
        """Wait for what the server does on its own; an error with its log when it doesn't."""
        self._daemon.wait_until(condition)

    def get(self, path: str, *, method: str = "GET", **headers: str) -> Answer:
        """Ask for `/v2/PATH`; header names have underscores for hyphens."""
        connection = http.client.HTTPConnection(*ADDRESS)
        connection.sock = self._network.connect(ADDRESS)
        connection.sock.settimeout(60)
        try:
            named = {name.replace("_", "-"): value for name, value in headers.items()}
            connection.request(method, f"/v2/{path}", headers=named)
            with connection.getresponse() as answer:
                return Answer(answer.status, answer.headers, answer.read())
        finally:
            connection.close()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, problem: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.kill()

    def _answers(self) -> bool:
        try:
            return self.get("").status == 200
        except OSError:
            return False
