"""What a client's configuration is made from, and what it comes to: values, and the one way to build them. Pure."""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from registry_proxy.commands.client.server import ClientError

if TYPE_CHECKING:
    from registry_proxy.commands.client.server import Server

SECRET = 0o600
PUBLIC = 0o644


@dataclass(frozen=True, slots=True)
class Login:
    """A user of the cache."""

    username: str
    password: str = field(repr=False)

    @property
    def basic(self) -> str:
        """The credentials as HTTP Basic encodes them (RFC 7617)."""
        return base64.b64encode(f"{self.username}:{self.password}".encode()).decode()


@dataclass(frozen=True, slots=True)
class Identity:
    """A client certificate and its key, in PEM."""

    certificate: str
    key: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class View:
    """The server, and what the client needs to be let in.

    `ca` is a private authority's certificate in PEM. `user`: the files of the user whose folder is `home`, instead of
    the system's. `everything`: also registries that aren't configured go to the cache first.
    """

    server: Server
    home: str
    ca: str | None = None
    identity: Identity | None = None
    login: Login | None = None
    user: bool = False
    everything: bool = False

    def __post_init__(self) -> None:
        if self.everything and self.server.shared is None:
            raise ClientError(
                "no host of the cache serves all registries: leave --default out, or set tls.hostnames."
            )

    @property
    def shared(self) -> str:
        """The origin that serves every registry; for `everything` alone."""
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
        """Texts that a diff doesn't show."""
        login = (self.login.basic, self.login.password) if self.login else ()
        return (*login, *([self.identity.key] if self.identity else []))


@dataclass(frozen=True, slots=True)
class ClientFile:
    """A file of the client, whole; `restart` is the command after which the client reads it anew, if it takes one."""

    path: str
    text: str = field(repr=False)
    mode: int = PUBLIC
    restart: str | None = None


@dataclass(frozen=True, slots=True)
class Plan:
    """The files of a client, and what its owner should know."""

    files: tuple[ClientFile, ...]
    notes: tuple[str, ...] = ()


class Present:
    """The texts of the files that there are. It remembers which were asked for."""

    def __init__(self, texts: Mapping[str, str | None]) -> None:
        self._texts = texts
        self.asked: set[str] = set()

    def get(self, path: str) -> str | None:
        """The file's text; None without the file, or while it isn't known."""
        self.asked.add(path)
        return self._texts.get(path)


Planner = Callable[[View, Present], Plan]


def make_plan(
    planner: Planner, view: View, read: Callable[[frozenset[str]], Mapping[str, str | None]]
) -> Plan:
    """The plan, made again until all files that it depends on were read. Raises ClientError."""
    texts: dict[str, str | None] = {}
    while True:
        present = Present(texts)
        plan = planner(view, present)
        unread = frozenset(present.asked - texts.keys())
        if not unread:
            return plan
        texts |= read(unread)
