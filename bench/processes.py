"""Programs started for a run, and the processor time and memory of their process trees (proc(5))."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import time
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

_READY_SECONDS = 20.0
_STOP_SECONDS = 5.0
_QUIET_SECONDS = 0.5
_QUIET_DEADLINE = 120.0
_TICK = 1 / os.sysconf("SC_CLK_TCK")


class BenchError(Exception):
    """A run that cannot continue. The message gives the cause and a fix."""


@dataclass(frozen=True, slots=True)
class Memory:
    """Memory of a process tree in bytes: the largest process, the total (shared pages count once), the largest peak."""

    largest_rss: int
    total_pss: int
    largest_peak: int


@dataclass(frozen=True, slots=True)
class Usage:
    """A point in time, with the processor seconds of the machine, and of this process with its descendants."""

    time: float
    machine: float
    own: float

    def others_share(self, since: Usage) -> float:
        """Return the share of the machine, 0 to 1, that other programs have used since then."""
        others = (self.machine - since.machine) - (self.own - since.own)
        return max(0.0, others) / ((self.time - since.time) * (os.cpu_count() or 1))


@contextmanager
def running(
    command: list[str], port: int, log: Path, *, core: int | None = None, directory: Path | None = None
) -> Iterator[int]:
    """Run `command` until the block ends and yield its process id once it listens on `port`.

    The command is pinned to `core` and runs in `directory`, if they are set. It runs in a new session, so that Ctrl-C
    reaches only the benchmark, which then stops the whole session. Raise BenchError with the end of the output if the
    command does not start.
    """
    pinned = command if core is None else ["taskset", "--cpu-list", str(core), *command]
    with log.open("wb") as output:
        process = subprocess.Popen(
            pinned,
            cwd=directory,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    try:
        _wait_for_port(process, port, log)
        yield process.pid
    finally:
        _stop(process)


def end_of(log: Path) -> str:
    """Return the last lines of a program's output, for an error message."""
    return f"The end of the output:\n{log.read_text(errors='replace')[-2000:].strip()}"


def free_port() -> int:
    """Return a free TCP port of 127.0.0.1."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


def processor_seconds(pid: int) -> float:
    """Return the user and system time of the tree below `pid`, with ended children (proc(5), stat fields 14 to 17)."""
    return sum(_ticks(member) for member in _tree(pid)) * _TICK


def usage() -> Usage:
    """Return the processor time of the machine and of this process up to now (proc(5), /proc/stat)."""
    user, nice, system, _idle, _iowait, irq, softirq = map(int, _read(Path("/proc/stat")).split()[1:8])
    machine = (user + nice + system + irq + softirq) * _TICK
    return Usage(time.monotonic(), machine, processor_seconds(os.getpid()))


def wait_until_quiet(pid: int) -> float:
    """Wait until the tree below `pid` is idle. Return its processor seconds."""
    deadline = time.monotonic() + _QUIET_DEADLINE
    before = processor_seconds(pid)
    while time.monotonic() < deadline:
        time.sleep(_QUIET_SECONDS)
        after = processor_seconds(pid)
        if after - before <= 2 * _TICK:
            return after
        before = after
    raise BenchError(
        f"the server is still busy {_QUIET_DEADLINE:.0f} s after its last request; check its log"
    )


def memory(pid: int) -> Memory:
    """Return the memory of the tree below `pid`."""
    members = _tree(pid)
    return Memory(
        largest_rss=max(_kilobytes(member, "status", "VmRSS") for member in members) << 10,
        total_pss=sum(_kilobytes(member, "smaps_rollup", "Pss") for member in members) << 10,
        largest_peak=max(_kilobytes(member, "status", "VmHWM") for member in members) << 10,
    )


def _wait_for_port(process: subprocess.Popen[bytes], port: int, log: Path) -> None:
    deadline = time.monotonic() + _READY_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            time.sleep(0.02)
        else:
            return
    reason = "does not listen" if process.poll() is None else f"ended with status {process.returncode}"
    raise BenchError(f"{process.args!r}: {reason}\n{end_of(log)}")


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        with suppress(subprocess.TimeoutExpired):
            process.wait(_STOP_SECONDS)
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _tree(pid: int) -> list[int]:
    members = [pid]
    for member in members:  # the list grows during the iteration
        for children in Path(f"/proc/{member}/task").glob("*/children"):
            members.extend(int(child) for child in _read(children).split())
    return members


def _ticks(pid: int) -> int:
    # Field 2, the name, may contain spaces and brackets: split after the last bracket.
    fields = _read(Path(f"/proc/{pid}/stat")).rpartition(")")[2].split()
    return sum(int(field) for field in fields[11:15])


def _kilobytes(pid: int, file: str, name: str) -> int:
    for line in _read(Path(f"/proc/{pid}/{file}")).splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1])
    return 0


def _read(file: Path) -> str:
    try:
        return file.read_text()
    except (FileNotFoundError, ProcessLookupError):  # the process or thread has just ended
        return ""
