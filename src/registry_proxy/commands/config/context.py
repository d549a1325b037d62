"""What every question needs: whom to ask, what the flags say, what an earlier run has answered."""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from registry_proxy.commands.config.prompter import MissingAnswerError, RefusedAnswerError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from registry_proxy.commands.config.answers import Answers
    from registry_proxy.commands.config.prompter import Prompter
    from registry_proxy.config import Settings


@dataclass(frozen=True, slots=True)
class Flags:
    """The answers on the command line; None and empty where there is none."""

    registry: tuple[str, ...] = ()
    domain: str | None = None
    hostname: tuple[str, ...] = ()
    username: tuple[str, ...] = ()
    password_file: tuple[str, ...] = ()
    password_stdin: str | None = None
    certificates: str | None = None
    email: str | None = None
    agree_tos: bool = False
    acme_root: Path | None = None
    eab_kid: str | None = None
    eab_key_file: Path | None = None
    cert: tuple[Path, ...] = ()
    key: tuple[Path, ...] = ()
    listen: str | None = None
    access: tuple[str, ...] = ()
    htpasswd: Path | None = None
    user: tuple[str, ...] = ()
    client_ca: Path | None = None
    client_name: tuple[str, ...] = ()
    source: tuple[str, ...] = ()
    trusted_proxy: tuple[str, ...] = ()
    path: Path | None = None
    max_size: str | None = None
    check: bool = True

    @classmethod
    def of(cls, options: Mapping[str, Any]) -> Flags:
        """Those that are given among a command's options, by their names."""
        given: dict[str, Any] = {}
        for name in (each.name for each in fields(cls)):
            value = options[name]
            if value is not None:
                given[name] = tuple(value) if isinstance(value, list) else value
        return cls(**given)


@dataclass(frozen=True, slots=True)
class Context:
    """`file` is the configuration's; `old` are its settings, where there is one."""

    prompter: Prompter
    flags: Flags
    answers: Answers
    file: Path
    old: Settings | None

    @property
    def folder(self) -> Path:
        """Where relative paths in the file begin."""
        return self.file.parent

    def accept(self, problem: str) -> bool:
        """Whether somebody wants it in spite of the problem. Raises RefusedAnswerError when nobody can be asked."""
        if not self.prompter.attended:
            raise RefusedAnswerError(f"{problem} --no-check takes it all the same.")
        self.prompter.tell(problem)
        return self.prompter.confirm("Keep it all the same?", default=False)

    def absolute(self, text: str | Path) -> str:
        """A path as it is written into the file."""
        return str(self.folder / Path(text).expanduser())


def pairs(flag: str, values: tuple[str, ...]) -> dict[str, str]:
    """What `NAME=VALUE` flags say. Raises MissingAnswerError."""
    found = {}
    for text in values:
        name, separator, value = text.partition("=")
        if not separator or not name:
            raise MissingAnswerError(f"{flag} {text}: write it as NAME=VALUE.")
        found[name] = value
    return found
