"""Logins by htpasswd files. A correct login is cached."""

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

# In seconds. A correct login is cached this long, because bcrypt takes up to some 100 ms by design.
_CACHE_LIFETIME = 300.0
_MAX_CACHED = 1024
# In seconds: the interval between two checks of the file for changes.
_CHECK_INTERVAL = 2.0
# bcrypt ignores all bytes after these.
_MAX_PASSWORD = 72
_HASH = re.compile(rb"(\$2[aby]\$(?:0[4-9]|[12]\d|3[01])\$)[./A-Za-z0-9]{53}")
# A salt and a digest that no password can produce.
_IMPOSSIBLE = b"." * 21 + b"O" + b"." * 31
_DEFAULT_COST = b"$2b$10$"


class PasswordFileError(Exception):
    """The htpasswd file is unusable: `text` is the cause, `remedy` the fix."""

    def __init__(self, path: Path, text: str, remedy: str) -> None:
        super().__init__(f"{path}: {text}. {remedy}")
        self.path = path
        self.text = text
        self.remedy = remedy


class Passwords:
    """The users of one htpasswd file with bcrypt hashes (`htpasswd -B`). `clock` is monotonic, in seconds.

    A correct login is cached as a keyed hash, never in plain text. Raise PasswordFileError if the file is unusable.
    """

    def __init__(self, path: Path, clock: Callable[[], float]) -> None:
        self._path = path
        self._clock = clock
        # A keyed hash (RFC 7693, section 2.9) takes 1 µs, an HMAC several µs per request.
        self._keyed = hashlib.blake2b(key=secrets.token_bytes(32), digest_size=32)
        self._accepted: TTLCache[bytes, None] = TTLCache(_MAX_CACHED, _CACHE_LIFETIME, clock)
        self._stamp = FileStamp.read(path)
        self._users = read_password_file(path)
        self._checked_at = clock()

    def is_cached(self, authorization: str | None) -> bool:
        """Return whether this `Authorization` value is cached as a correct login. Takes microseconds."""
        if authorization is None:
            return False
        self._reload_if_changed()
        return self._fingerprint(authorization) in self._accepted

    async def check(self, authorization: str) -> bool:
        """Return whether this `Authorization` value is a correct login. Takes as long as bcrypt."""
        login = _basic(authorization)
        if login is None:
            return False
        self._reload_if_changed()
        user, password = login
        hashed = self._users.get(user)
        correct = await asyncio.to_thread(_matches, password, hashed or self._dummy_hash())
        if not correct or hashed is None or self._users.get(user) != hashed:  # the file may have changed
            return False
        self._accepted[self._fingerprint(authorization)] = None
        return True

    def _dummy_hash(self) -> bytes:
        """Return the hash to check for an unknown user, so that the response time does not reveal which users exist."""
        for hashed in self._users.values():
            if known := _HASH.fullmatch(hashed):
                return known[1] + _IMPOSSIBLE
        return _DEFAULT_COST + _IMPOSSIBLE

    def _fingerprint(self, authorization: str) -> bytes:
        fingerprint = self._keyed.copy()
        fingerprint.update(authorization.encode("latin-1", "replace"))
        return fingerprint.digest()

    def _reload_if_changed(self) -> None:
        now = self._clock()
        if now - self._checked_at < _CHECK_INTERVAL:
            return
        self._checked_at = now
        stamp = FileStamp.read(self._path)
        if stamp == self._stamp:
            return
        self._stamp = stamp
        try:
            self._users = read_password_file(self._path)
        except PasswordFileError as error:
            log.error("htpasswd file not reloaded, the previous users stay valid: %s", error)  # noqa: TRY400
            return
        self._accepted.clear()
        log.info("%s was reloaded: %d users", self._path, len(self._users))


def read_password_file(path: Path) -> dict[bytes, bytes]:
    """Return the hashes by user. Raise PasswordFileError."""
    try:
        lines = path.read_bytes().splitlines()
    except OSError as error:
        raise PasswordFileError(
            path, f"can't be read: {error.strerror}", "Fix the file's path or its permissions."
        ) from error
    users: dict[bytes, bytes] = {}
    for number, line in enumerate(lines, 1):
        if not line.strip() or line.startswith(b"#"):
            continue
        user, _, hashed = line.strip().partition(b":")
        if not user or not _HASH.fullmatch(hashed):
            remedy = f"Create it with `htpasswd -B {path} USER`."
            raise PasswordFileError(path, f"line {number} is not a user with a bcrypt hash", remedy)
        if user in users:
            raise PasswordFileError(path, f"line {number} repeats a user", "Delete one of the two lines.")
        users[user] = hashed
    return users


def _matches(password: bytes, hashed: bytes) -> bool:
    if len(password) > _MAX_PASSWORD or b"\0" in password:
        return False
    return bcrypt.checkpw(password, hashed)


def _basic(authorization: str) -> tuple[bytes, bytes] | None:
    """Return user and password of a Basic `Authorization` (RFC 7617, section 2)."""
    scheme, _, encoded = authorization.partition(" ")
    if scheme.lower() != "basic":
        return None
    try:
        user, separator, password = base64.b64decode(encoded.strip(), validate=True).partition(b":")
    except (binascii.Error, ValueError):  # ValueError: not ASCII
        return None
    return (user, password) if separator else None
