"""A system with a running systemd: a container of systemd-nspawn that shares this machine's /usr, and nothing else.

It has a user database, a network and a file system of its own, so that a service can be installed into it for real.
"""

from __future__ import annotations

import http.client
import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Self

from tests.kit.processes import ROOT, CommandError, Daemon, Local, environment

if TYPE_CHECKING:
    from collections.abc import Mapping
    from types import TracebackType

PROGRAM = Path(sys.executable).with_name("registry-proxy")
_FILES = {
    "etc/passwd": "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534::/nonexistent:/usr/sbin/nologin\n",
    "etc/group": "root:x:0:\nshadow:x:42:\nnogroup:x:65534:\n",
    "etc/nsswitch.conf": "passwd: files\ngroup: files\nhosts: files\n",
    "etc/hosts": "127.0.0.1 localhost\n",
    # Without it systemd takes this for its first boot, and enables all services that it finds.
    "etc/machine-id": "b0a9fdb1c5f14d5d9a1f7f8a3b1c2d3e\n",
    "etc/os-release": "ID=test\n",
}


class BootedSystem:
    """Boots within a `with` block."""

    def __init__(self, folder: Path) -> None:
        self.root = folder / "system"
        self._log = folder / "boot.log"
        for name in ("usr", "var/tmp", "run", "tmp", "proc", "sys", "dev", "root", "opt", "home", "etc"):
            (self.root / name).mkdir(parents=True)
        for name in ("bin", "sbin", "lib", "lib64"):
            (self.root / name).symlink_to(f"usr/{name}")
        for name, text in _FILES.items():
            (self.root / name).write_text(text)

    def __enter__(self) -> Self:
        # The system itself, and this checkout with its environment and the Python of that.
        shared = ["/usr", ROOT, sys.prefix, sys.base_prefix]
        binds = [f"--bind-ro={place}" for place in shared]
        command = ["systemd-nspawn", "--quiet", f"--directory={self.root}", *binds, "--private-network", "--boot"]
        # There is no systemd outside to register with.
        command += ["--register=no", "--keep-unit", "--console=pipe"]
        self._daemon = Daemon(Local(), command, self._log)
        try:
            self._daemon.wait_until(self._is_up)
        except BaseException:
            self._daemon.kill()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, problem: BaseException | None, trace: TracebackType | None
    ) -> None:
        # SIGTERM halts the system in order; a second one does so at once.
        self._daemon.process.terminate()
        self._daemon.stop()

    def run(self, *arguments: str | Path, code: int = 0, **environ: str) -> subprocess.CompletedProcess[str]:
        """Run a program inside, as root."""
        done = subprocess.run(
            [*self._enter(), *arguments],
            env=environment({"HOME": "/root", "PATH": "/usr/bin:/usr/sbin", **environ}),
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        if done.returncode != code:
            raise CommandError(f"{arguments} ended with {done.returncode}:\n{done.stdout}{done.stderr}")
        return done

    def _enter(self) -> list[str]:
        namespaces = [f"--{each}" for each in ("mount", "uts", "ipc", "net", "pid", "root", "cgroup")]
        return ["nsenter", f"--target={self._init()}", *namespaces, "--wdns=/", "--"]

    def _init(self) -> int:
        nspawn = self._daemon.process.pid
        children = Path(f"/proc/{nspawn}/task/{nspawn}/children").read_text().split()
        return int(children[0])

    def _is_up(self) -> bool:
        try:
            self.run("systemctl", "is-system-running", "--wait")
        except (CommandError, IndexError):
            return False
        return True
