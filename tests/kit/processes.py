"""Starting programs, on this machine or in a sealed network, and ending them for sure."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import IO, TYPE_CHECKING, Protocol, Self

from tests.kit.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

ROOT = Path(__file__).parents[2]
_PROXIES = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY")
_TRUST = ("SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")


class Runner(Protocol):
    """Where programs run: `Local`, or a `SealedNetwork`."""

    def command(self, arguments: Sequence[str]) -> list[str]:
        """Return the command line that runs `arguments` there."""


class Local:
    """Runs programs on this machine as it is."""

    def command(self, arguments: Sequence[str]) -> list[str]:
        """Return the command line unchanged."""
        return list(arguments)


class CommandError(AssertionError):
    """A program ended with another status than zero; its output is in the text."""


def environment(extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return this process's environment without proxies and trust settings, with `extra` on top."""
    unwanted = {*_PROXIES, *map(str.lower, _PROXIES), *_TRUST}
    return {name: value for name, value in os.environ.items() if name not in unwanted} | dict(extra or {})


def run(
    runner: Runner,
    arguments: Sequence[str],
    *,
    env: Mapping[str, str] | None = None,
    text: str | None = None,
    seconds: float = 120,
) -> str:
    """Run a program with `text` as its input to its end; return what it wrote to its output.

    Raises CommandError with everything it wrote when it fails, subprocess.TimeoutExpired after `seconds`.
    """
    done = subprocess.run(
        runner.command(arguments),
        env=environment(env),
        input=(text or "").encode(),
        capture_output=True,
        timeout=seconds,
        check=False,
    )
    if done.returncode:
        said = (done.stdout + done.stderr).decode(errors="replace")
        raise CommandError(f"`{' '.join(arguments)}` ended with {done.returncode}:\n{said}")
    return done.stdout.decode()


def python(*arguments: str) -> list[str]:
    """Return the command line of this very Python."""
    return [sys.executable, *arguments]


class Daemon:
    """A program that runs until stopped, with its output in a file."""

    def __init__(
        self,
        runner: Runner,
        arguments: Sequence[str],
        log: Path,
        *,
        env: Mapping[str, str] | None = None,
        stdin: int | IO[bytes] = subprocess.DEVNULL,
    ) -> None:
        self.log = log
        with log.open("ab") as output:
            self.process = subprocess.Popen(
                runner.command(arguments),
                env=environment(env),
                stdin=stdin,
                stdout=output,
                stderr=subprocess.STDOUT,
                cwd=ROOT,
                start_new_session=True,
            )

    @classmethod
    def started(
        cls,
        runner: Runner,
        arguments: Sequence[str],
        log: Path,
        ready: Callable[[], bool],
        *,
        env: Mapping[str, str] | None = None,
        stdin: int | IO[bytes] = subprocess.DEVNULL,
    ) -> Self:
        """Start a program and wait until it is ready; kill it if it does not become so."""
        daemon = cls(runner, arguments, log, env=env, stdin=stdin)
        try:
            daemon.wait_until(ready)
        except BaseException:
            daemon.kill()
            raise
        return daemon

    def wait_until(self, holds: Callable[[], bool]) -> None:
        """Wait until a condition holds. Raise CommandError with the log if the program ends or is late."""

        def checked() -> bool:
            if holds():
                return True
            if self.process.poll() is not None:
                raise CommandError(self._report(f"ended with {self.process.returncode}"))
            return False

        try:
            wait_until(checked)
        except TimeoutError:
            raise CommandError(self._report("is late")) from None

    def kill(self) -> None:
        """End the program at once, as a crash would, with all of its process group."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()

    def stop(self, *, seconds: float = 10) -> int:
        """Ask the program to end, and make it when it does not; return its exit status."""
        self.process.terminate()
        try:
            self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            self.kill()
        return self.process.wait()

    def _report(self, state: str) -> str:
        return f"`{self.process.args!r}` {state}:\n{self.log.read_text(errors='replace')[-8000:]}"


def end_all(find: Callable[[], Iterable[int]]) -> None:
    """Kill the processes that `find` finds, until it finds no more."""
    while found := list(find()):
        for process in found:
            with contextlib.suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)
        time.sleep(0.01)


def end_processes_naming(folder: str) -> None:
    """Kill every process that has the name of a temporary folder in its command line."""
    end_all(lambda: _processes_naming(folder.encode()))


def _processes_naming(text: bytes) -> Iterator[int]:
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if int(process.name) != os.getpid() and text in (process / "cmdline").read_bytes():
                yield int(process.name)


@contextlib.contextmanager
def running(daemon: Daemon) -> Iterator[Daemon]:
    """Stop a daemon at the end of the block."""
    try:
        yield daemon
    finally:
        daemon.stop()
