"""What a Compose file has in it, from the configuration and what was chosen: values. Nothing here writes or runs."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from registry_proxy.commands.install.plan import InstallError
from registry_proxy.commands.install.traefik import Route, Traefik, labels
from registry_proxy.config import Address
from registry_proxy.config.layers import variable_name

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from registry_proxy.commands.install.configuration import Configuration
    from registry_proxy.config import UpstreamSettings

PROJECT = "registry-proxy"
CONFIG_FOLDER = Path("/etc/registry-proxy")
STORE = Path("/var/lib/registry-proxy")
# Of every network that Docker makes by itself; nobody else reaches a container without published ports.
_DOCKER_NETWORKS = "10.0.0.0/8,172.16.0.0/12,192.168.0.0/16,fc00::/7"


@dataclass(frozen=True, slots=True)
class Choices:
    """What can be chosen of a stack. `identity` is who the containers run as; None: whom the image names."""

    per_registry: bool = False
    traefik: Traefik | None = None
    host_network: bool = False
    identity: tuple[int, int] | None = None


@dataclass(frozen=True, slots=True)
class Service:
    """One container. `probe` is a command in it that tells whether it serves."""

    name: str
    environment: Mapping[str, str]
    volumes: Sequence[str]
    ports: Sequence[str]
    labels: Sequence[str]
    probe: Sequence[str]
    profile: str | None = None
    env_files: Sequence[str] = (".env",)
    command: Sequence[str] = ()
    low_ports: bool = False


@dataclass(frozen=True, slots=True)
class Stack:
    """All containers, and what they share."""

    services: Sequence[Service]
    volumes: Sequence[str]
    choices: Choices
    stop_seconds: int
    profiles: tuple[str, ...] = field(default=())


def make_stack(configuration: Configuration, choices: Choices, *, named_volume: bool) -> Stack:
    """One container for all registries, or one for each. Raises InstallError."""
    settings = configuration.settings
    check_choices(configuration, choices)
    volumes = [*_volumes(configuration), f"{'store' if named_volume else settings.storage.path}:{STORE}"]
    maker = _ServiceMaker(configuration, choices, volumes)
    if choices.per_registry:
        upstreams = enumerate(settings.upstreams.items())
        services = [maker.of_one(number, name, upstream) for number, (name, upstream) in upstreams]
    else:
        services = [maker.of_all()]
    return Stack(
        services,
        volumes=["store"] if named_volume else [],
        choices=choices,
        stop_seconds=round(settings.server.grace_period) + 15,
        profiles=tuple(service.name for service in services if service.profile),
    )


def check_choices(configuration: Configuration, choices: Choices) -> None:
    """Raises InstallError for what doesn't go together."""
    settings = configuration.settings
    if choices.traefik and settings.tls:
        raise InstallError(
            "[tls] is configured, but Traefik is to serve TLS. Take [tls] out, or leave --traefik out."
        )
    if choices.traefik and choices.host_network:
        raise InstallError(
            "--traefik reaches the containers by a network of its own: leave --host-network out."
        )
    if choices.traefik and settings.access.client_ca:
        raise InstallError(
            "client certificates end at Traefik, so access.client_ca can't be checked behind it. "
            "Have Traefik check them (tls.options), or leave --traefik out."
        )
    if choices.per_registry and settings.tls:
        raise InstallError(
            "one container a registry would take the ports of [tls] several times. "
            "Use one container for all registries, or --traefik."
        )
    if choices.host_network and configuration.low_ports:
        raise InstallError(
            "a container without rights can't listen on ports below 1024 in the host's network. "
            "Leave --host-network out, or configure higher ports."
        )


def published(address: Address, port: int) -> str:
    """The port of the host that leads to a container's, as Compose writes it. Raises InstallError."""
    host = "127.0.0.1" if address.host == "localhost" else address.host
    if address.port == 0:
        raise InstallError(f"{address}: a container needs a port that is known. Configure one.")
    if not set(host) <= set("0123456789abcdef.:"):
        raise InstallError(
            f"{address}: Docker publishes ports on addresses, not on names. Configure the address."
        )
    place = "" if host in ("0.0.0.0", "::") else f"[{host}]:" if ":" in host else f"{host}:"  # noqa: S104
    return f"{place}{address.port}:{port}"


