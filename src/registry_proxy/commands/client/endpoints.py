"""The addresses of the server for its clients, one per registry, from its settings. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import ip_address
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from registry_proxy.commands.changes.plan import ChangeError
from registry_proxy.oci.reference import path_of_registry

if TYPE_CHECKING:
    from collections.abc import Iterable

    from registry_proxy.config import Address, Settings

_PORTS = {"http": 80, "https": 443}


class ClientError(ChangeError):
    """The client's files cannot be made or changed. The text names the reason and the fix."""


@dataclass(frozen=True, slots=True)
class Mirror:
    """The mirror of one registry.

    `registry` is its host in image names, `url` its address. `origin` is the cache's address for it. A `shared` origin
    serves several registries, so that requests must name the registry in `?ns=` or in the path.
    """

    registry: str
    url: str
    origin: str
    shared: bool

    @property
    def host(self) -> str:
        """The cache's host, with its port unless it is the default of the scheme."""
        return self.origin.partition("://")[2]

    @property
    def insecure(self) -> bool:
        """True if it has no TLS."""
        return self.origin.startswith("http://")

    @property
    def location(self) -> str:
        """The cache's host, with the registry as a path if it is shared: for clients that do not send `?ns=`."""
        return f"{self.host}/{path_of_registry(self.registry)}" if self.shared else self.host


@dataclass(frozen=True, slots=True)
class Server:
    """The cache for its clients: one mirror per registry, and the origin that serves all of them, if there is one."""

    mirrors: tuple[Mirror, ...]
    shared: str | None
    notes: tuple[str, ...] = ()

    @property
    def is_local(self) -> bool:
        """True if only this machine can reach it."""
        return any(_is_loopback(urlsplit(mirror.origin).hostname or "") for mirror in self.mirrors)

    def mirror(self, registry: str) -> Mirror | None:
        """Return the mirror of one registry, None without one."""
        return next((mirror for mirror in self.mirrors if mirror.registry == registry), None)


def server_of(settings: Settings, url: str | None = None) -> Server:
    """Return the server of these settings; `url` is an address for all registries. Raise ClientError without any."""
    shared = _origin(*_split(url)) if url else _shared_origin(settings)
    mirrors, missing = [], []
    for upstream in settings.upstreams.values():
        hostname = None if url else upstream.hostname
        origin = _origin(hostname, *_scheme_and_port(settings)) if hostname else shared
        if origin is None:
            missing.append(upstream.registry)
        else:
            mirrors.append(Mirror(upstream.registry, upstream.url, origin, shared=hostname is None))
    if not mirrors:
        raise ClientError(
            "the configuration contains no address that clients can use. Pass it with "
            "--server http://ADDRESS:PORT or --server https://HOST, or set server.public_url."
        )
    notes = [f"{registry} is not included: no host name of the cache serves it." for registry in missing]
    return Server(tuple(mirrors), shared, tuple(notes))


def _shared_origin(settings: Settings) -> str | None:
    """Return the origin at which a request can name any registry."""
    dedicated = {upstream.hostname for upstream in settings.upstreams.values()}
    if settings.server.public_url:
        host, scheme, port = _split(settings.server.public_url)
        return None if host in dedicated else _origin(host, scheme, port)
    if settings.tls:
        name = next((name for name in settings.tls.hostnames if name not in dedicated), None)
        return _origin(name, "https", settings.tls.listen[0].port) if name else None
    address = next((address for address in settings.server.listen if not _is_wildcard(address.host)), None)
    return f"http://{address}" if address else None


def _scheme_and_port(settings: Settings) -> tuple[str, int]:
    """Return the scheme and the port of the upstreams' host names."""
    if settings.server.public_url:
        return _split(settings.server.public_url)[1:]
    if settings.tls:
        return "https", settings.tls.listen[0].port
    # With host names, a server that only listens locally is behind a reverse proxy.
    if _all_loopback(settings.server.listen):
        return "https", 443
    return "http", settings.server.listen[0].port


def _split(url: str) -> tuple[str, str, int]:
    """Return host, scheme and port. Raise ClientError for an unusable URL."""
    try:
        parts = urlsplit(url)
        port = parts.port or _PORTS[parts.scheme]
    except (ValueError, KeyError):
        raise _unusable_url(url) from None
    if not parts.hostname or parts.username is not None or parts.path not in ("", "/"):
        raise _unusable_url(url)
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    return host, parts.scheme, port


def _unusable_url(url: str) -> ClientError:
    return ClientError(
        f"{url} is not the address of a server. Write it like https://registry.example.com:5000, without a path."
    )


def _origin(host: str, scheme: str, port: int) -> str:
    return f"{scheme}://{host}" if port == _PORTS[scheme] else f"{scheme}://{host}:{port}"


def _all_loopback(addresses: Iterable[Address]) -> bool:
    return all(_is_loopback(address.host) for address in addresses)


def _is_loopback(host: str) -> bool:
    return host == "localhost" or (_is_ip(host) and ip_address(host).is_loopback)


def _is_wildcard(host: str) -> bool:
    return _is_ip(host) and ip_address(host).is_unspecified


def _is_ip(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return False
    return True
