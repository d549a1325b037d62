"""A network without a way out, in which the registries' real names lead to loopback. Needs root.

Programs started in it see only `lo`, an empty /run, and a copy of /etc, in which the host names and the
trusted authorities are the test's own, and which they may change. All of it is gone when the block ends;
everything else of the machine is as it is.
"""

from __future__ import annotations

import contextlib
import ctypes
import ipaddress
import os
import socket
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Self

from tests.kit.processes import Local, end_all, environment, run
from tests.kit.profiles import ALL

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from types import TracebackType

    from tests.kit.certificates import Authority

_CLONE_NEWNET = 0x40000000  # sched.h; os.setns came with Python 3.12

# Standard input is a pipe from the test: when the test ends, however it ends, `cat` does too.
_HOLD = """set -e
ip link set lo up
mount -t tmpfs tmpfs "$1/etc"
cp -a /etc/. "$1/etc"
rm -rf "$1/etc/ssl/certs"
cp -a --remove-destination "$1/own/." "$1/etc"
mount --bind "$1/etc" /etc
mount -t tmpfs tmpfs /run
echo ready
cat >/dev/null
exit 0
"""


def registry_addresses() -> dict[str, str]:
    """Return a loopback address for every host that some profile names."""
    hosts = dict.fromkeys(
        host.partition(":")[0]
        for each in ALL
        for host in (each.registry_host, each.token_host, each.storage_host, each.backend_host)
        if host
    )
    first = ipaddress.IPv4Address("127.10.0.1")
    return {host: str(first + number) for number, host in enumerate(hosts)}


class SealedNetwork:
    """A network and mount namespace; a `Runner` of programs in it.

    `names` are further host names and their loopback addresses.
    """

    def __init__(self, folder: Path, authority: Authority, names: Mapping[str, str] | None = None) -> None:
        self._folder = folder / "sealed"
        self.authority = authority
        self.addresses = registry_addresses() | dict(names or {})

    def command(self, arguments: Sequence[str]) -> list[str]:
        """Return the command line that runs `arguments` in here, in the current folder."""
        enter = ["nsenter", f"--target={self._holder.pid}", "--net", "--mount", f"--wdns={Path.cwd()}", "--"]
        return [*enter, *arguments]

    def connect(self, address: tuple[str, int]) -> socket.socket:
        """Connect from out here to a server in here. Raises OSError."""
        with ThreadPoolExecutor(1) as threads:  # a thread is in the network, and a socket stays in it
            return threads.submit(self._connect, address).result()

    def path(self, path: str) -> Path:
        """Return where an absolute path of in here is seen from outside."""
        return Path(f"/proc/{self._holder.pid}/root{path}")

    def __enter__(self) -> Self:
        self._prepare()
        self._holder = subprocess.Popen(
            ["unshare", "--net", "--mount", "sh", "-c", _HOLD, "sh", str(self._folder)],
            env=environment(),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            start_new_session=True,  # Ctrl-C is for the test, which then ends this in order
        )
        assert self._holder.stdout is not None
        if self._holder.stdout.readline() != b"ready\n":
            self._leave()
            raise OSError("cannot make a sealed network: `unshare --net --mount` needs root")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, problem: BaseException | None, trace: TracebackType | None
    ) -> None:
        end_all(self._inhabitants)
        self._leave()

    def _connect(self, address: tuple[str, int]) -> socket.socket:
        with Path(f"/proc/{self._holder.pid}/ns/net").open("rb") as namespace:
            if ctypes.CDLL(None, use_errno=True).setns(namespace.fileno(), _CLONE_NEWNET):
                raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
        return socket.create_connection(address)

    def _prepare(self) -> None:
        (self._folder / "etc").mkdir(parents=True)
        own = self._folder / "own"
        certificates = own / "ssl" / "certs"
        certificates.mkdir(parents=True)
        for name in ("ca-certificates.crt", "test.pem"):
            (certificates / name).write_bytes(self.authority.pem)
        run(Local(), ["openssl", "rehash", str(certificates)])
        lines = [f"{address} {host}\n" for host, address in self.addresses.items()]
        (own / "hosts").write_text("127.0.0.1 localhost\n::1 localhost\n" + "".join(lines))
        (own / "resolv.conf").write_text("nameserver 127.0.0.1\noptions timeout:1 attempts:1\n")

    def _leave(self) -> None:
        assert self._holder.stdin is not None
        assert self._holder.stdout is not None
        self._holder.stdin.close()
        self._holder.stdout.close()
        self._holder.wait()

    def _inhabitants(self) -> Iterator[int]:
        """Find every process in this network but the one that holds it, daemons of daemons too."""
        inside = Path(f"/proc/{self._holder.pid}/ns/net").readlink()
        for process in Path("/proc").iterdir():
            if not process.name.isdecimal() or _is_or_is_child_of(int(process.name), self._holder.pid):
                continue
            with contextlib.suppress(OSError):
                if (process / "ns" / "net").readlink() == inside:
                    yield int(process.name)


def _is_or_is_child_of(process: int, parent: int) -> bool:
    if process == parent:
        return True
    try:
        status = Path(f"/proc/{process}/stat").read_text()
    except OSError:
        return False
    return int(status.rpartition(")")[2].split()[1]) == parent
