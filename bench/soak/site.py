"""The site of a soak: the simulated registries, the server, and a small separate disk for the store."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Self

from tests.kit.processes import Daemon, Local
from tests.kit.remote import Simulators

from bench.processes import free_port
from bench.soak.images import REGISTRIES

if TYPE_CHECKING:
    from types import TracebackType

    from tests.kit.remote import RemoteUpstream

    from bench.soak.images import Item

MIB = 1 << 20
BUDGET = 96 * MIB
DISK = 160 * MIB
WORKERS = 2
TAG_TTL = 2.0  # seconds
GRACE = 10.0  # seconds
_OWN_MOUNTS = "SOAK_HAS_ITS_OWN_MOUNTS"
_PROGRAM = Path(sys.executable).with_name("registry-proxy")


def enter_own_mounts() -> None:
    """Restart this process in a new mount namespace. The kernel removes the small disk when the process ends."""
    if _OWN_MOUNTS in os.environ:
        return
    rights = [] if os.geteuid() == 0 else ["--map-root-user"]
    command = [sys.executable, "-m", "bench.soak", *sys.argv[1:]]
    os.execvpe("unshare", ["unshare", *rights, "--mount", *command], os.environ | {_OWN_MOUNTS: "1"})


class Site:
    """The registries, the server and the disk, for the duration of a block."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.store = directory / "disk" / "store"
        self.log = directory / "registry-proxy.log"
        self.port = free_port()
        self.is_full = False
        self._ballast = directory / "disk" / "ballast"
        self._config = directory / "registry-proxy.toml"
        self._simulators = Simulators(list(REGISTRIES), directory)

    def __enter__(self) -> Self:
        disk = self.directory / "disk"
        disk.mkdir()
        subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={DISK}", "tmpfs", str(disk)], check=True)
        self._simulators.__enter__()
        self._write_config()
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, problem: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.kill()
        self._simulators.__exit__(kind, problem, trace)
        subprocess.run(["umount", "--lazy", str(self.directory / "disk")], check=False)

    # Registries

    def upstream(self, profile: str) -> RemoteUpstream:
        """Return the registry of a profile."""
        return self._simulators[profile]

    @property
    def upstreams(self) -> list[RemoteUpstream]:
        """The registries."""
        return [self._simulators[profile] for profile in REGISTRIES]

    def push(self, item: Item) -> None:
        """Push the current version to its registry."""
        self.upstream(item.profile).push(item.repository, item.current, "latest")

    # The server

    def start(self) -> None:
        """Start the server, and wait until it listens."""
        self._daemon = Daemon(Local(), [str(_PROGRAM), "serve", "--config", str(self._config)], self.log)
        self.wait_for_workers()

    def wait_for_workers(self) -> None:
        """Wait until all workers run and the server listens."""
        self._daemon.wait_until(lambda: len(self.workers()) == WORKERS and self._listens())

    def kill(self) -> None:
        """Kill all processes of the server at once."""
        self._daemon.kill()

    def stop(self) -> int:
        """Stop the server gracefully. Return its exit code."""
        return self._daemon.stop(seconds=GRACE + 15)

    def reload(self) -> None:
        """Send SIGHUP to the server, so that it reloads its configuration."""
        self._daemon.process.send_signal(signal.SIGHUP)

    def workers(self) -> list[int]:
        """Return the process ids of the workers."""
        supervisor = self._daemon.process.pid
        try:
            children = Path(f"/proc/{supervisor}/task/{supervisor}/children").read_text()
        except FileNotFoundError:
            return []
        return [int(each) for each in children.split()]

    def verify(self) -> str:
        """Return the JSON output of `registry-proxy verify`."""
        command = [str(_PROGRAM), "verify", "--json", "--config", str(self._config)]
        return subprocess.run(command, capture_output=True, text=True, check=False).stdout

    def _listens(self) -> bool:
        listeners = Path("/proc/net/tcp").read_text()
        return f"0100007F:{self.port:04X} 00000000:0000 0A" in listeners

    # The disk

    def fill_disk(self) -> None:
        """Fill the disk to the last byte."""
        with self._ballast.open("ab", buffering=0) as file:
            piece = bytes(64 << 10)
            try:
                while True:
                    file.write(piece)
            except OSError:
                return

    def relieve_disk(self) -> None:
        """Free the space that `fill_disk` took."""
        self._ballast.unlink(missing_ok=True)

    def _write_config(self) -> None:
        tables = "".join(
            f'[upstreams.{profile}]\nurl = "{self.upstream(profile).url}"\n' for profile in REGISTRIES
        )
        self._config.write_text(f"""\
[server]
listen = ["127.0.0.1:{self.port}"]
workers = {WORKERS}
grace_period = "{GRACE:g}s"
[storage]
path = "{self.store}"
max_size = {BUDGET}
[cache]
tag_ttl = "{TAG_TTL:g}s"
[upstreams.dockerhub]
enabled = false
{tables}""")
