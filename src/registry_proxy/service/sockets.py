"""Listening sockets, bound before there are workers."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from registry_proxy.config.quantities import Address

_BACKLOG = 1024


class ListenError(Exception):
    """An address can't be listened on; the text says which, why, and what to do."""


def bind(addresses: Iterable[Address], workers: int) -> list[list[socket.socket]]:
    """For each worker its sockets, one an address.

    They share their ports (SO_REUSEPORT), and the supervisor keeps them open: connections that wait for a worker that
    dies are accepted by its successor. Raises ListenError.
    """
    shares: list[list[socket.socket]] = [[] for _ in range(workers)]
    for address in addresses:
        host, port = address.host, _free_port(address)
        for share in shares:
            share.append(_listen(host, port, address, shared=True))
    return shares


def _free_port(address: Address) -> int:
    """The port, after a look whether it is free: a shared port would silently be shared with a stranger."""
    with _listen(address.host, address.port, address, shared=False) as probe:
        return int(probe.getsockname()[1])


def _listen(host: str, port: int, address: Address, *, shared: bool) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    both = family == socket.AF_INET6 and host == "::" and socket.has_dualstack_ipv6()
    try:
        return socket.create_server(
            (host, port), family=family, backlog=_BACKLOG, reuse_port=shared, dualstack_ipv6=both
        )
    except OSError as error:
        raise ListenError(
            f"cannot listen on {address}: {error.strerror or error}. "
            "Stop what uses the port (`ss -ltnp` shows it), or set another address: server.listen."
        ) from error
