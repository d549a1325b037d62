"""Logins of clients: which one is checked next, how many may fail, and how long a failure takes."""

from __future__ import annotations

import asyncio
import binascii
import logging
import math
from typing import TYPE_CHECKING, NamedTuple

from registry_proxy.aio.turns import Turns
from registry_proxy.oci.errors import ErrorCode, RegistryError
from registry_proxy.policy.access import Throttle, host_key

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable

    from registry_proxy.policy.access import Address
    from registry_proxy.server.passwords import Passwords

log = logging.getLogger(__name__)

# A failure is reported at the end of a full second after the request, so that its time says neither whether the user
# exists nor whether bcrypt was required, which takes less than a second up to a cost of 13.
_FAILURE_TIME = 1.0
# The longest wait for a turn, in seconds. A check takes less up to a cost of 15.
_WAIT_LIMIT = 5.0
# htpasswd accepts no longer user.
_MAX_USER = 255


class LoginRequiredError(RegistryError):
    """The client must log in to this server. The response has a challenge."""

    def __init__(self, message: str) -> None:
        super().__init__(ErrorCode.UNAUTHORIZED, message)


class Login(NamedTuple):
    """A user and a password. Headers that spell it differently are the same login."""

    user: bytes
    password: bytes

    def __repr__(self) -> str:
        return f"Login({self.user!r}, …)"

    @classmethod
    def parse(cls, authorization: str | None) -> Login | None:
        """Return the login of a Basic `Authorization` (RFC 7617, section 2), None if it has none.

        Podman, skopeo and CRI-O send an empty user and password if they have none.
        """
        scheme, _, encoded = (authorization or "").partition(" ")
        if scheme.lower() != "basic":
            return None
        try:
            user, colon, password = binascii.a2b_base64(encoded.strip(), strict_mode=True).partition(b":")
        except ValueError:  # also of text that is not ASCII
            return None
        return cls(user, password) if colon and 0 < len(user) <= _MAX_USER else None


class Logins:
    """The logins by one htpasswd file. `clock` is monotonic, in seconds.

    A login that was right before is known, and waits for nothing. Of all others one per user is checked at a time, so
    that a guess delays no other user and guessing cannot be parallelised. An address that has tried less often comes
    first. Failures are counted by address and user.
    """

    def __init__(self, passwords: Passwords, clock: Callable[[], float]) -> None:
        self._passwords = passwords
        self._clock = clock
        self._turns = Turns()
        self._throttle = Throttle()
        self._attempts = Throttle()
        self._logged = Throttle()

    def is_known(self, authorization: str | None) -> bool:
        """Return whether this `Authorization` is a login that was right before. Takes microseconds."""
        login = Login.parse(authorization)
        return login is not None and self._passwords.known(login) is True

    async def check(self, authorization: str | None, address: Address | None) -> None:
        """Check an `Authorization`. Raise RegistryError, at the end of a full second, if it is wrong."""
        began = self._clock()
        login = Login.parse(authorization)
        if login is None:
            raise LoginRequiredError("log in to pull here")
        if await self._is_right(login, host_key(address)):
            return
        self._log_failure(address)
        await asyncio.sleep((began - self._clock()) % _FAILURE_TIME)
        raise LoginRequiredError("the user or the password is wrong")

    async def _is_right(self, login: Login, host: int | None) -> bool:
        key = (host, login.user)
        self._check_throttle(key)
        rank = self._attempt(key), self._attempt(host)
        try:
            async with self._turns.turn(login.user, rank, _WAIT_LIMIT):
                right = await self._check_now(login, key)
        except TimeoutError:
            message = "too many logins of this user are waiting"
            raise RegistryError(ErrorCode.TOOMANYREQUESTS, message, retry_after=1) from None
        if right:
            self._attempts.succeeded(host)
        return right

    async def _check_now(self, login: Login, key: Hashable) -> bool:
        known = self._passwords.known(login)  # another request may have had the same login
        if known:
            return True
        self._check_throttle(key)
        # Before the check: a client that leaves has guessed, too.
        self._throttle.failed(key, self._clock())
        if known is False:
            await self._passwords.pretend()
            return False
        if not await self._passwords.check(login):
            return False
        self._throttle.succeeded(key)
        return True

    def _attempt(self, key: Hashable) -> int:
        """Record an attempt, and return the number of those before it."""
        now = self._clock()
        before = self._attempts.failures(key, now)
        self._attempts.failed(key, now)
        return before

    def _check_throttle(self, key: Hashable) -> None:
        wait = self._throttle.wait(key, self._clock())
        if wait:
            message = "too many failed logins of this user from this address"
            raise RegistryError(ErrorCode.TOOMANYREQUESTS, message, retry_after=math.ceil(wait))

    def _log_failure(self, address: Address | None) -> None:
        key, now = host_key(address), self._clock()
        if self._logged.wait(key, now):
            return
        self._logged.failed(key, now)
        more = "; further ones are not logged for a minute" if self._logged.wait(key, now) else ""
        log.warning("a login from %s failed%s", address, more)
