"""User name and password of an upstream, and their providers."""

from __future__ import annotations

import base64
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping

    from registry_proxy.oci.reference import Repository


@dataclass(frozen=True, slots=True)
class Credentials:
    """A user name and a password, token or key, as HTTP Basic accepts them.

    Google's `_json_key` and `oauth2accesstoken`, Amazon's `AWS` and NVIDIA's `$oauthtoken` are plain user names.
    """

    username: str
    password: str = field(repr=False)

    def __post_init__(self) -> None:
        # RFC 7617, section 2: the first colon ends the user-id.
        if ":" in self.username:
            raise ValueError(
                f"the user name {self.username!r} contains a colon, which HTTP Basic can't carry"
            )

    def basic(self) -> str:
        """Return the value of an `Authorization` header."""
        return "Basic " + base64.b64encode(f"{self.username}:{self.password}".encode()).decode()


class CredentialProvider(Protocol):
    """A source of credentials. It is called for each request that requires them, and caches them if necessary."""

    async def get(self, repository: Repository) -> Credentials | None:
        """Return the credentials for a repository; None for anonymous requests. Raise UpstreamError."""

    async def refresh(self, repository: Repository, refused: Credentials) -> Credentials | None:
        """Return newer credentials after the upstream has refused some; the same ones if there are no others."""


class StaticCredentials:
    """A provider of the credentials in the configuration. `replace` sets new ones."""

    def __init__(self, credentials: Credentials | None = None) -> None:
        self._credentials = credentials

    async def get(self, repository: Repository) -> Credentials | None:  # noqa: ARG002
        return self._credentials

    async def refresh(self, repository: Repository, refused: Credentials) -> Credentials | None:  # noqa: ARG002
        return self._credentials

    def replace(self, credentials: Credentials | None) -> None:
        """Use these credentials from the next request on. Tokens of the old ones are not used again."""
        self._credentials = credentials


class CredentialsByPath:
    """A provider that selects another provider by the repository: that of the longest matching path.

    A path is a repository, or the start of its name up to a slash.
    """

    def __init__(self, general: CredentialProvider, paths: Mapping[str, CredentialProvider]) -> None:
        self._general = general
        self._paths = paths

    async def get(self, repository: Repository) -> Credentials | None:
        return await self._provider(repository).get(repository)

    async def refresh(self, repository: Repository, refused: Credentials) -> Credentials | None:
        return await self._provider(repository).refresh(repository, refused)

    def _provider(self, repository: Repository) -> CredentialProvider:
        path = repository.name
        while path:
            if found := self._paths.get(path):
                return found
            path = path.rpartition("/")[0]
        return self._general
