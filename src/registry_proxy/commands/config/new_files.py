"""Owner and mode of new files: a service that reads the configuration must be able to read its other files, too."""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass
from typing import TYPE_CHECKING

from registry_proxy.commands.changes.files import PRIVATE, WriteFile
from registry_proxy.config.sharing import is_shared

if TYPE_CHECKING:
    from pathlib import Path

    from registry_proxy.commands.changes.files import Owner
    from registry_proxy.commands.changes.show import Mask

_PUBLIC = 0o644


@dataclass(frozen=True, slots=True)
class NewFiles:
    """The access of new files: `public` is the mode of the configuration, `private` that of files with secrets."""

    owner: Owner | None
    public: int
    private: int

    def write(self, path: Path, text: str, mask: Mask, *, private: bool) -> WriteFile:
        """Return the step that writes a file. An existing one keeps its access."""
        mode = self.private if private else self.public
        return WriteFile(path, text.encode(), mode, self.owner, mask, keep_access=True)


def access_of_new_files(config: Path) -> NewFiles:
    """Return the access that fits the configuration file, or its directory if the file is missing."""
    reference = next(place for place in (config, *config.parents) if place.exists()).stat()
    # Only root can give a file to another user.
    owner = (lambda: (reference.st_uid, reference.st_gid)) if os.geteuid() == 0 else None
    if owner is not None and is_shared(reference):
        return NewFiles(owner, PRIVATE | stat.S_IRGRP, PRIVATE | stat.S_IRGRP)
    return NewFiles(owner, _PUBLIC, PRIVATE)
