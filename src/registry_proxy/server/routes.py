"""Routing of a request: from its target to the endpoint, and to the upstream. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from ipaddress import ip_address
from typing import TYPE_CHECKING, Generic, Protocol, TypeVar
from urllib.parse import parse_qsl

from registry_proxy.oci.errors import ErrorCode, RegistryError
from registry_proxy.oci.reference import (
    Digest,
    InvalidDigestError,
    InvalidNameError,
    InvalidTagError,
    Reference,
    Repository,
    parse_reference,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

_MAX_QUERY_FIELDS = 16
_REGISTRY_WITH_PORT = re.compile(r"(?:[a-z0-9.-]{1,253}|\[[0-9a-f:.]{2,45}\]):[0-9]{1,5}", re.ASCII)


@dataclass(frozen=True, slots=True)
class NameWithPort(Repository):
    """A name whose first part is a registry with a port. Only `Router` uses it, never an upstream."""

    def __post_init__(self) -> None:
        registry, _, name = self.name.partition("/")
        if not _REGISTRY_WITH_PORT.fullmatch(registry):
            raise InvalidNameError(f"{self.name[:80]!r} is not a repository name")
        Repository(name)


@dataclass(frozen=True, slots=True)
class Ping:
    """`GET /v2/`"""


@dataclass(frozen=True, slots=True)
class CatalogOf:
    """`GET /v2/_catalog`"""


@dataclass(frozen=True, slots=True)
class ManifestOf:
    """`GET /v2/NAME/manifests/REFERENCE`"""

    name: Repository
    reference: Reference


@dataclass(frozen=True, slots=True)
class BlobOf:
    """`GET /v2/NAME/blobs/DIGEST`"""

    name: Repository
    digest: Digest


@dataclass(frozen=True, slots=True)
class TagsOf:
    """`GET /v2/NAME/tags/list`"""

    name: Repository


@dataclass(frozen=True, slots=True)
class ReferrersOf:
    """`GET /v2/NAME/referrers/DIGEST`"""

    name: Repository
    subject: Digest


RepositoryEndpoint = ManifestOf | BlobOf | TagsOf | ReferrersOf
Endpoint = Ping | CatalogOf | RepositoryEndpoint


def parse_target(target: str) -> tuple[Endpoint, dict[str, str]]:
    """Return the endpoint and the query of a request's target. Raise RegistryError."""
    path, _, query = target.partition("?")
    if "%" in path:
        # No name, tag or digest needs an escape, and encoded separators can smuggle paths (CVE-2024-4956).
        raise RegistryError(ErrorCode.NAME_INVALID, "the path has a %-escape, which no repository name needs")
    try:
        return _endpoint(path), dict(
            parse_qsl(query, keep_blank_values=True, max_num_fields=_MAX_QUERY_FIELDS)
        )
    except InvalidNameError as error:
        raise RegistryError(ErrorCode.NAME_INVALID, str(error)) from None
    except InvalidDigestError as error:
        raise RegistryError(ErrorCode.DIGEST_INVALID, str(error)) from None
    except InvalidTagError as error:
        raise RegistryError(ErrorCode.TAG_INVALID, str(error)) from None
    except ValueError:
        raise RegistryError(ErrorCode.REQUEST_INVALID, "the query has too many fields") from None


def _endpoint(path: str) -> Endpoint:
    match path.split("/"):
        case ["", "v2"] | ["", "v2", ""]:
            return Ping()
        case ["", "v2", "_catalog"]:
            return CatalogOf()
        case ["", "v2", *name, "manifests", reference] if name:
            return ManifestOf(_name(name), parse_reference(reference))
        case ["", "v2", *name, "blobs", digest] if name:
            return BlobOf(_name(name), Digest.parse(digest))
        case ["", "v2", *name, "tags", "list"] if name:
            return TagsOf(_name(name))
        case ["", "v2", *name, "referrers", digest] if name:
            return ReferrersOf(_name(name), Digest.parse(digest))
        case _:
            raise RegistryError(
                ErrorCode.NAME_UNKNOWN,
                "this server has only the registry API: manifests, blobs, tags/list, referrers, _catalog under /v2/",
            )


def _name(parts: list[str]) -> Repository:
    kind = NameWithPort if ":" in parts[0] else Repository
    return kind("/".join(parts))


