"""Command lines of this program that work from where the user stands, to print as the next step."""

from __future__ import annotations

import os
import shlex
import shutil
import sys
from pathlib import Path

from registry_proxy.commands.install.places import CONFIG
from registry_proxy.config import ConfigError, find_config_file

_NAME = "registry-proxy"
# sudo searches these, not the PATH of the user.
_SYSTEM = {
    Path(each) for each in ("/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin")
}


def command_line(*arguments: str, config: Path | None = None, root: bool = False, program: str = "") -> str:
    """Return the command line that runs a command of this program, with `config` if it is not found without.

    `root`: the command requires root. `program` is another program than the one that runs.
    """
    option = ["--config", _shown(config)] if config and not _is_found(config) else []
    sudo = ["sudo"] if root and _requires_sudo() else []
    return shlex.join([*sudo, program or _program(sudo=bool(sudo)), *arguments, *option])


def _requires_sudo() -> bool:
    # After sudo, the user's shell has no rights of root.
    return os.geteuid() != 0 or "SUDO_USER" in os.environ


def _program(*, sudo: bool) -> str:
    """Return the name of this program if the shell finds it, otherwise its path."""
    current, found = Path(sys.argv[0]), shutil.which(_NAME)
    if (
        found
        and current.exists()
        and Path(found).samefile(current)
        and (not sudo or Path(found).parent in _SYSTEM)
    ):
        return _NAME
    return _shown(current.absolute())


def _shown(path: Path) -> str:
    """Return a path below the working directory relative to it."""
    here = Path.cwd()
    return str(path.relative_to(here)) if path.is_relative_to(here) else str(path)


def _is_found(config: Path) -> bool:
    try:
        # An installation creates the system's file after this text is made.
        found = find_config_file() or CONFIG
    except ConfigError:
        return False  # root reads it only if it is named
    return found.absolute() == config
