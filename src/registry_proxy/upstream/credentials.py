"""The user name and password of an upstream, and where they come from."""

from __future__ import annotations

import base64
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field


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


# Asked for each request that needs them: a provider keeps what is dear to get. It may raise UpstreamError.
CredentialProvider = Callable[[], Awaitable[Credentials | None]]


class StaticCredentials:
    """A provider of credentials from the configuration; `replace` puts others in their place."""

    def __init__(self, credentials: Credentials | None = None) -> None:
        self._credentials = credentials

    async def __call__(self) -> Credentials | None:
        return self._credentials

    def replace(self, credentials: Credentials | None) -> None:
        """Use these from the next request on; tokens of the old ones are not used again."""
        self._credentials = credentials
