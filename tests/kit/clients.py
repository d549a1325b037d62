"""The real clients, each with folders, sockets and credentials of its own, ended with the block.

All are context managers: `with Docker(mirrors=[url]) as docker: docker.pull("alpine")`. `runner` says where
they run: on this machine, or in a `SealedNetwork`. Folders are short temporary ones, because the path of
a Unix socket must fit into 107 bytes.
"""

from __future__ import annotations

import contextlib
import json
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from tests.kit.processes import Daemon, Local, Runner, end_processes_naming, run

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from types import TracebackType

_DOCKER = "/usr/bin/docker"  # Debian's; another one may stand before it in PATH
_RUN = ("--rm", "--network=none", "--pull=never")
_LIMITS = ("--ulimit=nofile=1024:1024", "--ulimit=nproc=1024:1024")


class Client:
    """A client with a folder of its own, which is removed at the end."""

    def __init__(self, runner: Runner | None = None) -> None:
        self.runner = runner or Local()
        self._temporary = tempfile.TemporaryDirectory(prefix="kit-")
        self.folder = Path(self._temporary.name)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, problem: BaseException | None, trace: TracebackType | None
    ) -> None:
        end_processes_naming(str(self.folder))  # conmon's and containerd's children outlive their parents
        self._temporary.cleanup()

    def _run(
        self, arguments: Sequence[str], *, env: Mapping[str, str] | None = None, text: str | None = None
    ) -> str:
        return run(self.runner, arguments, env=env, text=text)


class ContainersClient(Client):
    """What skopeo and podman have in common: registries.conf and auth.json."""

    def __init__(self, runner: Runner | None = None, *, registries: str = "") -> None:
        super().__init__(runner)
        self._registries = self.folder / "registries.conf"
        self._registries.write_text(registries)
        self._authfile = self.folder / "auth.json"
        self._authfile.write_text("{}")  # podman stops when it is not there
        self._env = {
            "CONTAINERS_REGISTRIES_CONF": str(self._registries),
            "REGISTRY_AUTH_FILE": str(self._authfile),
            "HOME": str(self.folder),
            "TMPDIR": str(self.folder),
        }

    def configure(self, registries: str) -> None:
        """Replace registries.conf."""
        self._registries.write_text(registries)


class Skopeo(ContainersClient):
    """skopeo: no daemon, no storage."""

    def inspect_raw(self, reference: str, *, tls_verify: bool = True) -> bytes:
        """Return the manifest or index as skopeo got it."""
        return self._skopeo(
            "inspect", "--raw", *_unverified("tls", tls_verify), f"docker://{reference}"
        ).encode()

    def inspect(self, reference: str, *, tls_verify: bool = True) -> dict[str, Any]:
        """Return what skopeo says of an image, which it takes from the manifest, the config and the tag list."""
        said = self._skopeo("inspect", *_unverified("tls", tls_verify), f"docker://{reference}")
        found: dict[str, Any] = json.loads(said)
        return found

    def tags(self, repository: str, *, tls_verify: bool = True) -> list[str]:
        """Return a repository's tags, over all pages."""
        listed = self._skopeo("list-tags", *_unverified("tls", tls_verify), f"docker://{repository}")
        tags: list[str] = json.loads(listed)["Tags"]
        return tags

    def copy(
        self,
        reference: str,
        *,
        tls_verify: bool = True,
        every_platform: bool = False,
        login: str | None = None,
    ) -> Path:
        """Pull into a new folder in skopeo's `dir` format: `manifest.json`, and each blob under its hex digest.

        `login` is `NAME:PASSWORD`.
        """
        target = Path(tempfile.mkdtemp(prefix="pulled-", dir=self.folder))
        platforms = "all" if every_platform else "system"
        options = _unverified("src-tls", tls_verify)
        if login is not None:
            options.append(f"--src-creds={login}")
        self._skopeo("copy", f"--multi-arch={platforms}", *options, f"docker://{reference}", f"dir:{target}")
        return target

    def login(self, registry: str, user: str, password: str, *, tls_verify: bool = True) -> None:
        """Log in, which asks the registry."""
        self._skopeo(
            "login",
            *_unverified("tls", tls_verify),
            "--username",
            user,
            "--password-stdin",
            registry,
            text=password,
        )

    def _skopeo(self, *arguments: str, text: str | None = None) -> str:
        places = [f"--registries-conf={self._registries}", f"--tmpdir={self.folder}"]
        return self._run(["skopeo", "--insecure-policy", *places, *arguments], env=self._env, text=text)


class Podman(ContainersClient):
    """podman with its own storage."""

    def pull(self, reference: str, *, tls_verify: bool = True) -> str:
        """Pull an image; return its ID."""
        return self.podman("pull", "--quiet", *_unverified("tls", tls_verify), reference).strip()

    def run(self, reference: str, *command: str) -> str:
        """Run an image that was pulled; return what it prints."""
        # to raise limits, as podman does, takes a capability that root lacks in many a container
        return self.podman("run", *_LIMITS, *_RUN, reference, *command)

    def login(self, registry: str, user: str, password: str, *, tls_verify: bool = True) -> None:
        """Log in, which asks the registry."""
        verify = _unverified("tls", tls_verify)
        self.podman("login", *verify, "--username", user, "--password-stdin", registry, text=password)

    def podman(self, *arguments: str, text: str | None = None) -> str:
        """Run any podman command."""
        places = [f"--{name}={self.folder / name}" for name in ("root", "runroot", "tmpdir")]
        ways = [
            "--runtime=runc",
            "--storage-driver=vfs",
            "--cgroup-manager=cgroupfs",
            "--events-backend=none",
        ]
        return self._run(["podman", *places, *ways, *arguments], env=self._env, text=text)


