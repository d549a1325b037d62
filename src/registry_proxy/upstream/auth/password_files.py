"""Password in a file that may be replaced at any time."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from registry_proxy.aio.filestamp import FileStamp
from registry_proxy.upstream.auth.commands import CommandError, checked_password
from registry_proxy.upstream.auth.credentials import Credentials

if TYPE_CHECKING:
    from pathlib import Path

    from registry_proxy.oci.reference import Repository

log = logging.getLogger(__name__)


class FileCredentials:
    """A provider of the password in a file, which is re-read after a change. `initial` is the content on startup."""

    def __init__(self, initial: Credentials, path: Path) -> None:
        self._credentials = initial
        self._path = path
        self._stamp: FileStamp | None = None

    async def get(self, repository: Repository) -> Credentials | None:  # noqa: ARG002
        self._reload_if_changed()
        return self._credentials

    async def refresh(self, repository: Repository, refused: Credentials) -> Credentials | None:  # noqa: ARG002
        self._reload_if_changed()
        return self._credentials

    def _reload_if_changed(self) -> None:
        """Apply a change of the file. Keep the password while the file is missing or unusable."""
        stamp = FileStamp.read(self._path)
        if stamp is None or stamp == self._stamp:
            return
        self._stamp = stamp
        try:
            password = checked_password(self._path.read_bytes(), f"the content of {self._path}")
        except OSError:
            return
        except CommandError as error:
            log.error("password not reloaded, the previous one stays in use: %s", error)  # noqa: TRY400
            return
        if password != self._credentials.password:
            self._credentials = Credentials(self._credentials.username, password)
            log.info("password reloaded from %s", self._path)
