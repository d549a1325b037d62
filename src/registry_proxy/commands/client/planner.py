"""Inputs and results of a planner, the function that makes the files of one kind of client. Pure."""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from registry_proxy.commands.client.endpoints import ClientError

if TYPE_CHECKING:
    from registry_proxy.commands.client.endpoints import Server

SECRET = 0o600
PUBLIC = 0o644


@dataclass(frozen=True, slots=True)
class Login:
    """A user of the cache."""

    username: str
    password: str = field(repr=False)

    @property
    def basic(self) -> str:
        """The credentials in the encoding of HTTP Basic (RFC 7617)."""
        return base64.b64encode(f"{self.username}:{self.password}".encode()).decode()


@dataclass(frozen=True, slots=True)
class ClientCertificate:
    """A client certificate and its key, in PEM."""

    certificate: str
    key: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class ClientInputs:
    """The server, and what the client requires to connect to it.

    `ca` is the certificate of a private CA in PEM. `user` selects the files of the user with the directory `home`
    instead of the system's. `everything` also sends pulls from registries without an upstream to the cache first.
    """

    server: Server
    home: str
    ca: str | None = None
    identity: ClientCertificate | None = None
    login: Login | None = None
    user: bool = False
    everything: bool = False

    def __post_init__(self) -> None:
        if self.everything and self.server.shared is None:
            raise ClientError(
                "no host of the cache serves all registries: omit --default, or set tls.hostnames."
            )

    @property
    def shared(self) -> str:
        """The origin that serves every registry; only with `everything`."""
        assert self.server.shared is not None
        return self.server.shared

    @property
    def hosts(self) -> tuple[str, ...]:
        """Every host of the cache that is used, with its port, once."""
        origins = [mirror.origin for mirror in self.server.mirrors] + (
            [self.shared] if self.everything else []
        )
        return tuple(dict.fromkeys(origin.partition("://")[2] for origin in origins))

    def secrets(self) -> tuple[str, ...]:
        """Return the texts to mask in a diff."""
        login = (self.login.basic, self.login.password) if self.login else ()
        return (*login, *([self.identity.key] if self.identity else []))


@dataclass(frozen=True, slots=True)
class ClientFile:
    """A whole file of the client; `restart` is the command that makes the client read it, if one is required."""

    path: str
    text: str = field(repr=False)
    mode: int = PUBLIC
    restart: str | None = None


@dataclass(frozen=True, slots=True)
class ClientPlan:
    """The files of a client, and notes for its owner."""

    files: tuple[ClientFile, ...]
    notes: tuple[str, ...] = ()


class ExistingFiles:
    """The texts of existing files, and the outputs of commands there.

    `requested` records the paths that the planner depends on, `asked` the command lines.
    """

    def __init__(self, texts: Mapping[str, str | None], outputs: Mapping[str, str] | None = None) -> None:
        self._texts = texts
        self._outputs = outputs or {}
        self.requested: set[str] = set()
        self.asked: set[str] = set()

    def get(self, path: str) -> str | None:
        """Return the text of a file, None if it is missing or not read yet."""
        self.requested.add(path)
        return self._texts.get(path)

    def output(self, command: str) -> str:
        """Return what a command prints that changes nothing; empty if it fails, or is unknown."""
        self.asked.add(command)
        return self._outputs.get(command, "")


Planner = Callable[[ClientInputs, ExistingFiles], ClientPlan]


def _unknown(commands: frozenset[str]) -> dict[str, str]:
    return dict.fromkeys(commands, "")


def make_plan(
    planner: Planner,
    inputs: ClientInputs,
    read: Callable[[frozenset[str]], Mapping[str, str | None]],
    ask: Callable[[frozenset[str]], Mapping[str, str]] = _unknown,
) -> ClientPlan:
    """Repeat the planner until all that it depends on is read. Raise ClientError if a file is unusable.

    `read` returns the texts of files, `ask` the outputs of commands.
    """
    texts: dict[str, str | None] = {}
    outputs: dict[str, str] = {}
    while True:
        existing = ExistingFiles(texts, outputs)
        plan = planner(inputs, existing)
        unread = frozenset(existing.requested - texts.keys())
        unasked = frozenset(existing.asked - outputs.keys())
        if not unread and not unasked:
            return plan
        texts |= read(unread) if unread else {}
        outputs |= ask(unasked) if unasked else {}
