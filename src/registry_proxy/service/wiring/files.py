"""Check of the files that the settings refer to, as on startup. Nothing is written, and no socket is opened."""

from __future__ import annotations

from typing import TYPE_CHECKING

from registry_proxy.config import ConfigError, Problem
from registry_proxy.service.errors import StartError
from registry_proxy.service.wiring.gate import build_gate

if TYPE_CHECKING:
    from collections.abc import Iterator

    from registry_proxy.config import Settings


def check_files(settings: Settings) -> None:
    """Raise ConfigError with all files that the server could not use: users, certificates, keys and CAs."""
    problems = [*_access_problems(settings), *_tls_problems(settings)]
    if problems:
        raise ConfigError(problems)


def _access_problems(settings: Settings) -> Iterator[Problem]:
    try:
        build_gate(settings)
    except ConfigError as error:
        yield from error.problems


def _tls_problems(settings: Settings) -> Iterator[Problem]:
    if settings.tls is None:
        return
    from registry_proxy.service.wiring.tls import check_certificates  # noqa: PLC0415

    try:
        check_certificates(settings)
    except StartError as error:
        text, _, remedy = str(error).rpartition(". ")
        yield Problem("tls", None, text, remedy.removesuffix("."))
