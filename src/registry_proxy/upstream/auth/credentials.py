"""The user name and password of an upstream, and where they come from."""

from __future__ import annotations

import base64
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping

    from registry_proxy.oci.reference import Repository


@dataclass(frozen=True, slots=True)
class Credentials:
    """A user name and a password, token or key, as HTTP Basic takes them.

    Google's `_json_key` and `oauth2accesstoken`, Amazon's `AWS` and NVIDIA's `$oauthtoken` are plain user names.
    """

    username: str
    password: str = field(repr=False)

    def __post_init__(self) -> None:
        # RFC 7617, section 2: a user-id with a colon can't be told from one without.
        if ":" in self.username:
            raise ValueError(
                f"the user name {self.username!r} contains a colon, which HTTP Basic can't carry"
            )

    def basic(self) -> str:
        """The value of an `Authorization` header."""
        return "Basic " + base64.b64encode(f"{self.username}:{self.password}".encode()).decode()


class CredentialProvider(Protocol):
    """Where credentials come from. It is asked for each request that needs them, and keeps what is dear to get."""

    async def get(self, repository: Repository) -> Credentials | None:
        """The credentials for a repository; None to ask anonymously. Raises UpstreamError."""

    async def refresh(self, repository: Repository, refused: Credentials) -> Credentials | None:
        """What to try instead of those that the upstream has just refused; the same ones if there is nothing else."""


class StaticCredentials:
    """A provider of credentials from the configuration; `replace` puts others in their place."""

    def __init__(self, credentials: Credentials | None = None) -> None:
        self._credentials = credentials

    async def get(self, repository: Repository) -> Credentials | None:  # noqa: ARG002
        return self._credentials

    async def refresh(self, repository: Repository, refused: Credentials) -> Credentials | None:  # noqa: ARG002
        return self._credentials

    def replace(self, credentials: Credentials | None) -> None:
        """Use these from the next request on; tokens of the old ones are not used again."""
        self._credentials = credentials


class CredentialsByPath:
    """A provider of other credentials for some repositories: of those below the longest path that fits.

    A path is a repository, or what its name begins with up to a slash.
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
