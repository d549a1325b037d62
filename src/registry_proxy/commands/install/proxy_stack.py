"""The engine `registry-proxy`: a stack of this program, in an image built from the checkout."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import TYPE_CHECKING

from registry_proxy import __version__
from registry_proxy.commands.changes.directories import GiveStore
from registry_proxy.commands.changes.files import RemoveDirectory
from registry_proxy.commands.changes.plan import ChangeError
from registry_proxy.commands.install import registry2
from registry_proxy.commands.install.places import STATE
from registry_proxy.commands.install.program import checkout
from registry_proxy.commands.install.stack import (
    Build,
    Image,
    Service,
    Stack,
    check_options,
    plain_addresses,
    published,
)
from registry_proxy.commands.install.traefik import Route, labels
from registry_proxy.config.layers import variable_name
from registry_proxy.config.load import default_storage_path
from registry_proxy.config.types import is_hostname
from registry_proxy.service.site import STORE_ENTRIES, STORE_MARKS

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from registry_proxy.commands.changes.files import Owner
    from registry_proxy.commands.changes.plan import Step
    from registry_proxy.commands.install.configuration import Configuration
    from registry_proxy.commands.install.stack import StackOptions
    from registry_proxy.config import UpstreamSettings

NAME = "registry-proxy"
_CONFIG_DIRECTORY = Path("/etc/registry-proxy")
_STORE = Path("/var/lib/registry-proxy")
# The user of the image: used if the directory belongs to root. Its owner runs the containers otherwise.
_IMAGE_USER = (10001, 10001)
# The files that the image is built from, next to `src`.
_BUILD_FILES = (
    "Dockerfile",
    "pyproject.toml",
    "README.md",
    "LICENSE",
    "requirements/runtime.txt",
    "requirements/build.txt",
)


def is_default_store(store: Path) -> bool:
    """Return whether the store has its default path: a volume then replaces it."""
    return store in (STATE, default_storage_path({"HOME": os.environ.get("HOME", "/")}))


class ProxyStack:
    """One container for all registries, or one for each."""

    def __init__(self, configuration: Configuration, options: StackOptions) -> None:
        self._configuration = configuration
        self._settings = configuration.settings
        self._options = options
        self._named_volume = is_default_store(self._settings.storage.path)

    @property
    def reader(self) -> tuple[int, int]:
        return self._options.identity or _IMAGE_USER

    def stack(self) -> Stack:
        check_options(self._configuration, self._options)
        upstreams = self._settings.upstreams
        if self._options.per_registry:
            services = [self._of_one(number, name, upstreams[name]) for number, name in enumerate(upstreams)]
        else:
            services = [self._of_all()]
        return Stack(
            services,
            volumes=["store"] if self._named_volume else [],
            options=self._options,
            stop_seconds=round(self._settings.server.grace_period) + 15,
            profiles=tuple(service.name for service in services if service.profile),
        )

    def image(self) -> Image:
        if self._options.image:
            return Image(self._options.image)
        context = checkout()
        if context is None or not (context / "Dockerfile").is_file():
            raise ChangeError(
                "the image is built from a checkout of the project, and this program was installed without one. "
                "Run it from a checkout (make install), or pass an existing image with --image."
            )
        build = Build(context, self._options.base)
        return Image(f"{NAME}:{__version__}-{_fingerprint(build)}", build)

    def files(self, directory: Path, owner: Owner) -> Iterator[Step]:  # noqa: ARG002 - of the other engine
        yield RemoveDirectory(directory / registry2.DIRECTORY)
        if not self._named_volume:
            yield GiveStore(self._settings.storage.path, lambda: self.reader, STORE_ENTRIES, STORE_MARKS)

    def warnings(self) -> tuple[str, ...]:
        return (*self._missing_programs(), *self._unknown_network())

    def _missing_programs(self) -> Iterator[str]:
        programs = {
            each.program
            for upstream in self._settings.upstreams.values()
            for each in upstream.credentials
            if each.program
        }
        if programs:
            names = ", ".join(sorted(programs))
            yield f"The image must contain {names}: build an image with it, and pass that with --image."

    def _unknown_network(self) -> Iterator[str]:
        traefik = self._options.traefik
        if traefik and not traefik.subnets and not self._settings.access.trusted_proxies:
            yield (
                f"Docker does not know the network {traefik.network}, so the server ignores X-Forwarded-For "
                "and takes all clients for Traefik. Run this again when the network exists, or set "
                "access.trusted_proxies."
            )

    def _of_all(self) -> Service:
        """Return the container of all registries."""
        traefik = self._options.traefik
        upstreams = self._settings.upstreams.items()
        routes = [self._route(name, each.hostname, each) for name, each in upstreams if each.hostname]
        if traefik and traefik.hostname:
            routes.append(self._route(NAME, traefik.hostname, None))
        return self._service(NAME, 0, routes, {})

    def _of_one(self, number: int, name: str, upstream: UpstreamSettings) -> Service:
        """Return the container of one registry: all others are disabled in it."""
        others = self._settings.upstreams.keys() - {name}
        off = {variable_name(("upstreams", other, "enabled")): "false" for other in sorted(others)}
        routes = [self._route(name, upstream.hostname, upstream)] if upstream.hostname else []
        return self._service(name, number, routes, off, profile=name)

    def _service(
        self,
        name: str,
        number: int,
        routes: Sequence[Route],
        environment: dict[str, str],
        profile: str | None = None,
    ) -> Service:
        traefik = self._options.traefik
        config = (
            ["--config", str(_CONFIG_DIRECTORY / "registry-proxy.toml")] if self._configuration.path else []
        )
        listening, ports = self._network(number)
        if traefik and traefik.subnets and not self._settings.access.trusted_proxies:
            listening[variable_name(("access", "trusted_proxies"))] = ",".join(traefik.subnets)
        store = {variable_name(("storage", "path")): str(_STORE)}
        return Service(
            name,
            environment={**listening, **self._hostnames(name), **store, **environment},
            volumes=self._volumes(),
            ports=ports,
            labels=[*(labels(name, traefik, routes) if traefik else ()), *self._stamp()],
            probe=["registry-proxy", "healthcheck", *config],
            profile=profile,
            command=["serve", *config],
            check=["check-config", "--quiet", *config],
            low_ports=self._configuration.low_ports and not traefik,
        )

    def _stamp(self) -> Iterator[str]:
        """Yield a label that changes with the configuration: Compose then creates the containers again."""
        if self._configuration.path is not None:
            status = self._configuration.path.stat()
            yield f"registry-proxy.configuration={status.st_mtime_ns}-{status.st_size}"

    def _network(self, number: int) -> tuple[dict[str, str], list[str]]:
        """Return the variables with the addresses to listen on, and the ports to publish."""
        plain = plain_addresses(self._configuration, self._options, number)
        tls = self._settings.tls
        if self._options.host_network:
            return {variable_name(("server", "listen")): ",".join(map(str, plain))} if plain else {}, []
        if self._options.traefik:
            return {variable_name(("server", "listen")): "[::]:5000"}, []
        environment, ports = {}, []
        kinds = {("server", "listen"): plain, ("tls", "listen"): tls.listen if tls else ()}
        kinds["tls", "http"] = tls.http if tls else ()
        for key, addresses in kinds.items():
            # Keep the port numbers inside the container: the server sends them to clients.
            inside = dict.fromkeys(f"[::]:{address.port}" for address in addresses)
            if inside:
                environment[variable_name(key)] = ",".join(inside)
            ports += [published(address, address.port) for address in addresses]
        return environment, ports

    def _hostnames(self, name: str) -> dict[str, str]:
        """Return the variable with the host names that the container can't know: the machine's and the service's."""
        settings, traefik = self._settings, self._options.traefik
        if not any(upstream.hostname for upstream in settings.upstreams.values()):
            return {}
        names = [*settings.server.hostnames, *([traefik.hostname] if traefik and traefik.hostname else [])]
        names += [name, os.uname().nodename.lower()]
        valid = dict.fromkeys(name for name in names if is_hostname(name))
        return {variable_name(("server", "hostnames")): ",".join(valid)}

    def _route(self, name: str, hostname: str, upstream: UpstreamSettings | None) -> Route:
        access = self._settings.access
        return Route(
            name,
            hostname,
            (upstream.access_sources if upstream else ()) or access.sources,
            (upstream.access_htpasswd if upstream else None) or access.htpasswd,
        )

    def _volumes(self) -> list[str]:
        """Return the store, and the configuration with its files, read-only at their paths in the container."""
        store = f"{'store' if self._named_volume else self._settings.storage.path}:{_STORE}"
        path = self._configuration.path
        if path is None:
            return [store]
        volumes = [f"./{path.name}:{_CONFIG_DIRECTORY / 'registry-proxy.toml'}:ro"]
        for file in dict.fromkeys(file for _, file in self._configuration.files()):
            if file.is_relative_to(path.parent):
                relative = file.relative_to(path.parent)
                volumes.append(f"./{relative}:{_CONFIG_DIRECTORY / relative}:ro")
            else:
                volumes.append(f"{file}:{file}:ro")
        return [*volumes, store]


def _fingerprint(build: Build) -> str:
    """Return a digest of all build files: a newer checkout gets another tag, and so is built and started."""
    digest = hashlib.sha256(f"{build.base}".encode())
    sources = [
        path
        for path in (build.context / "src").rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    ]
    for path in [*(build.context / name for name in _BUILD_FILES), *sorted(sources)]:
        digest.update(f"\0{path.relative_to(build.context)}\0".encode() + path.read_bytes())
    return digest.hexdigest()[:12]
