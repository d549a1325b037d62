"""A system with a running systemd: a container of systemd-nspawn that shares this machine's /usr, and nothing else.

It has a user database and a file system of its own, so that a service can be installed into it for real. Its network
is a sealed one, in which registries are simulated.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Self

from tests.kit.processes import ROOT, CommandError, Daemon, environment

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

    from tests.kit.certificates import Authority
    from tests.kit.sealed import SealedNetwork

PROGRAM = Path(sys.executable).with_name("registry-proxy")
_FOLDERS = (
    "usr",
    "var/tmp",
    "var/setup",
    "run",
    "tmp",
    "proc",
    "sys",
    "dev",
    "root",
    "opt",
    "home",
    "srv",
    "etc/ssl/certs",
)
_FILES = {
    "etc/passwd": "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534::/nonexistent:/usr/sbin/nologin\n",
    "etc/group": "root:x:0:\nshadow:x:42:\nnogroup:x:65534:\n",
    "etc/nsswitch.conf": "passwd: files\ngroup: files\nhosts: files\n",
    # Without it systemd takes this for its first boot, and enables all services that it finds.
    "etc/machine-id": "b0a9fdb1c5f14d5d9a1f7f8a3b1c2d3e\n",
    "etc/os-release": "ID=test\n",
}


def make_root(root: Path) -> None:
    """The folders of a system without a /usr of its own."""
    for name in _FOLDERS:
        (root / name).mkdir(parents=True)
    for name in ("bin", "sbin", "lib", "lib64"):
        (root / name).symlink_to(f"usr/{name}")
    for name, text in _FILES.items():
        (root / name).write_text(text)


class BootedSystem:
    """Boots within a `with` block."""

    def __init__(self, network: SealedNetwork, authority: Authority, folder: Path) -> None:
        self.network = network
        self.root = folder / "system"
        self._log = folder / "boot.log"
        make_root(self.root)
        lines = [f"{address} {host}\n" for host, address in network.addresses.items()]
        self.write("/etc/hosts", "127.0.0.1 localhost\n" + "".join(lines))
        self.write("/etc/ssl/certs/ca-certificates.crt", authority.pem.decode())

    def __enter__(self) -> Self:
        # The system itself, and this checkout with its environment and the Python of that.
        binds = [f"--bind-ro={place}" for place in ("/usr", ROOT, sys.prefix, sys.base_prefix)]
        # The link to the program is made there, in memory.
        binds.append("--overlay=/usr/local/bin::/usr/local/bin")
        command = ["systemd-nspawn", "--quiet", f"--directory={self.root}", *binds, "--boot"]
        # There is no systemd outside to register with.
        command += ["--register=no", "--keep-unit", "--console=pipe", "--resolv-conf=off"]
        self._daemon = Daemon(self.network, command, self._log)
        try:
            self._daemon.wait_until(self._is_up)
        except BaseException:
            self._daemon.kill()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, problem: BaseException | None, trace: TracebackType | None
    ) -> None:
        # The first one halts the system in order, the second one at once.
        self._daemon.process.terminate()
        self._daemon.stop()

    def program(self, *arguments: str | Path, code: int = 0) -> subprocess.CompletedProcess[str]:
        """Run `registry-proxy` of this checkout inside, as root, in the folder /var/setup."""
        return self.run("env", "--chdir=/var/setup", PROGRAM, *arguments, code=code)

    def run(self, *arguments: str | Path, code: int = 0) -> subprocess.CompletedProcess[str]:
        """Run a program inside, as root."""
        done = subprocess.run(
            [*self._enter(), *arguments],
            env=environment({"HOME": "/root", "PATH": "/usr/local/bin:/usr/bin:/usr/sbin"}),
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        if done.returncode != code:
            raise CommandError(f"{arguments} ended with {done.returncode}:\n{done.stdout}{done.stderr}")
        return done

    def terminal(self, *arguments: str) -> list[str]:
        """Return the command that runs a program inside, as root, for a terminal of the test."""
        return ["env", "HOME=/root", "PATH=/usr/local/bin:/usr/bin:/usr/sbin", *self._enter(), *arguments]

    def wait_until(self, condition: Callable[[], bool]) -> None:
        """Wait for what the system does on its own."""
        self._daemon.wait_until(condition)

    def write(self, path: str, text: str, *, mode: int = 0o644) -> Path:
        """Write a file inside."""
        file = self.path(path)
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
        file.chmod(mode)
        return file

    def path(self, path: str) -> Path:
        """Where an absolute path of inside is seen from outside; what is in /run and /tmp isn't."""
        return self.root / path.lstrip("/")

    def files(self) -> dict[str, tuple[int, int]]:
        """Inode and time of all files that an installation could have changed, by path."""
        found = (path for name in ("etc", "opt", "srv", "var/lib") for path in self.path(name).rglob("*"))
        stats = {str(path.relative_to(self.root)): path.lstat() for path in found if path.is_file()}
        # The store changes while the service runs, and copies of the user database are kept when that changes.
        volatile = (
            "var/lib/systemd/",
            "var/lib/registry-proxy/",
            "etc/passwd",
            "etc/group",
            "etc/shadow",
            "etc/gshadow",
        )
        return {
            name: (stat.st_ino, stat.st_mtime_ns)
            for name, stat in stats.items()
            if not name.startswith(volatile)
        }

    def _enter(self) -> list[str]:
        namespaces = [f"--{each}" for each in ("mount", "uts", "ipc", "net", "pid", "root", "cgroup")]
        return ["nsenter", f"--target={self._init()}", *namespaces, "--wdns=/", "--"]

    def _init(self) -> int:
        nspawn = self._daemon.process.pid  # nsenter has become it
        return int(Path(f"/proc/{nspawn}/task/{nspawn}/children").read_text().split()[0])

    def _is_up(self) -> bool:
        try:
            self.run("systemctl", "is-system-running", "--wait")
        except (CommandError, IndexError):
            return False
        return True
