"""Programs that print a password: run without a shell, within a time, and never with a secret among their arguments."""

from __future__ import annotations

import asyncio
import os
import signal
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import msgspec

from registry_proxy.upstream.auth.credentials import Credentials
from registry_proxy.upstream.failures import excerpt

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_MAX_OUTPUT = 64 * 1024


class CommandError(Exception):
    """There is no password; the text says which program failed and what it told. It never holds a secret."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What a program gets: seconds, and its environment."""

    seconds: float
    environ: Mapping[str, str] = field(repr=False)


@dataclass(frozen=True, slots=True)
class _Output:
    """What a program printed, the first 64 KiB of it, and its exit status."""

    status: int
    stdout: bytes = field(repr=False)
    stderr: bytes = field(repr=False)


class PasswordCommand:
    """`password_command`: a program that prints nothing but the password of `username`."""

    def __init__(self, username: str, arguments: Sequence[str], limits: Limits) -> None:
        self._username = username
        self._arguments = arguments
        self._limits = limits

    async def __call__(self) -> Credentials:
        """Run it. Raises CommandError."""
        name = self._arguments[0]
        output = await _run(self._arguments, b"", self._limits)
        if output.status != 0:
            raise CommandError(f"{name} {_ending(output.status)}{_said(output.stderr)}")
        return Credentials(self._username, checked_password(output.stdout, f"what {name} prints"))


class _HelperAnswer(msgspec.Struct, rename="pascal"):
    username: str = ""
    secret: str = ""


class CredentialHelper:
    """`credential_helper`: a program `docker-credential-NAME`, which prints the user and the password of `server`.

    Source: the protocol of docker-credential-helpers, as its `client` package speaks it.
    """

    def __init__(self, name: str, server: str, limits: Limits) -> None:
        self._program = f"docker-credential-{name}"
        self._server = server
        self._limits = limits

    async def __call__(self) -> Credentials:
        """Run it. Raises CommandError."""
        output = await _run([self._program, "get"], self._server.encode(), self._limits)
        if output.status != 0:
            # By the protocol errors are told on stdout, but what could be an answer is not shown.
            told = output.stderr or (output.stdout if b"{" not in output.stdout else b"")
            raise CommandError(f"{self._program} {_ending(output.status)} for {self._server}{_said(told)}")
        try:
            response = msgspec.json.decode(output.stdout, type=_HelperAnswer)
        except (msgspec.DecodeError, UnicodeDecodeError):
            raise CommandError(f"what {self._program} prints is not a credential helper's JSON") from None
        if response.username == "<token>":
            raise CommandError(
                f"{self._program} has an identity token for {self._server}, which is not supported. "
                "Store an access token with its user name instead"
            )
        if not response.username or ":" in response.username:
            raise CommandError(f"{self._program} names no user that can be sent for {self._server}")
        password = checked_password(response.secret.encode(), f"the secret of {self._program}")
        return Credentials(response.username, password)


def checked_password(raw: bytes, what: str) -> str:
    """The password, without one line break at its end. Raises CommandError, which calls it `what`."""
    try:
        text = raw.decode().removesuffix("\n").removesuffix("\r")
    except UnicodeDecodeError:
        raise CommandError(f"{what} is not UTF-8 text") from None
    if len(raw) >= _MAX_OUTPUT or not text or any(char < " " or char == "\x7f" for char in text):
        raise CommandError(f"{what} is not a password: it must be one line and not empty")
    return text


async def _run(arguments: Sequence[str], stdin: bytes, limits: Limits) -> _Output:
    loop = asyncio.get_running_loop()
    try:
        transport, run = await loop.subprocess_exec(
            lambda: _Run(loop),
            *arguments,
            env=limits.environ,
            start_new_session=True,  # so that what it starts can be ended with it
        )
    except OSError as error:
        raise CommandError(f"{arguments[0]} can't be run: {error.strerror}") from error
    try:
        _feed(transport, stdin)
        async with asyncio.timeout(limits.seconds):
            await run.complete
    except TimeoutError:
        raise CommandError(f"{arguments[0]} did not end within {limits.seconds:g} s") from None
    finally:
        if not run.exited.done():
            with suppress(ProcessLookupError):
                os.killpg(transport.get_pid(), signal.SIGKILL)
            await run.exited
        transport.close()
    return _Output(transport.get_returncode() or 0, bytes(run.output[1]), bytes(run.output[2]))


class _Run(asyncio.SubprocessProtocol):
    """A program that runs. It is complete when it has exited and nobody can write to its output any more."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.output = {1: bytearray(), 2: bytearray()}  # by descriptor, the beginning of it
        self.exited = loop.create_future()
        self.complete = loop.create_future()

    def pipe_data_received(self, fd: int, data: bytes) -> None:
        kept = self.output[fd]
        kept += data[: _MAX_OUTPUT - len(kept)]

    def process_exited(self) -> None:
        self.exited.set_result(None)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002
        if not self.complete.done():
            self.complete.set_result(None)


def _feed(transport: asyncio.SubprocessTransport, stdin: bytes) -> None:
    pipe = transport.get_pipe_transport(0)
    assert isinstance(pipe, asyncio.WriteTransport)
    pipe.write(stdin)
    pipe.close()


def _ending(status: int) -> str:
    return f"ended with status {status}" if status >= 0 else f"was ended by signal {-status}"


def _said(told: bytes) -> str:
    text = excerpt(told)
    return f': "{text}"' if text else ""
