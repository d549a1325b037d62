"""The settings: every key, its type and its default. `docs/configuration.md` describes them."""

from __future__ import annotations

from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field

from registry_proxy.config.types import (
    CHALLENGES,
    AbsolutePath,
    AcmeServer,
    Addresses,
    ByteSize,
    ChallengeNames,
    Command,
    Duration,
    Email,
    HelperName,
    HmacKey,
    Hostname,
    Hostnames,
    KeyIdentifier,
    Names,
    Networks,
    Password,
    PositiveDuration,
    Registry,
    SomeAddresses,
    SomePaths,
    Url,
    Username,
)
from registry_proxy.config.units import Address


class _Section(BaseModel):
    model_config = ConfigDict(strict=True, frozen=True, extra="forbid", hide_input_in_errors=True)


class ServerSettings(_Section):
    """`[server]`. Durations are seconds."""

    listen: Addresses = (Address("127.0.0.1", 5000),)
    hostnames: Hostnames = ()
    public_url: Url | None = None
    workers: Annotated[int, Field(ge=0, le=256)] = 0
    grace_period: Duration = 30.0
    header_timeout: PositiveDuration = 10.0
    idle_timeout: PositiveDuration = 75.0


class StorageSettings(_Section):
    """`[storage]`. `max_size` is in bytes, 0 means no limit. `load` sets the default of `path`."""

    path: AbsolutePath
    max_size: ByteSize = 100 * 1024**3


class CacheSettings(_Section):
    """`[cache]`. Durations are seconds, `least_rate` is bytes per second."""

    tag_ttl: Duration = 60.0
    deleted_upstream: Literal["keep", "drop"] = "keep"
    access_ttl: Duration = 7 * 86400.0
    least_rate: ByteSize = 1024


class AccessSettings(_Section):
    """`[access]`: the clients that may pull. Without any key, every client may."""

    htpasswd: AbsolutePath | None = None
    client_ca: AbsolutePath | None = None
    client_names: Names = ("*",)
    sources: Networks = ()
    trusted_proxies: Networks = ()
    proxy_protocol: bool = False


class TlsSettings(_Section):
    """`[tls]`: your certificate files (`cert` and `key`, in the same order), or `acme`.

    `load` also sets `eab_hmac_key` to the content of `eab_hmac_key_file`.
    """

    listen: SomeAddresses = (Address("::", 443),)
    http: Addresses = (Address("::", 80),)
    hostnames: Hostnames = ()
    cert: SomePaths = ()
    key: SomePaths = ()
    acme: AcmeServer | None = None
    email: Email | None = None
    agree_tos: bool = False
    ca_root: AbsolutePath | None = None
    eab_kid: KeyIdentifier | None = None
    eab_hmac_key: HmacKey | None = None
    eab_hmac_key_file: AbsolutePath | None = None
    challenges: ChallengeNames = CHALLENGES


class LogSettings(_Section):
    """`[log]`."""

    level: Literal["debug", "info", "warning", "error"] = "info"
    format: Literal["text", "json"] = "text"


class CredentialSettings(_Section):
    """Credentials from at most one source. `load` also sets `password` to the content of `password_file`.

    `password_lifetime` is in seconds, for the output of `password_command` and `credential_helper`.
    """

    username: Username | None = None
    password: Password | None = None
    password_file: AbsolutePath | None = None
    password_command: Command = ()
    credential_helper: HelperName | None = None
    password_lifetime: PositiveDuration = 3600.0

    @property
    def program(self) -> str | None:
        """The program that prints the password, if any."""
        if self.credential_helper is not None:
            return f"docker-credential-{self.credential_helper}"
        return self.password_command[0] if self.password_command else None


class PathSettings(CredentialSettings):
    """`[upstreams.NAME.paths."PATH"]`: the credentials for some repositories."""


class UpstreamSettings(CredentialSettings):
    """`[upstreams.NAME]`. After `load`, `url` is set."""

    registry: Registry
    url: Url = ""
    hostname: Hostname | None = None
    enabled: bool = True
    realms: Hostnames = ()
    allow_redirects_to: Networks = ()
    access_htpasswd: AbsolutePath | None = None
    access_client_names: Names = ()
    access_sources: Networks = ()
    paths: dict[str, PathSettings] = {}

    @property
    def credentials(self) -> tuple[CredentialSettings, ...]:
        """The upstream's credentials, including those of its paths."""
        return (self, *self.paths.values())


# `paths` is a table of tables, which cannot be set by a variable.
UPSTREAM_VARIABLES = tuple(name for name in UpstreamSettings.model_fields if name != "paths")


class Settings(_Section):
    """The whole configuration.

    `tls` is None if TLS is off. `upstreams` has those that are on, by name. `disabled_hostnames` are the host names of
    the others, with their registries. `warnings` are for the log.
    """

    server: ServerSettings
    storage: StorageSettings
    cache: CacheSettings
    access: AccessSettings
    tls: TlsSettings | None = None
    upstreams: dict[str, UpstreamSettings]
    log: LogSettings
    disabled_hostnames: dict[str, str] = Field(default={}, exclude=True, repr=False)
    warnings: tuple[str, ...] = Field(default=(), exclude=True, repr=False)

    @property
    def hostnames(self) -> tuple[str, ...]:
        """The configured host names of this server."""
        own = [upstream.hostname for upstream in self.upstreams.values() if upstream.hostname]
        return tuple(dict.fromkeys([*own, *(self.tls.hostnames if self.tls else ())]))

    @property
    def general_hostnames(self) -> tuple[str, ...]:
        """The configured host names of this server that select no upstream."""
        url = self.server.public_url
        public = urlsplit(url).hostname if url else None
        names = (
            *self.server.hostnames,
            *(self.tls.hostnames if self.tls else ()),
            *([public] if public else ()),
        )
        dedicated = {upstream.hostname for upstream in self.upstreams.values()}
        return tuple(dict.fromkeys(name for name in names if name not in dedicated))


SECTIONS: dict[str, type[BaseModel]] = {
    "server": ServerSettings,
    "storage": StorageSettings,
    "cache": CacheSettings,
    "access": AccessSettings,
    "tls": TlsSettings,
    "log": LogSettings,
}
