"""podman, skopeo, buildah and CRI-O: registries.conf.d, certs.d and auth.json. Pure.

containers-registries.conf(5), containers-certs.d(5), containers-auth.json(5), crio.conf(5)
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import tomlkit

from registry_proxy.commands.client.documents import dump_json, parse_json, parse_toml, table
from registry_proxy.commands.client.hosts_toml import certificate_files
from registry_proxy.commands.client.plan import SECRET, ClientFile, Plan

if TYPE_CHECKING:
    from registry_proxy.commands.client.plan import Present, View

_HEADER = "# Made by `registry-proxy client`."
_CRIO = "/etc/crio/crio.conf"
_CRIO_OWN = "/etc/crio/crio.conf.d/50-registry-proxy.conf"
_CRIO_AUTH = "/etc/crio/registry-proxy-auth.json"


def plan(view: View, present: Present) -> Plan:
    """The files of podman, skopeo and buildah."""
    files = _common_files(view)
    if view.login:
        # Read after the runtime folder's file, which a reboot deletes.
        path = f"{view.home}/.config/containers/auth.json"
        files.append(_auth_file(view, present, path))
    return Plan(tuple(files), _notes(view))


def crio_plan(view: View, present: Present) -> Plan:
    """The files of CRI-O, which has logins of its own."""
    reload = "systemctl reload crio"
    files = [
        ClientFile(file.path, file.text, file.mode, reload if file.path.endswith(".conf") else None)
        for file in _common_files(view)
    ]
    if view.login:
        image = table(_CRIO, parse_toml(_CRIO, present.get(_CRIO)), "crio", "image")
        configured = str(image.get("global_auth_file") or "")
        files.append(_auth_file(view, present, configured or _CRIO_AUTH))
        if not configured:
            document = {"crio": {"image": {"global_auth_file": _CRIO_AUTH}}}
            text = f"{_HEADER}\n{tomlkit.dumps(document)}"
            files.append(ClientFile(_CRIO_OWN, text, restart="systemctl restart crio"))
    return Plan(tuple(files), _notes(view))


def _common_files(view: View) -> list[ClientFile]:
    folder = f"{view.home}/.config/containers" if view.user else "/etc/containers"
    registries = ClientFile(f"{folder}/registries.conf.d/50-registry-proxy.conf", _registries(view))
    return [registries, *certificate_files(view, f"{folder}/certs.d")]


def _registries(view: View) -> str:
    entries = tomlkit.aot()
    for mirror in view.server.mirrors:
        entry = tomlkit.table()
        entry.update({"prefix": mirror.registry, "location": mirror.registry})
        way = tomlkit.table()
        way["location"] = mirror.location
        if mirror.insecure:
            way["insecure"] = True
        mirror_routes = tomlkit.aot()
        mirror_routes.append(way)
        entry["mirror"] = mirror_routes
        entries.append(entry)
    document = tomlkit.document()
    document.add(tomlkit.comment(_HEADER.removeprefix("# ")))
    document["registry"] = entries
    return tomlkit.dumps(document)


def _auth_file(view: View, present: Present, path: str) -> ClientFile:
    assert view.login is not None
    settings = parse_json(path, present.get(path))
    for host in view.hosts:
        table(path, settings, "auths")[host] = {"auth": view.login.basic}
    return ClientFile(path, dump_json(settings), SECRET)


def _notes(view: View) -> tuple[str, ...]:
    if not view.everything:
        return ()
    return ("These clients have no mirror for all registries: the configured ones are written.",)
