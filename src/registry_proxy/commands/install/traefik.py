"""Labels for an existing Traefik, which serves the containers under their host names."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from registry_proxy.commands.changes.plan import ChangeError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from ipaddress import IPv4Network, IPv6Network
    from pathlib import Path


@dataclass(frozen=True, slots=True)
class Traefik:
    """Traefik's network, its entry point for HTTPS, and its certificate resolver.

    `hostname` is the host name of all registries together, in addition to those of the upstreams. `subnets` are those
    of the network, as far as they are known.
    """

    network: str
    entrypoint: str
    resolver: str
    hostname: str | None = None
    subnets: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Route:
    """A host name, and the clients that may use it."""

    name: str
    hostname: str
    sources: Sequence[IPv4Network | IPv6Network]
    htpasswd: Path | None


_HASHES = "basicauth.users"


def has_hashes(label: str) -> bool:
    """Return whether a label has users with the hashes of their passwords."""
    return f".{_HASHES}=" in label


def labels(service: str, traefik: Traefik, routes: Sequence[Route]) -> list[str]:
    """Return the labels of one container. Raise ChangeError if it has no host name."""
    if not routes:
        raise ChangeError(
            f"Traefik requires a host name for {service}. "
            "Set hostname in its [upstreams.NAME], or --hostname for one host that serves all registries."
        )
    found = [
        "traefik.enable=true",
        f"traefik.docker.network={traefik.network}",
        f"traefik.http.services.registry-proxy-{service}.loadbalancer.server.port=5000",
    ]
    for route in routes:
        found += _router(service, traefik, route)
    return found


def _router(service: str, traefik: Traefik, route: Route) -> list[str]:
    name = f"registry-proxy-{route.name}"
    router = f"traefik.http.routers.{name}"
    middlewares = {}
    if route.sources:
        sources = ",".join(map(str, route.sources))
        middlewares[f"{name}-sources"] = f"ipallowlist.sourcerange={sources}"
    if route.htpasswd:
        middlewares[f"{name}-users"] = f"{_HASHES}={_users(route.htpasswd)}"
    return [
        f"{router}.rule=Host(`{route.hostname}`)",
        f"{router}.entrypoints={traefik.entrypoint}",
        f"{router}.tls.certresolver={traefik.resolver}",
        f"{router}.service=registry-proxy-{service}",
        *(f"traefik.http.middlewares.{key}.{value}" for key, value in middlewares.items()),
        *([f"{router}.middlewares={','.join(middlewares)}"] if middlewares else []),
    ]


def _users(htpasswd: Path) -> str:
    lines = htpasswd.read_text("utf-8").splitlines()
    return ",".join(line.strip() for line in lines if line.strip() and not line.startswith("#"))