class Routable(Protocol):
    """The part of an upstream that routing depends on."""

    @property
    def registry(self) -> str: ...


U = TypeVar("U", bound=Routable)


@dataclass(frozen=True, slots=True)
class Router(Generic[U]):
    """The mapping from requests to upstreams.

    `hostnames` are the host names of this server that select an upstream. `registries` are all names of the configured
    registries, in lower case. `default` is the upstream of names without a registry. `disabled` are the host names of
    upstreams that are off, with their registries. `own_names` are the host names at which the default is available, in
    addition to every IP address; None means every host name.
    """

    hostnames: Mapping[str, U]
    registries: Mapping[str, U]
    default: U | None
    disabled: Mapping[str, str] = field(default_factory=dict)
    own_names: frozenset[str] | None = None

    def route(self, host: str, ns: str | None, name: Repository) -> tuple[U, Repository]:
        """Return the upstream, and the repository's name there as the client wrote it. Raise RegistryError.

        The first match decides: the request's host name, `ns`, the first part of the name, the default.
        """
        upstream = self.select(host, ns)
        prefix, _, rest = name.name.partition("/")
        prefixed = self.registries.get(prefix) if rest else None
        if upstream is None and prefixed is None and rest and ("." in prefix or ":" in prefix):
            raise self._unknown(prefix)
        upstream = upstream or prefixed or self._default_at(host)
        if prefixed is upstream:
            # BuildKit sends both `ns` and the prefix, which is not part of the name if it matches this upstream.
            return upstream, Repository(rest)
        if isinstance(name, NameWithPort):
            raise RegistryError(
                ErrorCode.NAME_INVALID,
                f"the path is for {prefix}, but the request is for {upstream.registry}",
            )
        return upstream, name

    def select(self, host: str, ns: str | None) -> U | None:
        """Return the upstream of the host name or of `ns`. Raise RegistryError.

        `ns` is only looked up, never dialled (CVE-2026-0600).
        """
        hostname = _without_port(host)
        upstream = self.hostnames.get(hostname)
        if upstream is None and hostname in self.disabled:
            registry = self.disabled[hostname]
            raise RegistryError(
                ErrorCode.NAME_UNKNOWN,
                f"{hostname} is the host name of {registry}, which is off on this cache. "
                "Set enabled = true for its upstream, or use another host name",
            )
        if upstream is not None or ns is None:
            return upstream
        named = self.registries.get(ns.lower())
        if named is None:
            raise self._unknown(ns if _is_printable(ns) else "the registry of `ns`")
        return named

    def _default_at(self, host: str) -> U:
        """Return the default upstream, if the server has this host name. Raise RegistryError."""
        hostname = _without_port(host)
        if self.own_names is not None and hostname not in self.own_names and not _is_address(hostname):
            raise RegistryError(
                ErrorCode.NAME_UNKNOWN,
                f"{hostname[:255] if _is_printable(hostname) else 'the Host of the request'} is not a host name of "
                f"this cache, which has: {', '.join(sorted({*self.hostnames, *self.own_names}))}. "
                "Fix the name, or add it to server.hostnames",
            )
        if self.default is None:
            raise self._unknown("the default registry, docker.io,")
        return self.default

    def _unknown(self, registry: str) -> RegistryError:
        known = ", ".join(sorted({upstream.registry for upstream in self.registries.values()}))
        return RegistryError(
            ErrorCode.NAME_UNKNOWN,
            f"{registry[:255]} is not configured on this cache, which has: {known}. "
            "Add it to the configuration under [upstreams]",
        )


def _without_port(host: str) -> str:
    """Return the host of a `Host` header (RFC 9110, section 7.2), without the dot that ends an absolute name."""
    if host.count(":") == 1 or "]:" in host:
        name, _, port = host.rpartition(":")
        host = name if port.isdecimal() or not port else host
    return host.removesuffix(".")


def _is_address(hostname: str) -> bool:
    """Return whether a host is an IP address, or missing as in HTTP/1.0. Neither contains the name of a registry."""
    try:
        return not hostname or bool(ip_address(hostname.removeprefix("[").removesuffix("]")))
    except ValueError:
        return False


def _is_printable(text: str) -> bool:
    return text.isascii() and text.isprintable()
