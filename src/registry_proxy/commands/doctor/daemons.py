"""The state of the clients' daemons, as they report it: it takes precedence over their files."""

from __future__ import annotations

import asyncio
import json
import tomllib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from registry_proxy.commands.client.versions import Version, parse_version

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

_TIMEOUT = 10.0  # seconds


@dataclass(frozen=True, slots=True)
class Containerd:
    """containerd's version, and its configuration with all imports and defaults; both None if they are unknown."""

    version: Version | None = None
    config: Mapping[str, Any] | None = None

    @property
    def version_text(self) -> str:
        """The version as it is written."""
        return ".".join(map(str, self.version or ()))


@dataclass(frozen=True, slots=True)
class Docker:
    """dockerd's version, and the output of `docker info`; empty if the daemon does not respond."""

    version: Version | None = None
    info: Mapping[str, Any] = field(default_factory=dict)


async def ask_docker() -> Docker:
    """Return the state of dockerd."""
    output = await _output("docker", "info", "--format", "{{json .}}")
    try:
        info = json.loads(output)
    except ValueError:
        info = {}
    # Without a daemon, `docker info` prints the client's part.
    if isinstance(info, dict) and info.get("ServerVersion"):
        return Docker(parse_version(str(info["ServerVersion"])), info)
    return Docker(parse_version(await _output("dockerd", "--version")))


async def ask_containerd() -> Containerd:
    """Return the version and the configuration of containerd."""
    version = parse_version(await _output("containerd", "--version"))
    output = await _output("containerd", "config", "dump")
    try:
        return Containerd(version, tomllib.loads(output) if output else None)
    except tomllib.TOMLDecodeError:
        return Containerd(version)


@dataclass(frozen=True, slots=True)
class Daemons:
    """The functions that return the state of the daemons of this machine."""

    docker: Callable[[], Awaitable[Docker]] = ask_docker
    containerd: Callable[[], Awaitable[Containerd]] = ask_containerd


async def _output(*command: str) -> str:
    """Return the output of a command, nothing if it fails or takes too long."""
    try:
        process = await asyncio.create_subprocess_exec(
            *command,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
        )
    except OSError:
        return ""
    try:
        async with asyncio.timeout(_TIMEOUT):
            output, _ = await process.communicate()
    except TimeoutError:
        return ""
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    return "" if process.returncode else output.decode(errors="replace")
