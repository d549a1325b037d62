"""A password in a file, which may be replaced at any time."""

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
    """A provider of what a file holds, read again when it has changed; `initial` is what it held at the start."""

    def __init__(self, initial: Credentials, path: Path) -> None:
        self._credentials = initial
        self._path = path
        self._stamp: FileStamp | None = None

    async def get(self, repository: Repository) -> Credentials | None:  # noqa: ARG002
        self._look()
        return self._credentials

    async def refresh(self, repository: Repository, refused: Credentials) -> Credentials | None:  # noqa: ARG002
        self._look()
        return self._credentials

    def _look(self) -> None:
        """Take over a change. A file that is missing for the moment, or can't be used, changes nothing."""
        stamp = FileStamp.read(self._path)
        if stamp is None or stamp == self._stamp:
            return
        self._stamp = stamp
        try:
            password = checked_password(self._path.read_bytes(), f"what {self._path} holds")
        except OSError:
            return
        except CommandError as error:
            log.error("the old password stays in use: %s", error)  # noqa: TRY400
            return
        if password != self._credentials.password:
            self._credentials = Credentials(self._credentials.username, password)
            log.info("the password in %s was taken over", self._path)