class Containerd(Client):
    """containerd, and `ctr` as its user; `hosts` maps a registry's name to its hosts.toml."""

    def __init__(self, runner: Runner | None = None, *, hosts: Mapping[str, str] | None = None) -> None:
        super().__init__(runner)
        self._hosts = self.folder / "certs.d"
        self.socket = self.folder / "c.sock"
        for registry, toml in (hosts or {}).items():
            self.configure(registry, toml)

    def configure(self, registry: str, toml: str) -> None:
        """Write the hosts.toml of a registry, or of `_default`."""
        folder = self._hosts / registry
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "hosts.toml").write_text(toml)

    def __enter__(self) -> Self:
        self._hosts.mkdir(exist_ok=True)
        config = self.folder / "config.toml"
        config.write_text(_CONTAINERD.format(folder=self.folder, socket=self.socket))
        log = self.folder / "containerd.log"
        command = ["containerd", "--config", str(config)]
        self._daemon = Daemon.started(self.runner, command, log, self.socket.exists)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, problem: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._daemon.stop()
        super().__exit__(kind, problem, trace)

    def pull(self, reference: str, *, user: str = "", every_platform: bool = False) -> str:
        """Pull an image by its full name; `user` is `NAME:PASSWORD`. Return what ctr says."""
        login = ["--user", user] if user else []
        platforms = ["--all-platforms"] if every_platform else []
        where = ["--hosts-dir", str(self._hosts), "--snapshotter", "native"]
        return self.ctr("images", "pull", *where, *login, *platforms, reference)

    def run(self, reference: str, *command: str) -> str:
        """Run an image that was pulled; return what it prints."""
        for _ in range(3):
            if printed := self.ctr("run", "--rm", "--snapshotter", "native", reference, "kit", *command):
                return printed
        return ""  # ctr loses what a task prints that ends at once, now and then: not three times

    def ctr(self, *arguments: str) -> str:
        """Run any ctr command."""
        return self._run(["ctr", "--address", str(self.socket), *arguments])


class Docker(Client):
    """dockerd on a containerd of its own, and the docker command."""

    def __init__(
        self,
        runner: Runner | None = None,
        *,
        mirrors: Sequence[str] = (),
        insecure: Sequence[str] = (),
        settings: Mapping[str, object] | None = None,
    ) -> None:
        super().__init__(runner)
        self._containerd = Containerd(runner)  # or dockerd would take the machine's, if one runs
        self._settings = {
            "containerd": str(self._containerd.socket),
            "registry-mirrors": list(mirrors),
            "insecure-registries": list(insecure),
            "storage-driver": "vfs",
            "bridge": "none",
            "iptables": False,
            "ip6tables": False,
            "data-root": str(self.folder / "data"),
            "exec-root": str(self.folder / "exec"),
            "pidfile": str(self.folder / "docker.pid"),
            "hosts": [f"unix://{self.folder}/docker.sock"],
        } | dict(settings or {})

    def __enter__(self) -> Self:
        config = self.folder / "daemon.json"
        config.write_text(json.dumps(self._settings))
        with contextlib.ExitStack() as stack:
            stack.enter_context(self._containerd)
            log = self.folder / "dockerd.log"
            command = ["dockerd", "--config-file", str(config)]
            self._daemon = Daemon.started(self.runner, command, log, (self.folder / "docker.sock").exists)
            stack.callback(self._daemon.stop)
            self.docker("version")
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, problem: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()
        super().__exit__(kind, problem, trace)

    def pull(self, reference: str) -> str:
        """Pull an image; return what docker says."""
        return self.docker("pull", reference)

    def run(self, reference: str, *command: str) -> str:
        """Run an image that was pulled; return what it prints."""
        return self.docker("run", *_RUN, reference, *command)

    def login(self, registry: str, user: str, password: str) -> None:
        """Log in, which asks the registry."""
        self.docker("login", "--username", user, "--password-stdin", registry, text=password)

    def docker(self, *arguments: str, text: str | None = None) -> str:
        """Run any docker command."""
        where = [f"--host=unix://{self.folder}/docker.sock", f"--config={self.folder / 'config'}"]
        return self._run([_DOCKER, *where, *arguments], text=text)


def _unverified(what: str, verify: bool) -> list[str]:
    """Return the option that allows plain HTTP and unknown authorities; it would override registries.conf."""
    return [] if verify else [f"--{what}-verify=false"]


_CONTAINERD = """
version = 2
root = "{folder}/root"
state = "{folder}/state"
disabled_plugins = ["io.containerd.grpc.v1.cri", "io.containerd.internal.v1.opt"]
[grpc]
address = "{socket}"
"""
