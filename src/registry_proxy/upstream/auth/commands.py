"""Programs that print a password. They run without a shell, with a timeout, and with no secret in their arguments."""

from __future__ import annotations

import asyncio
import os
import signal
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import msgspec

from registry_proxy.oci.documents import InvalidDocumentError, decode_document
from registry_proxy.upstream.auth.credentials import Credentials
from registry_proxy.upstream.failures import excerpt

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_MAX_OUTPUT = 64 * 1024


class CommandError(Exception):
    """A program printed no password. The message has the program and its error message, and never a secret."""


@dataclass(frozen=True, slots=True)
class Limits:
    """The time limit of a program in seconds, and its environment."""

    seconds: float
    environ: Mapping[str, str] = field(repr=False)


@dataclass(frozen=True, slots=True)
class _Output:
    """The exit status of a program, and the first 64 KiB of each of its outputs."""

    status: int
    stdout: bytes = field(repr=False)
    stderr: bytes = field(repr=False)


class PasswordCommand:
    """`password_command`: a program that prints only the password of `username`."""

    def __init__(self, username: str, arguments: Sequence[str], limits: Limits) -> None:
        self._username = username
        self._arguments = arguments
        self._limits = limits

    async def __call__(self) -> Credentials:
        """Run the program and return the credentials. Raise CommandError."""
        name = self._arguments[0]
        output = await _run(self._arguments, b"", self._limits)
        if output.status != 0:
            raise CommandError(f"{name} {_exit_cause(output.status)}{_quoted(output.stderr)}")
        return Credentials(self._username, checked_password(output.stdout, f"the output of {name}"))


class _HelperOutput(msgspec.Struct, rename="pascal"):
    username: str = ""
    secret: str = ""


class CredentialHelper:
    """`credential_helper`: a program `docker-credential-NAME`, which prints the user and the password of `server`.

    Source: the protocol of docker-credential-helpers, as implemented by its `client` package.
    """

    def __init__(self, name: str, server: str, limits: Limits) -> None:
        self._program = f"docker-credential-{name}"
        self._server = server
        self._limits = limits

    async def __call__(self) -> Credentials:
        """Run the program and return the credentials. Raise CommandError."""
        output = await _run([self._program, "get"], self._server.encode(), self._limits)
        if output.status != 0:
            # By the protocol, error messages are printed to stdout. Output that could be JSON with a secret is omitted.
            message = output.stderr or (output.stdout if b"{" not in output.stdout else b"")
            cause = _exit_cause(output.status)
            raise CommandError(f"{self._program} {cause} for {self._server}{_quoted(message)}")
        try:
            response = decode_document(output.stdout, _HelperOutput)
        except InvalidDocumentError:
            raise CommandError(f"the output of {self._program} is not a credential helper's JSON") from None
        if response.username == "<token>":
            raise CommandError(
                f"{self._program} has an identity token for {self._server}, which is not supported. "
                "Store an access token with its user name instead"
            )
        if not response.username or ":" in response.username:
            raise CommandError(f"{self._program} printed no usable user name for {self._server}")
        password = checked_password(response.secret.encode(), f"the secret of {self._program}")
        return Credentials(response.username, password)


def checked_password(raw: bytes, what: str) -> str:
    """Return the password without one trailing line break. Raise CommandError, with `what` as its subject."""
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
            start_new_session=True,  # so that its child processes can be killed with it
        )
    except OSError as error:
        raise CommandError(f"{arguments[0]} can't be run: {error.strerror}") from error
    try:
        _feed(transport, stdin)
        async with asyncio.timeout(limits.seconds):
            await run.complete
    except TimeoutError:
        raise CommandError(f"{arguments[0]} did not exit within {limits.seconds:g} s") from None
    finally:
        if not run.exited.done():
            with suppress(ProcessLookupError):
                os.killpg(transport.get_pid(), signal.SIGKILL)
            await run.exited
        transport.close()
    return _Output(transport.get_returncode() or 0, bytes(run.output[1]), bytes(run.output[2]))


class _Run(asyncio.SubprocessProtocol):
    """A running program. It is complete when it has exited and no process can write to its outputs any more."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.output = {1: bytearray(), 2: bytearray()}  # by file descriptor, the first bytes
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


def _exit_cause(status: int) -> str:
    return f"exited with status {status}" if status >= 0 else f"was terminated by signal {-status}"


def _quoted(message: bytes) -> str:
    text = excerpt(message)
    return f': "{text}"' if text else ""
