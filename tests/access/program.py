"""`registry-proxy serve` on this machine's loopback, configured by a file, and requests as any client sends them."""

from __future__ import annotations

import base64
import http.client
import json
import os
import re
import signal
import socket
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import bcrypt
from tests.kit.processes import Daemon, Local

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable, Mapping
    from types import TracebackType

PROGRAM = Path(sys.executable).with_name("registry-proxy")
_LISTENING = re.compile(r"listening on (.+)")
_PORT = re.compile(r":(\d+)(?: \(([^)]+)\))?(?:, |$)")


@dataclass(frozen=True, slots=True)
class Answer:
    """An HTTP answer, read to its end."""

    status: int
    headers: http.client.HTTPMessage
    body: bytes = field(repr=False)

    @property
    def code(self) -> str:
        """The registry's code of an error."""
        return str(json.loads(self.body)["errors"][0]["code"])

    def json(self) -> Any:
        """The body's JSON."""
        return json.loads(self.body)


def basic(user: str, password: str) -> str:
    """The `Authorization` of a login."""
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


def htpasswd(path: Path, **users: str) -> Path:
    """Write an htpasswd file as `htpasswd -B` does, cheap to check."""
    lines = [
        f"{user}:{bcrypt.hashpw(word.encode(), bcrypt.gensalt(4)).decode()}\n" for user, word in users.items()
    ]
    path.write_text("".join(lines))
    return path


def ask(
    connection: socket.socket,
    target: str,
    *,
    method: str = "GET",
    host: str = "registry.example.com",
    headers: Mapping[str, str] | None = None,
) -> Answer:
    """One request and its answer over a connection, which is closed."""
    client = http.client.HTTPConnection(host)
    connection.settimeout(30)
    client.sock = connection
    try:
        client.request(method, target, headers={"Host": host, **(headers or {})})
        with client.getresponse() as answer:
            return Answer(answer.status, answer.headers, answer.read())
    finally:
        client.close()


class Program:
    """The server with what `toml` configures, on ports that are free; runs within a `with` block.

    `toml` has no `[server]` and `[storage]`; `listen` is where to serve without TLS.
    """

    def __init__(
        self,
        folder: Path,
        toml: str,
        *,
        workers: int = 2,
        listen: str = "127.0.0.1:0",
        environ: Mapping[str, str] | None = None,
    ) -> None:
        self.folder = folder
        self.log = folder / "registry-proxy.log"
        self.file = folder / "registry-proxy.toml"
        self.workers = workers
        self._listen = listen
        inherited = dict.fromkeys((name for name in os.environ if name.startswith("REGISTRY_PROXY_")), "")
        self._environ = {**inherited, **(environ or {})}
        self.configure(toml)

    def configure(self, toml: str) -> None:
        """Write the configuration file."""
        self.file.write_text(
            f'[server]\nlisten = ["{self._listen}"]\nworkers = {self.workers}\n'
            'hostnames = ["registry.example.com"]\n'
            'header_timeout = "2s"\ngrace_period = "2s"\n'
            f'[storage]\npath = "{self.folder}/store"\n{toml}'
        )
        self.file.chmod(0o600)

    def start(self) -> None:
        """Start it; its ports are open then."""
        command = [str(PROGRAM), "serve", "--config", str(self.file)]
        self.daemon = Daemon.started(
            Local(), command, self.log, lambda: self._listening() is not None, env=self._environ
        )

    def reload(self) -> None:
        """Have it read its configuration again; it is in force then."""
        done = "were reloaded|was not reloaded"
        expected = len(re.findall(done, self.logged)) + self.workers
        self.daemon.process.send_signal(signal.SIGHUP)
        self.wait_until(lambda: len(re.findall(done, self.logged)) >= expected)

    @property
    def logged(self) -> str:
        """The log."""
        return self.log.read_text()

    def wait_until(self, condition: Callable[[], bool]) -> None:
        """Wait for what the server does on its own."""
        self.daemon.wait_until(condition)

    def port(self, kind: str = "") -> int:
        """The port that is served without TLS, or with it (`TLS`)."""
        match = self._listening()
        assert match is not None
        return next(int(port) for port, said in _PORT.findall(match[1]) if said == kind)

    def processes(self) -> list[int]:
        """The supervisor and the workers."""
        first = self.daemon.process.pid
        children = Path(f"/proc/{first}/task/{first}/children").read_text().split()
        return [first, *map(int, children)]

    def connect(
        self,
        *,
        address: str = "127.0.0.1",
        source: str | None = None,
        tls: ssl.SSLContext | None = None,
        name: str = "registry.example.com",
        session: ssl.SSLSession | None = None,
    ) -> socket.socket:
        """A connection, from a `source` address of this machine; with `tls` to the host `name`."""
        origin = (source, 0) if source else None
        port = self.port("TLS" if tls else "")
        connection = socket.create_connection((address, port), timeout=30, source_address=origin)
        if tls is None:
            return connection
        try:
            return tls.wrap_socket(connection, server_hostname=name, session=session)
        except OSError:
            connection.close()
            raise

    def get(
        self,
        target: str,
        *,
        method: str = "GET",
        host: str = "registry.example.com",
        login: tuple[str, str] | None = None,
        source: str | None = None,
        address: str = "127.0.0.1",
        **headers: str,
    ) -> Answer:
        """Ask; header names have underscores for hyphens."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        if login is not None:
            named["Authorization"] = basic(*login)
        return ask(
            self.connect(address=address, source=source), target, method=method, host=host, headers=named
        )

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, problem: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.daemon.kill()

    def _listening(self) -> re.Match[str] | None:
        return _LISTENING.search(self.log.read_text()) if self.log.exists() else None
