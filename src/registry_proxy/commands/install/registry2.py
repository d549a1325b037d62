"""The engine `registry2`: a stack of `registry:2` (distribution), one container and one store per registry."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from registry_proxy.commands.changes.directories import MakeDirectory
from registry_proxy.commands.changes.dotenv import portable_assignment
from registry_proxy.commands.changes.files import PRIVATE, WriteFile
from registry_proxy.commands.changes.plan import ChangeError
from registry_proxy.commands.changes.show import hidden
from registry_proxy.commands.install.stack import (
    Image,
    Service,
    Stack,
    check_options,
    plain_addresses,
    published,
)
from registry_proxy.commands.install.traefik import Route, labels

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from registry_proxy.commands.changes.files import Owner
    from registry_proxy.commands.changes.plan import Step
    from registry_proxy.commands.install.configuration import Configuration
    from registry_proxy.commands.install.stack import StackOptions
    from registry_proxy.config import UpstreamSettings

# Next to the Compose file: the variables of each container, with its credentials.
DIRECTORY = "registry2"
_IMAGE = "registry:2"
_LIMITATIONS = """\
registry:2 serves instead of registry-proxy. With it there is
  - no shared download: each client that pulls a cold image downloads it from upstream
  - no response from the cache while an upstream refuses the credentials, and none without a request to it: no tag_ttl
  - no disk budget: content is deleted after seven days, used or not, and until then the disk can fill up
  - no shared store: each registry has its own, and stores a layer again that another one has
  - no resumed downloads, no ranges of a cold layer, and clients receive broken or corrupt transfers
  - no ?ns= and no path prefix: each registry has a port or a host name
  - no access_sources, no settings of [access] except htpasswd, and no verify, status and doctor"""


class Registry2Stack:
    """One container for each upstream."""

    # The image runs as root, but without the capability to bypass file permissions.
    reader = (0, 0)

    def __init__(self, configuration: Configuration, options: StackOptions) -> None:
        self._configuration = configuration
        self._settings = configuration.settings
        self._options = replace(options, per_registry=True, identity=None)

    def stack(self) -> Stack:
        self._check()
        upstreams = enumerate(self._settings.upstreams.items())
        services = [self._service(number, name, upstream) for number, (name, upstream) in upstreams]
        return Stack(
            services,
            volumes=[f"registry2-{service.name}" for service in services],
            options=self._options,
            stop_seconds=round(self._settings.server.grace_period) + 15,
            profiles=tuple(service.name for service in services),
        )

    def image(self) -> Image:
        return Image(self._options.image or _IMAGE)

    def files(self, directory: Path, owner: Owner) -> Iterator[Step]:
        yield MakeDirectory(directory / DIRECTORY, 0o700, owner)
        for number, name in enumerate(self._settings.upstreams):
            content = self._environment(number, name).encode()
            yield WriteFile(directory / _env_file(name), content, PRIVATE, owner, hidden)

    def warnings(self) -> tuple[str, ...]:
        return (_LIMITATIONS,)

    def _check(self) -> None:
        """Raise ChangeError for settings that registry:2 does not support."""
        settings = self._settings
        check_options(self._configuration, self._options)
        if settings.tls:
            raise ChangeError("registry:2 does not use [tls]. Remove it, and use --traefik for TLS.")
        limited = settings.access.sources or any(each.access_sources for each in settings.upstreams.values())
        if limited and self._options.traefik is None:
            raise ChangeError(
                "registry:2 does not support access.sources. Remove them, or let Traefik check them (--traefik)."
            )
        for name, upstream in settings.upstreams.items():
            if upstream.program or upstream.paths:
                raise ChangeError(
                    f"upstreams.{name}: registry:2 supports one user name and password, not "
                    f"{upstream.program or 'paths'}. Configure a password, or omit --engine."
                )

    def _environment(self, number: int, name: str) -> str:
        """Return the variables of one container, with its credentials."""
        upstream = self._settings.upstreams[name]
        address = plain_addresses(self._configuration, self._options, number)[0]
        values = {
            "REGISTRY_PROXY_REMOTEURL": upstream.url,
            "REGISTRY_HTTP_ADDR": str(address) if self._options.host_network else ":5000",
            # By default registry:2 never deletes content.
            "REGISTRY_STORAGE_DELETE_ENABLED": "true",
            "OTEL_TRACES_EXPORTER": "none",
        }
        if upstream.username is not None and upstream.password is not None:
            values["REGISTRY_PROXY_USERNAME"] = upstream.username
            values["REGISTRY_PROXY_PASSWORD"] = upstream.password.get_secret_value()
        if upstream.access_htpasswd or self._settings.access.htpasswd:
            values["REGISTRY_AUTH"] = "htpasswd"
            values["REGISTRY_AUTH_HTPASSWD_REALM"] = "registry-proxy"
            values["REGISTRY_AUTH_HTPASSWD_PATH"] = "/auth/htpasswd"
        lines = ["# Generated by `registry-proxy install compose`.\n"]
        return "".join([*lines, *(portable_assignment(key, value) for key, value in values.items())])

    def _service(self, number: int, name: str, upstream: UpstreamSettings) -> Service:
        access, options = self._settings.access, self._options
        addresses = plain_addresses(self._configuration, options, number)
        if not addresses:
            raise ChangeError("server.listen has no address for registry:2 to listen on.")
        htpasswd = upstream.access_htpasswd or access.htpasswd
        route = Route(name, upstream.hostname or "", upstream.access_sources or access.sources, htpasswd)
        routes = [route] if upstream.hostname else []
        place = str(addresses[0]) if options.host_network else "127.0.0.1:5000"
        return Service(
            name,
            environment={},
            volumes=[
                f"registry2-{name}:/var/lib/registry",
                *([f"{htpasswd}:/auth/htpasswd:ro"] if htpasswd else []),
            ],
            ports=[published(each, 5000) for each in addresses],
            labels=labels(name, options.traefik, routes) if options.traefik else (),
            # The image is based on Alpine; / responds without a login.
            probe=["wget", "--quiet", "--spider", f"http://{place}/"],
            profile=name,
            env_files=[_env_file(name)],
        )


def _env_file(name: str) -> str:
    return f"{DIRECTORY}/{name}.env"
