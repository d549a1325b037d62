"""Logins by htpasswd files, checked once and then remembered for a while."""

from __future__ import annotations

import asyncio
import base64
import binascii
import hashlib
import logging
import re
import secrets
from typing import TYPE_CHECKING

import bcrypt
from cachetools import TTLCache

from registry_proxy.aio.filestamp import FileStamp

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

log = logging.getLogger(__name__)

# A check takes up to some 100 ms by design, so a right login is remembered for this long. Seconds.
_REMEMBERED = 300.0
_MAX_REMEMBERED = 1024
# How often the file is looked at for changes. Seconds.
_LOOK_EVERY = 2.0
# bcrypt looks at no more bytes than these.
_MAX_PASSWORD = 72
_HASH = re.compile(rb"(\$2[aby]\$(?:0[4-9]|[12]\d|3[01])\$)[./A-Za-z0-9]{53}")
# Salt and digest that no password has.
_IMPOSSIBLE = b"." * 21 + b"O" + b"." * 31
_DEFAULT_COST = b"$2b$10$"


class PasswordFileError(Exception):
    """The htpasswd file can't be used: `text` says why, `remedy` what to do."""

    def __init__(self, path: Path, text: str, remedy: str) -> None:
        super().__init__(f"{path}: {text}. {remedy}")
        self.path = path
        self.text = text
        self.remedy = remedy


class Passwords:
    """The users of one htpasswd file with bcrypt hashes (`htpasswd -B`). `clock` is a steady one, in seconds.

    A right login is remembered as its hash under a random key, never as it is. Raises PasswordFileError.
    """

    def __init__(self, path: Path, clock: Callable[[], float]) -> None:
        self._path = path
        self._clock = clock
        # A keyed hash (RFC 7693, section 2.9) that takes a microsecond: an HMAC takes several of each request.
        self._keyed = hashlib.blake2b(key=secrets.token_bytes(32), digest_size=32)
        self._accepted: TTLCache[bytes, None] = TTLCache(_MAX_REMEMBERED, _REMEMBERED, clock)
        self._stamp = FileStamp.read(path)
        self._users = read_password_file(path)
        self._looked_at = clock()

    def is_remembered(self, authorization: str | None) -> bool:
        """Whether this `Authorization` value was found right a moment ago. Takes microseconds."""
        if authorization is None:
            return False
        self._look()
        return self._fingerprint(authorization) in self._accepted

    async def check(self, authorization: str) -> bool:
        """Whether this `Authorization` value is a right login. Takes as long as bcrypt."""
        login = _basic(authorization)
        if login is None:
            return False
        self._look()
        user, password = login
        hashed = self._users.get(user)
        right = await asyncio.to_thread(_matches, password, hashed or self._nobody())
        if not right or hashed is None or self._users.get(user) != hashed:  # it may have changed meanwhile
            return False
        self._accepted[self._fingerprint(authorization)] = None
        return True

    def _nobody(self) -> bytes:
        """What an unknown user's password is checked against, so that the time it takes doesn't tell who is one."""
        for hashed in self._users.values():
            if known := _HASH.fullmatch(hashed):
                return known[1] + _IMPOSSIBLE
        return _DEFAULT_COST + _IMPOSSIBLE

    def _fingerprint(self, authorization: str) -> bytes:
        fingerprint = self._keyed.copy()
        fingerprint.update(authorization.encode("latin-1", "replace"))
        return fingerprint.digest()

    def _look(self) -> None:
        now = self._clock()
        if now - self._looked_at < _LOOK_EVERY:
            return
        self._looked_at = now
        stamp = FileStamp.read(self._path)
        if stamp == self._stamp:
            return
        self._stamp = stamp
        try:
            self._users = read_password_file(self._path)
        except PasswordFileError as error:
            log.error("the users stay as they were. %s", error)  # noqa: TRY400
            return
        self._accepted.clear()
        log.info("%s was read anew: %d users", self._path, len(self._users))


def read_password_file(path: Path) -> dict[bytes, bytes]:
    """The hashes by user. Raises PasswordFileError."""
    try:
        lines = path.read_bytes().splitlines()
    except OSError as error:
        raise PasswordFileError(
            path, f"can't be read: {error.strerror}", "Mend the path or the file's owner."
        ) from error
    users: dict[bytes, bytes] = {}
    for number, line in enumerate(lines, 1):
        if not line.strip() or line.startswith(b"#"):
            continue
        user, _, hashed = line.strip().partition(b":")
        if not user or not _HASH.fullmatch(hashed):
            remedy = f"Make it with `htpasswd -B {path} USER`."
            raise PasswordFileError(path, f"line {number} is no user with a bcrypt hash", remedy)
        if user in users:
            raise PasswordFileError(path, f"line {number} has a user again", "Delete one of the two lines.")
        users[user] = hashed
    return users


def _matches(password: bytes, hashed: bytes) -> bool:
    if len(password) > _MAX_PASSWORD or b"\0" in password:
        return False
    return bcrypt.checkpw(password, hashed)


def _basic(authorization: str) -> tuple[bytes, bytes] | None:
    """User and password of a Basic `Authorization` (RFC 7617, section 2)."""
    scheme, _, encoded = authorization.partition(" ")
    if scheme.lower() != "basic":
        return None
    try:
        user, separator, password = base64.b64decode(encoded.strip(), validate=True).partition(b":")
    except (binascii.Error, ValueError):  # ValueError: not ASCII
        return None
    return (user, password) if separator else None
