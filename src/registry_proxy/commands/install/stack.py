"""The content of a Compose file as values, and the interface of the engines that make it. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from registry_proxy.commands.changes.plan import ChangeError
from registry_proxy.commands.install.traefik import has_hashes
from registry_proxy.config import Address

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from registry_proxy.commands.changes.files import Owner
    from registry_proxy.commands.changes.plan import Step
    from registry_proxy.commands.install.configuration import Configuration
    from registry_proxy.commands.install.traefik import Traefik


@dataclass(frozen=True, slots=True)
class StackOptions:
    """Options of a stack.

    `image` is an existing image, to use instead of building one on `base`. `identity` is the user ID and group ID of
    the containers; None uses the image's.
    """

    per_registry: bool = False
    traefik: Traefik | None = None
    host_network: bool = False
    image: str | None = None
    base: str | None = None
    identity: tuple[int, int] | None = None


@dataclass(frozen=True, slots=True)
class Service:
    """One container. `probe` is a command in it that succeeds once the container serves.

    `check` are arguments of its program that check the configuration; the engine may have none.
    """

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
    check: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class Build:
    """The directory that an image is built from, and its base image; None is the default of the Dockerfile."""

    context: Path
    base: str | None


@dataclass(frozen=True, slots=True)
class Image:
    """The name of the image, and how to build it; None for an existing one."""

    name: str
    build: Build | None = None


@dataclass(frozen=True, slots=True)
class Stack:
    """The containers, and the volumes that they share."""

    services: Sequence[Service]
    volumes: Sequence[str]
    options: StackOptions
    stop_seconds: int
    profiles: tuple[str, ...] = field(default=())

    @property
    def has_hashes(self) -> bool:
        """True if the Compose file has hashes of passwords."""
        return any(has_hashes(label) for service in self.services for label in service.labels)


class StackMaker(Protocol):
    """An engine: makes the stack that runs a cache. All methods raise ChangeError for an impossible configuration."""

    @property
    def reader(self) -> tuple[int, int]:
        """The user ID and group ID that read the mounted files."""
        ...

    def stack(self) -> Stack:
        """Return the containers."""
        ...

    def image(self) -> Image:
        """Return the image that they run."""
        ...

    def files(self, directory: Path, owner: Owner) -> Iterator[Step]:
        """Yield the steps that write the engine's files next to the Compose file."""
        ...

    def warnings(self) -> tuple[str, ...]:
        """Return what the user must know before the installation."""
        ...


def check_options(configuration: Configuration, options: StackOptions) -> None:
    """Raise ChangeError for options that exclude each other."""
    settings = configuration.settings
    if options.traefik and settings.tls:
        raise ChangeError("[tls] is configured, but Traefik terminates TLS. Remove [tls], or omit --traefik.")
    if options.traefik and options.host_network:
        raise ChangeError("--traefik requires a Docker network: omit --host-network.")
    if options.traefik and settings.access.client_ca:
        raise ChangeError(
            "access.client_ca can't be checked behind Traefik, which terminates TLS. "
            "Check client certificates in Traefik (tls.options), or omit --traefik."
        )
    if options.per_registry and settings.tls:
        raise ChangeError(
            "one container per registry would use the ports of [tls] several times. "
            "Use one container for all registries, or --traefik."
        )
    if options.host_network and configuration.low_ports:
        raise ChangeError(
            "an unprivileged container can't listen on ports below 1024 in the host's network. "
            "Omit --host-network, or configure higher ports."
        )


def published(address: Address, port: int) -> str:
    """Return the mapping of an address of the host to a container's port, in the syntax of Compose."""
    host = "127.0.0.1" if address.host == "localhost" else address.host
    if address.port == 0:
        raise ChangeError(f"{address}: a container requires a fixed port. Configure one.")
    if not set(host) <= set("0123456789abcdef.:"):
        raise ChangeError(
            f"{address}: Docker publishes ports on IP addresses, not on host names. Configure the IP address."
        )
    place = "" if host in ("0.0.0.0", "::") else f"[{host}]:" if ":" in host else f"{host}:"  # noqa: S104
    return f"{place}{address.port}:{port}"


def plain_addresses(configuration: Configuration, options: StackOptions, number: int) -> list[Address]:
    """Return the addresses without TLS of the container of registry `number`; each container has different ports."""
    addresses = configuration.settings.server.listen
    if options.per_registry:
        return [Address(each.host, each.port + number) for each in addresses]
    return list(addresses)


def host_addresses(configuration: Configuration, options: StackOptions) -> dict[str, list[Address]]:
    """Return the addresses that the whole stack uses on the host, by their keys."""
    if options.traefik:
        return {}
    numbers = range(len(configuration.settings.upstreams) if options.per_registry else 1)
    plain = [each for number in numbers for each in plain_addresses(configuration, options, number)]
    return {key: list(some) for key, some in configuration.addresses.items()} | {"server.listen": plain}
