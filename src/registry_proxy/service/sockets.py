"""Listening sockets, bound or inherited before there are workers."""

from __future__ import annotations

import errno
import os
import socket
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from registry_proxy.config import Address
from registry_proxy.service.errors import StartError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, MutableMapping, Sequence

    from registry_proxy.config import Settings

_BACKLOG = 1024
# sd_listen_fds(3): the first inherited descriptor.
_FIRST_INHERITED = 3


class ListenError(StartError):
    """An address can't be listened on; the text says which, why, and what to do."""


@dataclass(frozen=True, slots=True)
class Sockets:
    """What one worker listens on: the registry without TLS and with it, and what is sent on to HTTPS."""

    plain: list[socket.socket] = field(default_factory=list)
    tls: list[socket.socket] = field(default_factory=list)
    http: list[socket.socket] = field(default_factory=list)

    def __iter__(self) -> Iterator[socket.socket]:
        yield from (*self.plain, *self.tls, *self.http)

    def of(self, kind: str) -> list[socket.socket]:
        """The sockets of `plain`, `tls` or `http`."""
        kinds = {"plain": self.plain, "tls": self.tls, "http": self.http}
        return kinds[kind]

    def describe(self) -> str:
        """The addresses, for the log."""
        kinds = {"": self.plain, " (TLS)": self.tls, " (sent on to TLS)": self.http}
        return ", ".join(f"{_name(sock)}{kind}" for kind, socks in kinds.items() for sock in socks)

    def close(self) -> None:
        """Close this process's descriptors."""
        for sock in self:
            sock.close()


def bind(settings: Settings, workers: int, environ: MutableMapping[str, str]) -> list[Sockets]:
    """For each worker its sockets.

    They share their ports (SO_REUSEPORT), and the supervisor keeps them open: connections that wait for a worker that
    dies are accepted by its successor. Sockets that systemd hands over take the place of the addresses of their kind.
    Raises ListenError.
    """
    shares = [Sockets() for _ in range(workers)]
    inherited = _inherit(environ)
    kinds = _addresses(settings)
    if not inherited.keys() <= kinds.keys():
        raise ListenError(
            "systemd hands over a socket named tls or http, but TLS is off. "
            "Configure [tls], or take the socket unit out of Sockets=."
        )
    for kind, (key, addresses) in kinds.items():
        if kind in inherited:
            for share in shares:
                share.of(kind).extend(sock.dup() for sock in inherited[kind])
        else:
            for address in addresses:
                _bind(address, key, [share.of(kind) for share in shares])
    for socks in inherited.values():
        for sock in socks:
            sock.close()
    return shares


def _name(sock: socket.socket) -> str:
    name = sock.getsockname()
    return str(Address(*name[:2])) if isinstance(name, tuple) else str(name)


def _addresses(settings: Settings) -> Mapping[str, tuple[str, Sequence[Address]]]:
    """By kind: the key that names the addresses, and the addresses."""
    plain = {"plain": ("server.listen", settings.server.listen)}
    if settings.tls is None:
        return plain
    return plain | {"tls": ("tls.listen", settings.tls.listen), "http": ("tls.http", settings.tls.http)}


def _inherit(environ: MutableMapping[str, str]) -> dict[str, list[socket.socket]]:
    """What systemd hands over, by kind (sd_listen_fds(3)). It is for this process alone, so `environ` loses it."""
    process = environ.pop("LISTEN_PID", "")
    count = environ.pop("LISTEN_FDS", "0")
    names = environ.pop("LISTEN_FDNAMES", "").split(":")
    inherited: dict[str, list[socket.socket]] = {}
    if process != str(os.getpid()):
        return inherited
    for number in range(int(count)):
        name = names[number] if number < len(names) else ""
        if name not in {"plain", "tls", "http"}:
            raise ListenError(
                f'socket {number + 1} of {count} that systemd hands over is named "{name}". Set '
                "FileDescriptorName=plain, tls or http in its socket unit, one unit for each."
            )
        sock = socket.socket(fileno=_FIRST_INHERITED + number)
        sock.set_inheritable(False)
        inherited.setdefault(name, []).append(sock)
    return inherited


def _bind(address: Address, key: str, shares: Sequence[list[socket.socket]]) -> None:
    host, port = address.host, _free_port(address, key)
    for share in shares:
        share.append(_listen(host, port, address, key, shared=True))


def _free_port(address: Address, key: str) -> int:
    """The port, after a look whether it is free: a shared port would silently be shared with a stranger."""
    with _listen(address.host, address.port, address, key, shared=False) as probe:
        return int(probe.getsockname()[1])


def _listen(host: str, port: int, address: Address, key: str, *, shared: bool) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    both = family == socket.AF_INET6 and host == "::" and socket.has_dualstack_ipv6()
    try:
        return socket.create_server(
            (host, port), family=family, backlog=_BACKLOG, reuse_port=shared, dualstack_ipv6=both
        )
    except OSError as error:
        if error.errno == errno.EAFNOSUPPORT and host == "::":
            # A kernel without IPv6: every address is then every IPv4 address.
            return _listen("0.0.0.0", port, address, key, shared=shared)  # noqa: S104
        raise ListenError(
            f"cannot listen on {address}: {error.strerror or error}. {_remedy(error, key)}"
        ) from error


def _remedy(error: OSError, key: str) -> str:
    if error.errno == errno.EACCES:
        return (
            "Ports below 1024 take the capability CAP_NET_BIND_SERVICE (AmbientCapabilities= in a systemd unit), "
            f"a socket unit, or another address: {key}."
        )
    without = f" (or {key} = [] to do without)" if key == "tls.http" else ""
    return f"Stop what uses the port (`ss -ltnp` shows it), or set another address: {key}{without}."
