"""The context of every question: the prompter, the flags, and the settings of an earlier run."""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from registry_proxy.commands.config.prompter import MissingAnswerError, RefusedAnswerError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from registry_proxy.commands.config.answers import Answers
    from registry_proxy.commands.config.prompter import Prompter
    from registry_proxy.commands.install.installed import InstalledService
    from registry_proxy.config import Settings


@dataclass(frozen=True, slots=True)
class Flags:
    """The options of the command, each for one question; None or empty if it is not given."""

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
    runner: str | None = None
    public_url: str | None = None
    check: bool = True

    @classmethod
    def of(cls, options: Mapping[str, Any]) -> Flags:
        """Return the flags from a command's options, by their names."""
        given: dict[str, Any] = {}
        for name in (each.name for each in fields(cls)):
            value = options[name]
            if value is not None:
                given[name] = tuple(value) if isinstance(value, list) else value
        return cls(**given)


@dataclass(frozen=True, slots=True)
class Context:
    """The context of one run. `file` is the configuration file, `old` its settings; None without a file.

    `service` is the installed service that reads the file.
    """

    prompter: Prompter
    flags: Flags
    answers: Answers
    file: Path
    old: Settings | None
    service: InstalledService | None = None

    @property
    def directory(self) -> Path:
        """The directory that relative paths in the file start from."""
        return self.file.parent

    def accept(self, problem: str) -> bool:
        """Return whether the user accepts the problem. Raise RefusedAnswerError without a terminal."""
        if not self.prompter.interactive:
            raise RefusedAnswerError(f"{problem} Add --no-check to accept it.")
        self.prompter.print(problem)
        return self.prompter.confirm("Keep it anyway?", default=False)

    def absolute(self, text: str | Path) -> str:
        """Return an absolute path; a relative one starts from the directory of the file."""
        return str(self.directory / Path(text).expanduser())


def pairs(flag: str, values: tuple[str, ...]) -> dict[str, str]:
    """Return the values of `NAME=VALUE` flags by their names. Raise MissingAnswerError for another form."""
    found = {}
    for text in values:
        name, separator, value = text.partition("=")
        if not separator or not name:
            raise MissingAnswerError(f"{flag} {text}: write it as NAME=VALUE.")
        found[name] = value
    return found
