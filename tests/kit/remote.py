"""Upstreams in a process of their own, and the test's handles on them. Nothing here needs an event loop.

```python
with Simulators(["dockerhub"], tmp_path) as upstreams:
    hub = upstreams["dockerhub"]
    hub.push("library/alpine", images.image(), "latest")
    ...  # pull from hub.host
    assert hub.count("GET", "manifest") == 1
```
"""

from __future__ import annotations

import contextlib
import socket
import subprocess
from typing import TYPE_CHECKING, Self, TypeVar

import msgspec
from tests.kit import control
from tests.kit.journal import Request, agreeing
from tests.kit.processes import Daemon, Local, Runner, python
from tests.kit.waiting import TIMEOUT

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path
    from types import TracebackType

    from tests.kit.certificates import Authority
    from tests.kit.content import Pushable
    from tests.kit.faults import Fault
    from tests.kit.wire import Kind

_Result = TypeVar("_Result")


class RefusedError(AssertionError):
    """The simulator could not do what it was told."""


class RemoteUpstream:
    """One upstream in another process. The methods are those of `SimulatedUpstream`."""

    def __init__(self, name: str, path: Path) -> None:
        self.name = name
        self._path = path
        self.url = self._ask(control.Address(), str)

    @property
    def host(self) -> str:
        """Name or address and port of the registry, as in an image reference."""
        return self.url.partition("://")[2]

    @property
    def requests(self) -> list[Request]:
        """Every request so far."""
        return self._ask(control.Requests(), list[Request])

    def push(self, repository: str, pushed: Pushable, *tags: str) -> None:
        """Store an image, index or artifact."""
        manifests, blobs = tuple(pushed.manifests), tuple(pushed.blobs)
        self._tell(control.Push(repository, manifests, blobs, tags, pushed.manifest.digest))

    def admit(self, user: str, password: str, *, only_to: str = "") -> None:
        """Add a user; `only_to` names a repository that becomes private, readable to this user."""
        self._tell(control.Admit(user, password, only_to))

    def kill_tokens(self, *, status: int = 401, challenge: bool = True) -> None:
        """Let every token issued so far die early."""
        self._tell(control.KillTokens(status, challenge))

    def count(self, method: str | None = None, kind: Kind | None = None, reference: str | None = None) -> int:
        """Count requests."""
        return len(agreeing(self.requests, method, kind, reference))

    def transfers(self, digest: str) -> int:
        """Count the transfers of a blob that began."""
        found = agreeing(self.requests, "GET", "blob", digest)
        return sum(each.is_transfer for each in found)

    def wait(
        self,
        method: str | None = None,
        kind: Kind | None = None,
        reference: str | None = None,
        *,
        requests: int = 1,
        sent: int = 0,
        seconds: float = TIMEOUT,
    ) -> None:
        """Wait until so many requests arrived, and together sent so many bytes. Raises RefusedError when late."""
        self._tell(control.Wait(method, kind, reference, requests, sent, seconds))

    def arm(
        self,
        kind: Kind,
        *faults: Fault,
        method: str | None = None,
        repository: str | None = None,
        reference: str | None = None,
        times: int | None = 1,
    ) -> RemoteArmed:
        """Arm faults; see `FaultBook.arm`."""
        order = control.Arm(kind, faults, method, repository, reference, times)
        return RemoteArmed(self, self._ask(order, int))

    @contextlib.contextmanager
    def gate(
        self, kind: Kind, *, after: int = 0, method: str | None = None, reference: str | None = None
    ) -> Iterator[RemoteArmed]:
        """Hold every matching transfer at `after` bytes until the block is left or the gate released."""
        gate = RemoteArmed(self, self._ask(control.Gate(kind, after, method, reference), int))
        try:
            yield gate
        finally:
            gate.release()

    def set_pace(self, bytes_per_second: float) -> None:
        """Limit the speed of each body; 0 is no limit."""
        self._tell(control.Pace(bytes_per_second))

    def clear(self) -> None:
        """Disarm all faults and forget the log."""
        self._tell(control.Clear())

    def stop(self) -> None:
        """Cut all connections and refuse new ones."""
        self._tell(control.Stop())

    def start(self) -> None:
        """Listen again."""
        self._tell(control.Start())

    def release(self, number: int) -> None:
        """Let go what an arming holds, and disarm it."""
        self._tell(control.Release(number))

    def wait_reached(self, number: int, seconds: float) -> None:
        """Wait until a request arrives at an armed Hang or Stall."""
        self._tell(control.Reached(number, seconds))

    def _tell(self, command: control.Command) -> None:
        self._ask(command, type(None))

    def _ask(self, command: control.Command, kind: type[_Result]) -> _Result:
        with socket.socket(socket.AF_UNIX) as connection:
            connection.connect(str(self._path))
            connection.sendall(msgspec.msgpack.encode(control.Order(self.name, command)))
            connection.shutdown(socket.SHUT_WR)
            answer = b"".join(iter(lambda: connection.recv(1 << 20), b""))
        outcome = msgspec.msgpack.decode(answer, type=control.Outcome)
        if outcome.problem:
            raise RefusedError(f"{self.name}: {type(command).__name__}: {outcome.problem}")
        return msgspec.msgpack.decode(outcome.result, type=kind)


class RemoteArmed:
    """Faults in wait in another process."""

    def __init__(self, upstream: RemoteUpstream, number: int) -> None:
        self._upstream = upstream
        self._number = number

    def release(self) -> None:
        """Let every request that this holds go on, and disarm."""
        self._upstream.release(self._number)

    def wait_reached(self, seconds: float = TIMEOUT) -> None:
        """Wait until a request is held. Raises RefusedError when none is in time."""
        self._upstream.wait_reached(self._number, seconds)


class Simulators:
    """Runs `python -m tests.kit.serve` and ends it; a mapping of profile names to upstreams.

    With an `authority` they serve TLS; with `real_names` on the addresses that the registries' names
    resolve to, port 443, as it can be in a sealed network.
    """

    def __init__(
        self,
        profiles: Sequence[str],
        folder: Path,
        *,
        runner: Runner | None = None,
        authority: Authority | None = None,
        real_names: bool = False,
    ) -> None:
        self._profiles = profiles
        self._socket = folder / "simulators.sock"
        self._log = folder / "simulators.log"
        self._runner = runner or Local()
        self._arguments = ["-m", "tests.kit.serve", "--control", str(self._socket), *profiles]
        if authority is not None:
            authority.save(folder)
            self._arguments += ["--authority", str(folder)]
        if real_names:
            self._arguments.append("--real-names")
        self._upstreams: dict[str, RemoteUpstream] = {}

    def __getitem__(self, profile: str) -> RemoteUpstream:
        return self._upstreams[profile]

    def __enter__(self) -> Self:
        command = python(*self._arguments)
        self._daemon = Daemon.started(
            self._runner, command, self._log, self._socket.exists, stdin=subprocess.PIPE
        )
        self._upstreams = {name: RemoteUpstream(name, self._socket) for name in self._profiles}
        return self

    def __exit__(
        self, kind: type[BaseException] | None, problem: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._daemon.process.stdin is not None
        self._daemon.process.stdin.close()
        self._daemon.stop()
