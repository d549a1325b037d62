"""Edits of htpasswd files, which contain users and bcrypt hashes. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

import bcrypt

if TYPE_CHECKING:
    from collections.abc import Mapping

# bcrypt ignores all further bytes.
MAX_PASSWORD = 72
# The cost of a check as a power of two, about 80 ms.
_COST = 10


def check_user(name: str) -> str | None:
    """Return the problem with a user name, if any."""
    if not name or ":" in name or name.startswith("#") or name != name.strip() or not name.isprintable():
        return "A user name has no colon, does not begin with # and contains only printable characters."
    return None


def check_password(password: str) -> str | None:
    """Return the problem with a password, if any."""
    if not password or not password.isprintable():
        return "A password has at least one character, and only printable ones."
    if len(password.encode()) > MAX_PASSWORD:
        return f"A password has at most {MAX_PASSWORD} bytes."
    return None


def users_of(text: str | None) -> list[str]:
    """Return the users of a file."""
    lines = (line.strip() for line in (text or "").splitlines())
    return [line.partition(":")[0] for line in lines if line and not line.startswith("#")]


def with_users(text: str | None, users: Mapping[str, str]) -> str:
    """Return the file with these users and passwords, new ones at its end. All other lines stay."""
    hashes = {name: f"{name}:{_hash(password)}\n" for name, password in users.items()}
    lines = [
        hashes.pop(line.strip().partition(":")[0], line) for line in (text or "").splitlines(keepends=True)
    ]
    kept = "".join(lines)
    return kept + ("\n" if kept and not kept.endswith("\n") else "") + "".join(hashes.values())


def _hash(password: str) -> str:
    return bcrypt.hashpw(password.encode(), bcrypt.gensalt(_COST)).decode()