def plain_addresses(configuration: Configuration, choices: Choices, number: int) -> list[Address]:
    """Where the container of the registry with this number is reached without TLS; each has ports of its own."""
    addresses = configuration.settings.server.listen
    if choices.per_registry:
        return [Address(each.host, each.port + number) for each in addresses]
    return list(addresses)


def host_addresses(configuration: Configuration, choices: Choices) -> dict[str, list[Address]]:
    """Where the whole stack listens on the host, by the key that says so."""
    if choices.traefik:
        return {}
    numbers = range(len(configuration.settings.upstreams) if choices.per_registry else 1)
    plain = [each for number in numbers for each in plain_addresses(configuration, choices, number)]
    return {key: list(some) for key, some in configuration.addresses.items()} | {"server.listen": plain}


class _ServiceMaker:
    def __init__(self, configuration: Configuration, choices: Choices, volumes: Sequence[str]) -> None:
        self._configuration = configuration
        self._choices = choices
        self._volumes = volumes

    def of_all(self) -> Service:
        """One for all registries."""
        traefik = self._choices.traefik
        upstreams = self._configuration.settings.upstreams.items()
        routes = [self._route(name, each.hostname, each) for name, each in upstreams if each.hostname]
        if traefik and traefik.hostname:
            routes.append(self._route(PROJECT, traefik.hostname, None))
        return self._service(PROJECT, 0, routes, {})

    def of_one(self, number: int, name: str, upstream: UpstreamSettings) -> Service:
        """One for a registry: all others are off in it."""
        others = self._configuration.settings.upstreams.keys() - {name}
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
        traefik, settings = self._choices.traefik, self._configuration.settings
        config = ["--config", str(CONFIG_FOLDER / "registry-proxy.toml")] if self._configuration.path else []
        listening, ports = self._network(number)
        if traefik and not settings.access.trusted_proxies:
            listening[variable_name(("access", "trusted_proxies"))] = _DOCKER_NETWORKS
        store = {variable_name(("storage", "path")): str(STORE)}
        return Service(
            name,
            environment={**listening, **store, **environment},
            volumes=self._volumes,
            ports=ports,
            labels=labels(name, traefik, routes) if traefik else (),
            probe=["registry-proxy", "healthcheck", *config],
            profile=profile,
            command=["serve", *config],
            low_ports=self._configuration.low_ports and not traefik,
        )

    def _network(self, number: int) -> tuple[dict[str, str], list[str]]:
        """The variables that say where to listen, and the ports to publish."""
        plain = plain_addresses(self._configuration, self._choices, number)
        tls = self._configuration.settings.tls
        if self._choices.host_network:
            return {variable_name(("server", "listen")): ",".join(map(str, plain))} if plain else {}, []
        if self._choices.traefik:
            return {variable_name(("server", "listen")): "[::]:5000"}, []
        environment, ports = {}, []
        kinds = {("server", "listen"): plain, ("tls", "listen"): tls.listen if tls else ()}
        kinds["tls", "http"] = tls.http if tls else ()
        for key, addresses in kinds.items():
            # The ports stay the same inside, for the server tells clients of its own.
            inside = dict.fromkeys(f"[::]:{address.port}" for address in addresses)
            if inside:
                environment[variable_name(key)] = ",".join(inside)
            ports += [published(address, address.port) for address in addresses]
        return environment, ports

    def _route(self, name: str, hostname: str, upstream: UpstreamSettings | None) -> Route:
        access = self._configuration.settings.access
        return Route(
            name,
            hostname,
            (upstream.access_sources if upstream else ()) or access.sources,
            (upstream.access_htpasswd if upstream else None) or access.htpasswd,
        )


def _volumes(configuration: Configuration) -> list[str]:
    """The configuration and the files that it names, read-only, where the program in a container finds them."""
    path = configuration.path
    if path is None:
        return []
    volumes = [f"./{path.name}:{CONFIG_FOLDER / 'registry-proxy.toml'}:ro"]
    for file in dict.fromkeys(file for _, file in configuration.files()):
        if file.is_relative_to(path.parent):
            relative = file.relative_to(path.parent)
            volumes.append(f"./{relative}:{CONFIG_FOLDER / relative}:ro")
        else:
            volumes.append(f"{file}:{file}:ro")
    return volumes
