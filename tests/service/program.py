"""The installed program, serving: started, watched by its log, signalled, and ended for sure."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import re
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from tests.kit.processes import Daemon, Local
from tests.kit.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

PROGRAM = str(Path(sys.executable).with_name("registry-proxy"))
_LISTENING = re.compile(r"listening on (?:127\.0\.0\.1:|\('127\.0\.0\.1', )(\d+)")


class Program:
    """`registry-proxy serve` with a configuration, on an ephemeral port; killed at the end of the block."""

    def __init__(
        self,
        folder: Path,
        settings: Mapping[str, Mapping[str, object]],
        *,
        container: bool = False,
        wrapper: Sequence[str] = (),
    ) -> None:
        # As in a container: its first process, which inherits all orphans.
        self._prefix = ["unshare", "--pid", "--fork", "--kill-child", "--"] if container else []
        # A program that becomes the server.
        self._wrapper = wrapper
        self.folder = folder
        self.store = folder / "store"
        self.config = folder / "registry-proxy.toml"
        self.log = folder / "program.log"
        self.configure(settings)

    def configure(self, settings: Mapping[str, Mapping[str, object]]) -> None:
        """Write the configuration file; what isn't set is what suits tests."""
        defaults: dict[str, dict[str, object]] = {
            "server": {"listen": ["127.0.0.1:0"], "workers": 2},
            "storage": {"path": str(self.store)},
        }
        sections = {
            name: {**defaults.get(name, {}), **settings.get(name, {})} for name in {**defaults, **settings}
        }
        lines = [
            line
            for name, values in sections.items()
            for line in (f"[{name}]", *(f"{key} = {json.dumps(value)}" for key, value in values.items()))
        ]
        self.config.write_text("\n".join(lines) + "\n")

    def start(self) -> None:
        """Start it; returns once it listens."""
        self.log.write_bytes(b"")
        env = {"HOME": str(self.folder)}
        self.daemon = Daemon(
            Local(),
            [*self._prefix, *self._wrapper, PROGRAM, "serve", "--config", str(self.config)],
            self.log,
            env=env,
        )
        self.daemon.wait_until(lambda: _LISTENING.search(self.said()) is not None)
        found = _LISTENING.search(self.said())
        assert found is not None
        self.port = int(found[1])
        started = self.daemon.process.pid
        self.supervisor = _children(started)[0] if self._prefix else started
        self.wait_until(lambda: len(self.workers()) == 2)

    def said(self) -> str:
        """The log so far."""
        return self.log.read_text(errors="replace")

    def workers(self) -> list[int]:
        """The processes of the workers."""
        return _children(self.supervisor)

    def signal(self, number: signal.Signals) -> None:
        """To the supervisor."""
        os.kill(self.supervisor, number)

    def wait_until(self, holds: Callable[[], bool]) -> None:
        """Wait for a condition, also after the end of the program. Raise TimeoutError with the log if it is late."""
        wait_until(holds, fail_with=lambda: self.said()[-5000:])

    def wait_for_log(self, text: str, count: int = 1) -> None:
        """Wait until the log has said it so often."""
        self.wait_until(lambda: self.said().count(text) >= count)

    def connect(self) -> Client:
        """A connection to one of the workers, whichever the kernel chooses."""
        return Client(self.port)

    def refuses(self) -> bool:
        """Whether nobody listens any more."""
        try:
            self.connect().close()
        except ConnectionRefusedError:
            return True
        return False

    def get(self, target: str) -> tuple[int, bytes]:
        """One request on a connection of its own."""
        with self.connect() as client:
            return client.get(target)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        for process in (self.supervisor, *self.workers()):
            with contextlib.suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)
        self.daemon.kill()
        if "report this" in self.said() or "Traceback" in self.said():
            raise AssertionError(f"it tells of a defect:\n{self.said()}")


def _children(process: int) -> list[int]:
    with contextlib.suppress(OSError):
        return [int(each) for each in Path(f"/proc/{process}/task/{process}/children").read_text().split()]
    return []


class Client(http.client.HTTPConnection):
    """A connection that is opened at once, and knows its own port: which worker has it can so be found out."""

    def __init__(self, port: int) -> None:
        super().__init__("127.0.0.1", port, timeout=30)
        self.connect()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def get(self, target: str) -> tuple[int, bytes]:
        """One request; its status and whole body."""
        self.request("GET", target)
        response = self.getresponse()
        return response.status, response.read()

    def begin(self, target: str) -> http.client.HTTPResponse:
        """One request; its answer, of which nothing is read yet."""
        self.request("GET", target)
        return self.getresponse()

    def worker(self, workers: list[int]) -> int:
        """Which of the processes has the other end of this connection."""
        assert self.sock is not None
        own = self.sock.getsockname()[1]
        inode = _inode(own)
        for process in workers:
            for descriptor in Path(f"/proc/{process}/fd").iterdir():
                with contextlib.suppress(OSError):
                    if str(descriptor.readlink()) == f"socket:[{inode}]":
                        return process
        raise AssertionError("no worker has this connection")


def _inode(client_port: int) -> str:
    """The server's socket of a connection, by the client's port (proc(5), /proc/net/tcp)."""
    for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        fields: list[Any] = line.split()
        if int(fields[2].partition(":")[2], 16) == client_port and fields[3] == "01":
            return str(fields[9])
    raise AssertionError("there is no such connection")
