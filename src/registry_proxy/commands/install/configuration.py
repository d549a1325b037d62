"""The configuration as the service will find it: without the environment of who installs it."""

from __future__ import annotations

import os
import socket
from dataclasses import dataclass
from typing import TYPE_CHECKING

from registry_proxy.commands.install.plan import InstallError
from registry_proxy.config import load
from registry_proxy.config.layers import PREFIX
from registry_proxy.upstream.presets import PRESETS

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    from registry_proxy.config import Address, Settings


@dataclass(frozen=True, slots=True)
class Configuration:
    """What a service is installed with; `path` is None where there is no file."""

    path: Path | None
    settings: Settings

    @classmethod
    def read(cls, path: Path | None) -> Configuration:
        """Read the file and the `.env` beside it. Raises ConfigError."""
        home = {"HOME": os.environ.get("HOME", "/")}
        return cls(path, load(path, home, {preset.name: preset for preset in PRESETS}))

    @property
    def addresses(self) -> dict[str, tuple[Address, ...]]:
        """Where the server listens, by the key that says so."""
        server, tls = self.settings.server, self.settings.tls
        addresses = {"server.listen": server.listen}
        return addresses | ({"tls.listen": tls.listen, "tls.http": tls.http} if tls else {})

    @property
    def low_ports(self) -> bool:
        """Whether it takes a privilege to listen there."""
        return any(0 < each.port < 1024 for some in self.addresses.values() for each in some)

    def files(self) -> list[tuple[str, Path]]:
        """The files that the configuration names, each after its key."""
        access, tls = self.settings.access, self.settings.tls
        named: list[tuple[str, Path | None]] = [
            ("access.htpasswd", access.htpasswd),
            ("access.client_ca", access.client_ca),
        ]
        if tls:
            named += [("tls.cert", path) for path in tls.cert] + [("tls.key", path) for path in tls.key]
            named += [("tls.ca_root", tls.ca_root), ("tls.eab_hmac_key_file", tls.eab_hmac_key_file)]
        for name, upstream in self.settings.upstreams.items():
            key = f"upstreams.{name}"
            named += [(f"{key}.password_file", each.password_file) for each in upstream.credentials]
            named.append((f"{key}.access_htpasswd", upstream.access_htpasswd))
        return [(key, path) for key, path in named if path is not None]


def check_addresses(wanted: Mapping[str, Sequence[Address]]) -> None:
    """Raises InstallError when another program has one of the ports; the addresses go by the key that names them."""
    taken = list(_taken(wanted))
    if taken:
        raise InstallError(
            "\n".join(
                [*taken, "Stop what uses the port (`ss -ltnp` shows it), or configure another address."]
            )
        )


def _taken(wanted: Mapping[str, Sequence[Address]]) -> Iterator[str]:
    for key, addresses in wanted.items():
        for address in addresses:
            reason = _why_not(address)
            if reason:
                yield f"{key}: {address} can't be listened on: {reason}."


def _why_not(address: Address) -> str | None:
    family = socket.AF_INET6 if ":" in address.host else socket.AF_INET
    both = address.host == "::" and socket.has_dualstack_ipv6()
    try:
        socket.create_server((address.host, address.port), family=family, dualstack_ipv6=both).close()
    except OSError as error:
        return error.strerror or str(error)
    return None


def variables_left_behind(environ: Iterable[str]) -> tuple[str, ...]:
    """A remark on the variables of this very shell, which a service doesn't see."""
    names = sorted(name for name in environ if name.startswith(PREFIX))
    if not names:
        return ()
    return (
        f"{', '.join(names)} of your environment is not the service's: write it into .env beside the file.",
    )
