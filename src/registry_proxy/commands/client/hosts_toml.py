"""hosts.toml, the mirrors of one registry for containerd and Docker's containerd image store. Pure.

https://github.com/containerd/containerd/blob/main/docs/hosts.md
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import tomlkit

from registry_proxy.commands.client.planner import PUBLIC, SECRET, ClientFile
from registry_proxy.commands.client.settings_files import parse_toml

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tomlkit.items import Table

    from registry_proxy.commands.client.endpoints import Mirror
    from registry_proxy.commands.client.planner import ClientInputs, ExistingFiles

# The directory for every registry without a specific one.
EVERYTHING = "_default"


def hosts_files(inputs: ClientInputs, existing: ExistingFiles, directory: str) -> Iterator[ClientFile]:
    """Yield one hosts.toml per registry, or one for all, and the certificates that they refer to."""
    if inputs.everything:
        yield _hosts_file(inputs, existing, directory, f"{directory}/{EVERYTHING}/hosts.toml", inputs.shared)
    else:
        for mirror in inputs.server.mirrors:
            path = f"{directory}/{_name(existing, directory, mirror.registry)}/hosts.toml"
            yield _hosts_file(inputs, existing, directory, path, mirror.origin, mirror)
    yield from certificate_files(inputs, directory)


def _name(existing: ExistingFiles, directory: str, registry: str) -> str:
    """Return the name of a registry's directory.

    Clients also read `HOST_PORT_` for `HOST:PORT`, and prefer it if it exists (containerd, `hostPaths`).
    """
    host, colon, port = registry.rpartition(":")
    other = f"{host}_{port}_"
    return other if colon and existing.get(f"{directory}/{other}/hosts.toml") is not None else registry


def certificate_files(inputs: ClientInputs, directory: str) -> Iterator[ClientFile]:
    """Yield `HOST/ca.crt`, `client.cert` and `client.key`, the names that Docker, podman and containerd expect."""
    for host in inputs.hosts:
        if inputs.ca:
            yield ClientFile(f"{directory}/{host}/ca.crt", inputs.ca)
        if inputs.identity:
            yield ClientFile(f"{directory}/{host}/client.cert", inputs.identity.certificate)
            yield ClientFile(f"{directory}/{host}/client.key", inputs.identity.key, SECRET)


def _hosts_file(
    inputs: ClientInputs,
    existing: ExistingFiles,
    directory: str,
    path: str,
    origin: str,
    mirror: Mirror | None = None,
) -> ClientFile:
    text = existing.get(path)
    document = parse_toml(path, text)
    if mirror is not None and "server" not in document:
        document["server"] = mirror.url
    if mirror is not None and text is None:
        document.update(_own_certificates(existing, path.removesuffix("/hosts.toml")))
    others = document.pop("host", {})
    hosts = tomlkit.table(is_super_table=True)
    hosts[origin] = others.get(origin, tomlkit.table())
    _set_host(inputs, hosts[origin], f"{directory}/{origin.partition('://')[2]}")
    # Clients try the hosts in this order.
    for name, other in others.items():
        if name != origin:
            hosts[name] = other
    document["host"] = hosts
    return ClientFile(path, tomlkit.dumps(document), SECRET if inputs.login else PUBLIC)


def _own_certificates(existing: ExistingFiles, directory: str) -> dict[str, object]:
    """Return settings for the certificates of the registry itself, which clients only find without a hosts.toml."""
    ca, cert, key = (f"{directory}/{name}" for name in ("ca.crt", "client.cert", "client.key"))
    trust = {"ca": ca} if existing.get(ca) is not None else {}
    pair = existing.get(cert) is not None and existing.get(key) is not None
    return {**trust, "client": [[cert, key]]} if pair else {**trust}


def _set_host(inputs: ClientInputs, host: Table, certificates: str) -> None:
    if not {"pull", "resolve"} <= set(host.get("capabilities", [])):
        host["capabilities"] = ["pull", "resolve"]
    if inputs.ca:
        host["ca"] = f"{certificates}/ca.crt"
    if inputs.identity:
        host["client"] = [[f"{certificates}/client.cert", f"{certificates}/client.key"]]
    if inputs.login:
        host["header"] = {"Authorization": f"Basic {inputs.login.basic}"}
