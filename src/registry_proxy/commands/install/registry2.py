"""The same stack with `registry:2` (distribution) as the cache: a container, and a store, for each registry."""

from __future__ import annotations

from typing import TYPE_CHECKING

from registry_proxy.commands.install.dotenv import quoted
from registry_proxy.commands.install.plan import InstallError
from registry_proxy.commands.install.stack import (
    Choices,
    Service,
    Stack,
    check_choices,
    plain_addresses,
    published,
)
from registry_proxy.commands.install.traefik import Route, labels

if TYPE_CHECKING:
    from registry_proxy.commands.install.configuration import Configuration
    from registry_proxy.config import UpstreamSettings

IMAGE = "registry:2"
FOLDER = "registry2"
GIVEN_UP = """\
registry:2 serves instead of registry-proxy, so there is:
  - no shared transfer: clients that ask for the same cold image at once each cost one from upstream
  - no answer from cache while an upstream refuses the credentials, and none without asking it first: no tag_ttl
  - no disk budget: content goes seven days after it came, whatever its use, and until then the disk fills
  - no shared store: each registry has its own, the same layer is kept in each of them
  - no resuming, no ranges of a cold layer, and a broken or corrupt transfer reaches the client
  - no ?ns= and no path prefix: each registry is a port or a host name of its own
  - no access_sources and no other settings of [access] than htpasswd, and nothing of verify, status and doctor"""


def make_stack(configuration: Configuration, choices: Choices) -> Stack:
    """A container for each upstream. Raises InstallError for what registry:2 can't do."""
    settings = configuration.settings
    check_choices(configuration, choices)
    if settings.tls:
        raise InstallError("[tls] isn't carried over to registry:2. Take it out, and use --traefik for TLS.")
    limited = settings.access.sources or any(each.access_sources for each in settings.upstreams.values())
    if limited and choices.traefik is None:
        raise InstallError(
            "registry:2 has no access.sources. Take them out, or have Traefik check them (--traefik)."
        )
    for name, upstream in settings.upstreams.items():
        _check(name, upstream)
    upstreams = enumerate(settings.upstreams.items())
    services = [_service(configuration, choices, number, name, each) for number, (name, each) in upstreams]
    return Stack(
        services,
        volumes=[f"registry2-{service.name}" for service in services],
        choices=choices,
        stop_seconds=round(settings.server.grace_period) + 15,
        profiles=tuple(service.name for service in services),
    )


def environment(configuration: Configuration, choices: Choices, name: str) -> str:
    """The variables of one container, with its credentials. Raises InstallError."""
    upstream = configuration.settings.upstreams[name]
    number = list(configuration.settings.upstreams).index(name)
    address = plain_addresses(configuration, choices, number)[0]
    values = {
        "REGISTRY_PROXY_REMOTEURL": upstream.url,
        "REGISTRY_HTTP_ADDR": str(address) if choices.host_network else ":5000",
        # Without it nothing ever leaves the disk again.
        "REGISTRY_STORAGE_DELETE_ENABLED": "true",
        "OTEL_TRACES_EXPORTER": "none",
    }
    if upstream.username is not None and upstream.password is not None:
        values["REGISTRY_PROXY_USERNAME"] = upstream.username
        values["REGISTRY_PROXY_PASSWORD"] = upstream.password.get_secret_value()
    if upstream.access_htpasswd or configuration.settings.access.htpasswd:
        values["REGISTRY_AUTH"] = "htpasswd"
        values["REGISTRY_AUTH_HTPASSWD_REALM"] = "registry-proxy"
        values["REGISTRY_AUTH_HTPASSWD_PATH"] = "/auth/htpasswd"
    lines = ["# Made by `registry-proxy install compose`."]
    return "\n".join([*lines, *(quoted(key, value) for key, value in values.items()), ""])


def _check(name: str, upstream: UpstreamSettings) -> None:
    if upstream.program or upstream.paths:
        raise InstallError(
            f"upstreams.{name}: registry:2 takes one user name and password, no {upstream.program or 'paths'}. "
            "Give it a password of its own, or leave --engine out."
        )


def _service(
    configuration: Configuration, choices: Choices, number: int, name: str, upstream: UpstreamSettings
) -> Service:
    access = configuration.settings.access
    addresses = plain_addresses(configuration, choices, number)
    if not addresses:
        raise InstallError("server.listen names no address for registry:2 to be reached at.")
    htpasswd = upstream.access_htpasswd or access.htpasswd
    route = Route(name, upstream.hostname or "", upstream.access_sources or access.sources, htpasswd)
    routes = [route] if upstream.hostname else []
    place = str(addresses[0]) if choices.host_network else "127.0.0.1:5000"
    return Service(
        name,
        environment={},
        volumes=[
            f"registry2-{name}:/var/lib/registry",
            *([f"{htpasswd}:/auth/htpasswd:ro"] if htpasswd else []),
        ],
        ports=[published(each, 5000) for each in addresses],
        labels=labels(name, choices.traefik, routes) if choices.traefik else (),
        # The image is Alpine's; / is answered without a login.
        probe=["wget", "--quiet", "--spider", f"http://{place}/"],
        profile=name,
        env_files=[f"{FOLDER}/{name}.env"],
    )
