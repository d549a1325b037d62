"""The mirrors that the files of a client configure. Pure.

dockerd: https://docs.docker.com/reference/cli/dockerd/ ("registry-mirrors")
containerd: https://github.com/containerd/containerd/blob/main/docs/hosts.md
podman, skopeo, buildah, CRI-O: containers-registries.conf(5)
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from registry_proxy.commands.client.versions import CRI_PLUGINS

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

HUB = "docker.io"
EVERYTHING = "_default"


@dataclass(frozen=True, slots=True)
class MirrorRoute:
    """One mirror of one registry, as `client` uses it because of `file`.

    Its paths begin with `base`, their repositories with `prefix`; `namespace` is the value of `?ns=`. `ca_files` are
    additional CAs, `identity` is a client certificate and its key. `schemes` are tried in order. `doubt` is why the
    client possibly does not read the file.
    """

    client: str
    file: str
    registry: str
    host: str
    schemes: tuple[str, ...]
    base: str = ""
    prefix: str = ""
    namespace: str = ""
    ca_files: tuple[str, ...] = ()
    identity: tuple[str, str] | None = None
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    verify: bool = True
    doubt: str = ""

    def path(self, repository: str, reference: str) -> str:
        """Return the path of a manifest."""
        query = f"?ns={self.namespace}" if self.namespace else ""
        return f"{self.base}/v2/{self.prefix}{repository}/manifests/{reference}{query}"

    @property
    def ping(self) -> str:
        """The path of the API version check."""
        return f"{self.base}/v2/"

    def __str__(self) -> str:
        return f"{self.schemes[0]}://{self.host}"


def docker_routes(file: str, settings: Mapping[str, Any]) -> Iterator[MirrorRoute]:
    """Yield the mirrors of a daemon.json. They are for Docker Hub only."""
    insecure = {str(host) for host in _list(settings, "insecure-registries")}
    for url in _list(settings, "registry-mirrors"):
        scheme, _, rest = str(url).partition("://")
        host, path = _host_and_path(rest)
        if host and scheme in {"http", "https"}:
            base = f"/{path}" if path else ""
            yield MirrorRoute("docker", file, HUB, host, (scheme,), base, verify=host not in insecure)


def hosts_routes(client: str, file: str, registry: str, document: Mapping[str, Any]) -> Iterator[MirrorRoute]:
    """Yield the hosts of a hosts.toml that serve pulls. `registry` is the name of its directory."""
    namespace = HUB if registry == EVERYTHING else registry
    for url, host in _table(document, "host").items():
        scheme, _, rest = str(url).partition("://")
        name, path = _host_and_path(rest)
        capabilities = host.get("capabilities", ["pull", "resolve"])
        override = bool(host.get("override_path"))
        if scheme not in {"http", "https"} or "pull" not in capabilities:
            continue
        yield MirrorRoute(
            client,
            file,
            namespace,
            name,
            (scheme,),
            base="" if override or not path else f"/{path}",
            prefix=_prefix(path) if override else "",
            namespace="" if name == namespace else namespace,
            ca_files=_files(host.get("ca")),
            identity=_identity(host.get("client")),
            headers={str(key): _first(value) for key, value in _table(host, "header").items()},
            verify=not host.get("skip_verify", False),
        )


def registries_routes(file: str, document: Mapping[str, Any]) -> Iterator[MirrorRoute]:
    """Yield the mirrors of a registries.conf, version 2."""
    for entry in _list(document, "registry"):
        location = str(entry.get("prefix") or entry.get("location") or "")
        for mirror in _list(entry, "mirror"):
            host, _, path = str(mirror.get("location", "")).partition("/")
            insecure = bool(mirror.get("insecure", False))
            if host and location:
                # An insecure mirror is tried with TLS first, then without.
                schemes = ("https", "http") if insecure else ("https",)
                prefix = f"{path}/" if path else ""
                yield MirrorRoute("podman", file, location, host, schemes, prefix=prefix, verify=not insecure)


@dataclass(frozen=True, slots=True)
class ImageSettings:
    """The settings of containerd's CRI plugin that concern pulls. `path` lists the directories of hosts.toml files."""

    settings: Mapping[str, Any]
    path: str


def image_settings(document: Mapping[str, Any]) -> ImageSettings:
    """Return the settings of the plugin by its name in the newest version of config.toml that the document has."""
    plugins = _table(document, "plugins")
    for name in dict.fromkeys(reversed(CRI_PLUGINS.values())):
        settings = _table(plugins, name)
        if path := _table(settings, "registry").get("config_path"):
            return ImageSettings(settings, str(path))
    return ImageSettings({}, "")


def registry_of(directory: str) -> str:
    """Return the registry of a directory with a hosts.toml: containerd reads `HOST_PORT_` as `HOST:PORT`."""
    found = re.fullmatch(r"(.+)_([0-9]+)_", directory, re.ASCII)
    return f"{found[1]}:{found[2]}" if found else directory


def _host_and_path(address: str) -> tuple[str, str]:
    """Return the host and the path of a URL without its scheme. The user information is possibly a secret."""
    host, _, path = address.rstrip("/").partition("/")
    return host.rpartition("@")[2], path


def _prefix(path: str) -> str:
    """Return the prefix of repositories if the path replaces `/v2`."""
    inner = path.removeprefix("v2").strip("/")
    return f"{inner}/" if inner else ""


def _files(value: object) -> tuple[str, ...]:
    return tuple(map(str, value)) if isinstance(value, list) else (str(value),) if value else ()


def _identity(value: object) -> tuple[str, str] | None:
    pair = value[0] if isinstance(value, list) and value else None
    return (str(pair[0]), str(pair[1])) if isinstance(pair, list) and len(pair) == 2 else None


def _first(value: object) -> str:
    return str(value[0]) if isinstance(value, list) and value else str(value)


def _table(document: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    value = document.get(name)
    return value if isinstance(value, dict) else {}


def _list(document: Mapping[str, Any], name: str) -> Iterable[Any]:
    value = document.get(name)
    return value if isinstance(value, list) else []
