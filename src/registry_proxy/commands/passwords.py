"""Passwords as they are given to a command: in a file, on standard input, or typed; never as an argument."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from pydantic import SecretStr

from registry_proxy.config.types import check_password
from registry_proxy.config.units import InvalidValueError

if TYPE_CHECKING:
    from pathlib import Path


class PasswordError(Exception):
    """There is no password that can be used; the text says where and why."""


def password_in(path: Path) -> str:
    """What the file holds; one line break at the end doesn't count. Raises PasswordError."""
    try:
        text = path.read_text("utf-8")
    except OSError as error:
        raise PasswordError(f"can't read {path}: {error.strerror}.") from None
    except UnicodeDecodeError:
        raise PasswordError(f"{path} is not UTF-8 text. Write nothing but the password into it.") from None
    return checked(text.removesuffix("\n").removesuffix("\r"), f"what {path} holds")


def password_from_stdin() -> str:
    """The first line of standard input. Raises PasswordError."""
    return checked(sys.stdin.readline().rstrip("\r\n"), "the first line of standard input")


def checked(text: str, what: str) -> str:
    """The password itself; raises PasswordError when it can't be sent."""
    try:
        return check_password(SecretStr(text)).get_secret_value()
    except InvalidValueError as error:
        raise PasswordError(f"{what} {error.text}. {error.remedy}") from None
