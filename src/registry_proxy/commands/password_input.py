"""Passwords for a command: from a file, from standard input, or typed. They are never arguments."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from pydantic import SecretStr

from registry_proxy.commands.common import FailedError
from registry_proxy.config.types import check_password
from registry_proxy.config.units import InvalidValueError

if TYPE_CHECKING:
    from pathlib import Path


class PasswordError(FailedError):
    """No usable password. The text names its source and the reason."""


def read_password(path: Path) -> str:
    """Return the content of a file without the line break at its end. Raise PasswordError if it is not a password."""
    try:
        text = path.read_text("utf-8")
    except OSError as error:
        raise PasswordError(f"can't read {path}: {error.strerror}.") from None
    except UnicodeDecodeError:
        raise PasswordError(f"{path} is not UTF-8 text. Write only the password into it.") from None
    return checked_password(text.removesuffix("\n").removesuffix("\r"), f"the content of {path}")


def password_from_stdin() -> str:
    """Return the first line of standard input. Raise PasswordError if it is not a password."""
    return checked_password(sys.stdin.readline().rstrip("\r\n"), "the first line of standard input")


def checked_password(text: str, source: str) -> str:
    """Return the password. Raise PasswordError, with the source as its subject, if it cannot be sent."""
    try:
        return check_password(SecretStr(text)).get_secret_value()
    except InvalidValueError as error:
        raise PasswordError(f"{source} {error.text}. {error.remedy}") from None
