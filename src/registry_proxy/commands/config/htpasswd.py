"""htpasswd files: users and bcrypt hashes, changed line by line."""

from __future__ import annotations

from typing import TYPE_CHECKING

import bcrypt

if TYPE_CHECKING:
    from collections.abc import Mapping

# bcrypt looks at no more bytes than these.
MAX_PASSWORD = 72
# The work of a check, as a power of two: some 80 ms.
_COST = 10


def check_user(name: str) -> str | None:
    """What is wrong with a user's name."""
    if not name or ":" in name or name.startswith("#") or name != name.strip() or not name.isprintable():
        return "This is not a user name: it has no colon, doesn't begin with # and can be printed."
    return None


def check_password(password: str) -> str | None:
    """What is wrong with a user's password."""
    if not password or not password.isprintable():
        return "It must have at least one character, and none that can't be printed."
    if len(password.encode()) > MAX_PASSWORD:
        return f"It must not be longer than {MAX_PASSWORD} bytes."
    return None


def users_of(text: str | None) -> list[str]:
    """The users of a file."""
    lines = (line.strip() for line in (text or "").splitlines())
    return [line.partition(":")[0] for line in lines if line and not line.startswith("#")]


def with_users(text: str | None, users: Mapping[str, str]) -> str:
    """The file with these users and passwords, the new ones at its end; other lines stay."""
    hashes = {name: f"{name}:{_hash(password)}\n" for name, password in users.items()}
    lines = [
        hashes.pop(line.strip().partition(":")[0], line) for line in (text or "").splitlines(keepends=True)
    ]
    kept = "".join(lines)
    return kept + ("\n" if kept and not kept.endswith("\n") else "") + "".join(hashes.values())


def _hash(password: str) -> str:
    return bcrypt.hashpw(password.encode(), bcrypt.gensalt(_COST)).decode()
