"""A step that makes a program available under its name."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

from registry_proxy.commands.changes.plan import Change, Done

if TYPE_CHECKING:
    from pathlib import Path


@dataclass(frozen=True, slots=True)
class MakeLink:
    """Create a symbolic link to a program. A file of another program in its place stays."""

    path: Path
    target: Path

    @property
    def possible(self) -> bool:
        """True if the link exists or can be created."""
        if self._current() == self.target:
            return True
        nearest = next(place for place in self.path.parents if place.exists())
        return self._is_replaceable() and os.access(nearest, os.W_OK)

    def changes(self) -> list[Change]:
        """Return the link, if it is missing and can be created."""
        if self._current() == self.target or not self.possible:
            return []
        return [Change("change" if self.path.is_symlink() else "create", f"{self.path} -> {self.target}")]

    def apply(self) -> Done:
        """Create it, or replace the link of another environment of the program."""
        before = self._current()
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._link(self.target)
        return Done(undo=lambda: self._link(before) if before else self.path.unlink())

    def _link(self, target: Path) -> None:
        new = self.path.with_name(f".{self.path.name}.new")
        new.unlink(missing_ok=True)
        new.symlink_to(target)
        new.replace(self.path)

    def _current(self) -> Path | None:
        return self.path.readlink() if self.path.is_symlink() else None

    def _is_replaceable(self) -> bool:
        current = self._current()
        return not self.path.exists() if current is None else current.name == self.path.name


@dataclass(frozen=True, slots=True)
class RemoveLink:
    """Remove a symbolic link, if it still has this target."""

    path: Path
    target: Path

    def changes(self) -> list[Change]:
        """Return the link, if it exists."""
        exists = self.path.is_symlink() and self.path.readlink() == self.target
        return [Change("remove", str(self.path))] if exists else []

    def apply(self) -> Done:
        self.path.unlink()
        return Done(undo=lambda: self.path.symlink_to(self.target))
