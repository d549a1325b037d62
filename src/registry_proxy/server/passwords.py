"""Users and passwords of htpasswd files. A login is checked by bcrypt once."""

from __future__ import annotations

import asyncio
import hashlib
import logging
import re
import secrets
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import bcrypt
from cachetools import TTLCache

from registry_proxy.aio.filestamp import FileStamp

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from registry_proxy.server.logins import Login

log = logging.getLogger(__name__)

# Wrong logins are known for a minute, in seconds: a machine with an old password repeats it all the time.
_WRONG_LIFETIME = 60.0
_MAX_WRONG = 1024
# In seconds: the interval between two checks of the file for changes.
_CHECK_INTERVAL = 2.0
# bcrypt has its own threads, so that it never delays other work. It needs one; the other one is for other users.
_THREADS = 2
# bcrypt ignores all bytes after these.
_MAX_PASSWORD = 72
_HASH = re.compile(rb"\$2[aby]\$(?:0[4-9]|[12]\d|3[01])\$[./A-Za-z0-9]{53}")


class PasswordFileError(Exception):
    """The htpasswd file is unusable: `text` is the cause, `remedy` the fix."""

    def __init__(self, path: Path, text: str, remedy: str) -> None:
        super().__init__(f"{path}: {text}. {remedy}")
        self.path = path
        self.text = text
        self.remedy = remedy


class Passwords:
    """The users of one htpasswd file with bcrypt hashes (`htpasswd -B`). `clock` is monotonic, in seconds.

    Each user has one right password. Once bcrypt has found it, its keyed hash decides about all further logins, until
    the user's line changes. It is never kept in plain text. Raise PasswordFileError if the file is unusable.
    """

    def __init__(self, path: Path, clock: Callable[[], float]) -> None:
        self._path = path
        self._clock = clock
        # A keyed hash (RFC 7693, section 2.9) takes 1 µs, an HMAC several µs per request.
        self._keyed = hashlib.blake2b(key=secrets.token_bytes(32), digest_size=32)
        self._right: dict[bytes, bytes] = {}  # by user
        self._wrong: TTLCache[bytes, None] = TTLCache(_MAX_WRONG, _WRONG_LIFETIME, clock)
        self._stamp = FileStamp.read(path)
        self._users = read_password_file(path)
        self._checked_at = clock()
        self._threads = ThreadPoolExecutor(_THREADS, "bcrypt")
        self._check_time = 0.0

    def known(self, login: Login) -> bool | None:
        """Return whether a login is right, or None if only bcrypt can say. Takes microseconds."""
        self._reload_if_changed()
        right = self._right.get(login.user)
        if right is not None:
            return right == self._fingerprint(login)
        if login.user not in self._users or len(login.password) > _MAX_PASSWORD or b"\0" in login.password:
            return False
        return False if self._fingerprint(login) in self._wrong else None

    async def check(self, login: Login) -> bool:
        """Return whether a login is right that is not known yet. Takes as long as bcrypt."""
        hashed = self._users[login.user]
        began = self._clock()
        loop = asyncio.get_running_loop()
        right = await loop.run_in_executor(self._threads, bcrypt.checkpw, login.password, hashed)
        self._check_time = self._clock() - began
        if self._users.get(login.user) != hashed:  # the file has changed
            return False
        if right:
            self._right[login.user] = self._fingerprint(login)
        else:
            self._wrong[self._fingerprint(login)] = None
        return right

    async def pretend(self) -> None:
        """Take as long as the last check, without one."""
        await asyncio.sleep(self._check_time)

    def _fingerprint(self, login: Login) -> bytes:
        fingerprint = self._keyed.copy()
        # The user has no colon (RFC 7617, section 2).
        fingerprint.update(b"%b:%b" % (login.user, login.password))
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
            users = read_password_file(self._path)
        except PasswordFileError as error:
            log.error("htpasswd file not reloaded, the previous users stay valid: %s", error)  # noqa: TRY400
            return
        self._right = {
            user: right for user, right in self._right.items() if users.get(user) == self._users[user]
        }
        self._wrong.clear()
        self._users = users
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
