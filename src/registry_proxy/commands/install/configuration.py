"""The configuration as the service reads it: without the environment of the user who installs it."""

from __future__ import annotations

import os
import socket
from dataclasses import dataclass
from typing import TYPE_CHECKING

from registry_proxy.commands.changes.plan import ChangeError
from registry_proxy.config import load
from registry_proxy.config.layers import PREFIX
from registry_proxy.upstream.presets import PRESETS

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    from registry_proxy.config import Address, Settings


@dataclass(frozen=True, slots=True)
class Configuration:
    """The configuration file and its settings; `path` is None without a file."""

    path: Path | None
    settings: Settings

    @classmethod
    def read(cls, path: Path | None) -> Configuration:
        """Read the file, and `.env` in the same directory. Raise ConfigError if they are unusable."""
        home = {"HOME": os.environ.get("HOME", "/")}
        return cls(path, load(path, home, {preset.name: preset for preset in PRESETS}))

    @property
    def addresses(self) -> dict[str, tuple[Address, ...]]:
        """The addresses to listen on, by their keys."""
        server, tls = self.settings.server, self.settings.tls
        addresses = {"server.listen": server.listen}
        return addresses | ({"tls.listen": tls.listen, "tls.http": tls.http} if tls else {})

    @property
    def low_ports(self) -> bool:
        """True if the server listens on a port that requires a privilege."""
        return any(0 < each.port < 1024 for some in self.addresses.values() for each in some)

    def files(self) -> list[tuple[str, Path]]:
        """Return the files that the configuration refers to, with their keys."""
        access, tls = self.settings.access, self.settings.tls
        found: list[tuple[str, Path | None]] = [
            ("access.htpasswd", access.htpasswd),
            ("access.client_ca", access.client_ca),
        ]
        if tls:
            found += [("tls.cert", path) for path in tls.cert] + [("tls.key", path) for path in tls.key]
            found += [("tls.ca_root", tls.ca_root), ("tls.eab_hmac_key_file", tls.eab_hmac_key_file)]
        for name, upstream in self.settings.upstreams.items():
            key = f"upstreams.{name}"
            found += [(f"{key}.password_file", each.password_file) for each in upstream.credentials]
            found.append((f"{key}.access_htpasswd", upstream.access_htpasswd))
        return [(key, path) for key, path in found if path is not None]


def check_addresses(addresses: Mapping[str, Sequence[Address]]) -> None:
    """Raise ChangeError if another program uses one of the ports. The addresses are grouped by their keys."""
    problems = list(_unusable(addresses))
    if problems:
        fix = "Stop the program that uses the port (`ss -ltnp` shows it), or configure another address."
        raise ChangeError("\n".join([*problems, fix]))


def _unusable(addresses: Mapping[str, Sequence[Address]]) -> Iterator[str]:
    for key, some in addresses.items():
        for address in some:
            reason = _listen_error(address)
            if reason:
                yield f"{key}: can't listen on {address}: {reason}."


def _listen_error(address: Address) -> str | None:
    family = socket.AF_INET6 if ":" in address.host else socket.AF_INET
    both = address.host == "::" and socket.has_dualstack_ipv6()
    try:
        socket.create_server((address.host, address.port), family=family, dualstack_ipv6=both).close()
    except OSError as error:
        return error.strerror or str(error)
    return None


def ignored_variables(environ: Iterable[str]) -> tuple[str, ...]:
    """Return a remark on the variables of this shell, which the service does not see."""
    names = sorted(name for name in environ if name.startswith(PREFIX))
    if not names:
        return ()
    return (
        f"The service does not see {', '.join(names)} of your environment. "
        "Write the variables to .env in the directory of the configuration.",
    )
