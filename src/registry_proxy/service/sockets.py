"""Listening sockets, bound or inherited before the workers start."""

from __future__ import annotations

import errno
import os
import socket
from enum import StrEnum
from typing import TYPE_CHECKING

from registry_proxy.config import Address
from registry_proxy.service.errors import StartError

if TYPE_CHECKING:
    from collections.abc import Mapping, MutableMapping, Sequence

    from registry_proxy.config import Settings

# Connections that may wait in each socket.
_BACKLOG = 1024
# sd_listen_fds(3): the first inherited descriptor.
_FIRST_INHERITED = 3


class ListenError(StartError):
    """An address that cannot be used. The message gives the address, the cause and a fix."""


class Listener(StrEnum):
    """The kinds of listening sockets. A value is the name of its sockets in a systemd unit (FileDescriptorName=)."""

    PLAIN = "plain"  # the registry without TLS
    TLS = "tls"  # the registry with TLS
    HTTP = "http"  # redirects to HTTPS, and responds to ACME challenges


# Remarks about a kind's addresses in the log.
_REMARKS = {Listener.PLAIN: "", Listener.TLS: " (TLS)", Listener.HTTP: " (redirects to HTTPS)"}


class Sockets(dict[Listener, list[socket.socket]]):
    """The listening sockets of one worker, by kind. A kind without an address is missing."""

    def describe(self) -> str:
        """Return the addresses as text for the log."""
        return ", ".join(f"{_name(sock)}{_REMARKS[kind]}" for kind, socks in self.items() for sock in socks)

    def close(self) -> None:
        """Close this process's descriptors."""
        for socks in self.values():
            for sock in socks:
                sock.close()


def bind(settings: Settings, workers: int, environ: MutableMapping[str, str]) -> list[Sockets]:
    """Return the sockets of each worker. Raise ListenError if an address cannot be used.

    Workers share their ports (SO_REUSEPORT), and the supervisor keeps the sockets open: when a worker dies, its
    successor accepts the waiting connections. Sockets from systemd replace the addresses of their kind.
    """
    shares = [Sockets() for _ in range(workers)]
    inherited = _inherit(environ)
    kinds = _addresses(settings)
    if not inherited.keys() <= kinds.keys():
        raise ListenError(
            "systemd passes a socket named tls or http, but TLS is off. "
            "Configure [tls], or remove the socket unit from Sockets=."
        )
    for kind, (key, addresses) in kinds.items():
        lists: list[list[socket.socket]] = [share.setdefault(kind, []) for share in shares]
        if kind in inherited:
            for socks in lists:
                socks.extend(sock.dup() for sock in inherited[kind])
        else:
            for address in addresses:
                _bind(address, key, lists)
    for socks in inherited.values():
        for sock in socks:
            sock.close()
    return shares


def _name(sock: socket.socket) -> str:
    name = sock.getsockname()
    return str(Address(*name[:2])) if isinstance(name, tuple) else str(name)


def _addresses(settings: Settings) -> Mapping[Listener, tuple[str, Sequence[Address]]]:
    """Return the configuration key of each kind and its addresses."""
    addresses: dict[Listener, tuple[str, Sequence[Address]]] = {
        Listener.PLAIN: ("server.listen", settings.server.listen)
    }
    if settings.tls is not None:
        addresses[Listener.TLS] = ("tls.listen", settings.tls.listen)
        addresses[Listener.HTTP] = ("tls.http", settings.tls.http)
    return addresses


def _inherit(environ: MutableMapping[str, str]) -> dict[Listener, list[socket.socket]]:
    """Return the sockets that systemd passes, by kind (sd_listen_fds(3)).

    Child processes must not use them, so the variables are removed from `environ`.
    """
    process = environ.pop("LISTEN_PID", "")
    count = environ.pop("LISTEN_FDS", "0")
    names = environ.pop("LISTEN_FDNAMES", "").split(":")
    inherited: dict[Listener, list[socket.socket]] = {}
    if process != str(os.getpid()):
        return inherited
    for number in range(int(count)):
        name = names[number] if number < len(names) else ""
        if name not in set(Listener):
            raise ListenError(
                f'socket {number + 1} of {count} from systemd is named "{name}". Set '
                "FileDescriptorName=plain, tls or http in its socket unit, one unit for each."
            )
        sock = socket.socket(fileno=_FIRST_INHERITED + number)
        sock.set_inheritable(False)
        inherited.setdefault(Listener(name), []).append(sock)
    return inherited


def _bind(address: Address, key: str, shares: Sequence[list[socket.socket]]) -> None:
    host, port = address.host, _free_port(address, key)
    for share in shares:
        share.append(_listen(host, port, address, key, shared=True))


def _free_port(address: Address, key: str) -> int:
    """Return the port, after a check that it is free: with SO_REUSEPORT another program could share it silently."""
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
            # On a kernel without IPv6, "::" means all IPv4 addresses.
            return _listen("0.0.0.0", port, address, key, shared=shared)  # noqa: S104
        raise ListenError(
            f"cannot listen on {address}: {error.strerror or error}. {_remedy(error, key)}"
        ) from error


def _remedy(error: OSError, key: str) -> str:
    if error.errno == errno.EACCES:
        return (
            "Ports below 1024 require the capability CAP_NET_BIND_SERVICE (run `registry-proxy install systemd` again, "
            f"which sets it), a socket unit, or another address: {key}."
        )
    without = f" (or disable it: {key} = [])" if key == "tls.http" else ""
    return (
        f"Stop the process that uses the port (`ss -ltnp` shows it), or set another address: {key}{without}."
    )
