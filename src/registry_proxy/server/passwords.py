"""Logins by htpasswd files, checked once and then remembered for a while."""

from __future__ import annotations

import asyncio
import base64
import binascii
import hmac
import logging
import secrets
from typing import TYPE_CHECKING

import bcrypt

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

log = logging.getLogger(__name__)

# A check takes some 80 ms by design, so a right login is remembered for this long. Seconds.
_REMEMBERED = 300.0
_MAX_REMEMBERED = 1024
# How often the file is looked at for changes. Seconds.
_LOOK_EVERY = 2.0
# bcrypt looks at no more bytes than these.
_MAX_PASSWORD = 72
_BCRYPT = (b"$2a$", b"$2b$", b"$2y$")
# Checked for an unknown user, so that the time of the answer doesn't tell which users there are: no password has it.
_NOBODY = b"$2b$10$" + b"." * 21 + b"O" + b"." * 31


class PasswordFileError(Exception):
    """The htpasswd file can't be used; the text says which line and why."""


class Passwords:
    """The users of one htpasswd file with bcrypt hashes (`htpasswd -B`). `clock` is a steady one, in seconds.

    A right login is remembered as its HMAC under a key of this process, never as it is.
    """

    def __init__(self, path: Path, clock: Callable[[], float]) -> None:
        self._path = path
        self._clock = clock
        self._key = secrets.token_bytes(32)
        self._remembered: dict[bytes, float] = {}
        self._checking = asyncio.Lock()
        self._state = self._stat()
        self._users = read_password_file(path)
        self._looked_at = clock()

    def is_remembered(self, authorization: str | None) -> bool:
        """Whether this `Authorization` value was found right a moment ago. Takes microseconds."""
        if authorization is None:
            return False
        self._look()
        return self._remembered.get(self._fingerprint(authorization), 0.0) > self._clock()

    async def check(self, authorization: str | None) -> bool:
        """Whether this `Authorization` value is a right login."""
        login = _basic(authorization)
        if authorization is None or login is None:
            return False
        async with self._checking:  # many clients come with one login at the same time: it is checked once
            if self.is_remembered(authorization):
                return True
            user, password = login
            known = self._users.get(user)
            right = await asyncio.to_thread(_matches, password, known or _NOBODY)
            if known is None or not right:
                return False
            if len(self._remembered) >= _MAX_REMEMBERED:
                self._remembered.clear()
            self._remembered[self._fingerprint(authorization)] = self._clock() + _REMEMBERED
            return True

    def _fingerprint(self, authorization: str) -> bytes:
        return hmac.digest(self._key, authorization.encode("latin-1", "replace"), "sha256")

    def _look(self) -> None:
        now = self._clock()
        if now - self._looked_at < _LOOK_EVERY:
            return
        self._looked_at = now
        state = self._stat()
        if state == self._state:
            return
        self._state = state
        try:
            self._users = read_password_file(self._path)
        except PasswordFileError as error:
            log.error("the users stay as they were: %s", error)  # noqa: TRY400
            return
        self._remembered.clear()
        log.info("%s was read anew: %d users", self._path, len(self._users))

    def _stat(self) -> tuple[int, int, int] | None:
        try:
            status = self._path.stat()
        except OSError:
            return None
        return status.st_ino, status.st_mtime_ns, status.st_size


def read_password_file(path: Path) -> dict[bytes, bytes]:
    """The hashes by user. Raises PasswordFileError."""
    try:
        lines = path.read_bytes().splitlines()
    except OSError as error:
        raise PasswordFileError(f"{path} can't be read: {error.strerror}. Check access.htpasswd.") from error
    users = {}
    for number, line in enumerate(lines, 1):
        if not line.strip() or line.startswith(b"#"):
            continue
        user, separator, hashed = line.strip().partition(b":")
        if not separator or not hashed.startswith(_BCRYPT) or len(hashed) != 60:
            raise PasswordFileError(
                f"{path}, line {number}: this is no user with a bcrypt hash. Make it with `htpasswd -B {path} USER`."
            )
        users[user] = hashed
    return users


def _matches(password: bytes, hashed: bytes) -> bool:
    if len(password) > _MAX_PASSWORD or b"\0" in password:
        return False
    return bcrypt.checkpw(password, hashed)


def _basic(authorization: str | None) -> tuple[bytes, bytes] | None:
    """User and password of a Basic `Authorization` (RFC 7617, section 2)."""
    scheme, _, encoded = (authorization or "").partition(" ")
    if scheme.lower() != "basic":
        return None
    try:
        user, separator, password = base64.b64decode(encoded.strip(), validate=True).partition(b":")
    except binascii.Error:
        return None
    return (user, password) if separator else None
