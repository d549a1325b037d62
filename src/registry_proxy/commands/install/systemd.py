"""The plans that install and remove a systemd service: a user, the program, the configuration and a confined unit."""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from registry_proxy.commands.changes.files import (
    BuildDirectory,
    MakeDirectory,
    RemoveDirectory,
    RemoveFile,
    WriteFile,
)
from registry_proxy.commands.changes.plan import ChangeError, Plan, Step
from registry_proxy.commands.changes.show import hidden, unmasked
from registry_proxy.commands.install.accounts import Accounts, CreateUser, RemoveUser
from registry_proxy.commands.install.configuration import (
    Configuration,
    check_addresses,
    ignored_variables,
)
from registry_proxy.commands.install.processes import RunCommand
from registry_proxy.commands.install.program import HIDDEN, Program, find_python
from registry_proxy.commands.install.systemctl import (
    CheckConfiguration,
    RestartService,
    RestoreService,
    Systemd,
)
from registry_proxy.commands.install.templates import render
from registry_proxy.config import ConfigError
from registry_proxy.service.site import STORE_ENTRIES

if TYPE_CHECKING:
    from collections.abc import Iterator

    from registry_proxy.commands.changes.files import Owner

USER = "registry-proxy"
STATE = Path("/var/lib/registry-proxy")
_PROGRAM = Path("/opt/registry-proxy")
_CONFIG = Path("/etc/registry-proxy/registry-proxy.toml")
_UNIT = Path("/etc/systemd/system/registry-proxy.service")
_SYSUSERS = Path("/etc/sysusers.d/registry-proxy.conf")
# Seconds beyond the grace period: the supervisor waits longer for its workers, and then stops itself.
_STOP_MARGIN = 20


@dataclass(frozen=True, slots=True)
class TargetSystem:
    """The system to install into: this one, or the one in the directory `root`."""

    root: Path = Path("/")
    systemd: Systemd = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "systemd", Systemd(self.root))

    @property
    def accounts(self) -> Accounts:
        """The users of the system."""
        return Accounts(self.root)

    def path(self, path: Path) -> Path:
        """Return where a path of the system is on this one."""
        return self.root / path.relative_to("/")

    def owner(self, user: str | None = None, group: str | None = None) -> Owner:
        """Return the owner of a file there; the default is root."""
        return lambda: self.accounts.ids(user, group)


@dataclass(frozen=True, slots=True)
class SystemdOptions:
    """Options of `install systemd`. `python` is the interpreter of the service."""

    config: Path | None
    root: Path = Path("/")
    python: Path | None = None
    start: bool = True


def install(options: SystemdOptions) -> Plan:
    """Return the plan that installs or updates the service. Raise ChangeError or ConfigError if it is impossible."""
    _check_machine()
    target = TargetSystem(options.root)
    configuration = Configuration.read(options.config)
    _check_visible(configuration)
    program = Program(_PROGRAM, find_python(options.python))
    steps: list[Step] = [
        *_user(target),
        BuildDirectory(target.path(_PROGRAM), program.fingerprint(), program.build),
        *_configuration(configuration, target),
        *_store(configuration.settings.storage.path, target),
        WriteFile(target.path(_UNIT), _unit(configuration), owner=target.owner()),
    ]
    live = target.systemd.live
    start = live and options.start and not target.systemd.active
    if start:
        check_addresses(configuration.addresses)
    return Plan(
        steps,
        opening=[RestoreService(target.systemd, STATE)] if live else [],
        closing=_closing(target, options),
        due=start or not target.systemd.enabled,
        remarks=(*ignored_variables(os.environ), *_remarks(target, options)),
    )


def uninstall(root: Path, *, purge: bool) -> Plan:
    """Return the plan that removes the service, and with `purge` its configuration, its user and the cached content."""
    _check_machine()
    target = TargetSystem(root)
    steps: list[Step] = []
    unit_file = target.path(_UNIT)
    if unit_file.exists():
        steps += target.systemd.removal()
    steps += [RemoveFile(unit_file)]
    steps += (
        [RunCommand(["systemctl", "daemon-reload"])] if unit_file.exists() and target.systemd.live else []
    )
    steps += [RemoveDirectory(target.path(_PROGRAM)), RemoveFile(target.path(_SYSUSERS))]
    if purge:
        return _purge(target, steps)
    remark = f"{_CONFIG.parent}, the user {USER} and the cached content stay. --purge removes them."
    return Plan(steps, remarks=(remark,))


def _unit(configuration: Configuration) -> bytes:
    return render(
        "registry-proxy.service.j2",
        program=_PROGRAM,
        config=_CONFIG,
        user=USER,
        state=STATE,
        store=configuration.settings.storage.path,
        low_ports=configuration.low_ports,
        stop_seconds=round(configuration.settings.server.grace_period) + _STOP_MARGIN,
    )


def _check_machine() -> None:
    if os.geteuid() != 0:
        raise ChangeError("this changes the system, which requires root. Run it with sudo.")
    for program in ("systemd-sysusers", "systemctl"):
        if shutil.which(program) is None:
            raise ChangeError(
                f"{program} is missing: this system has no systemd. Install the package systemd, "
                "or use `registry-proxy install compose`."
            )


def _check_visible(configuration: Configuration) -> None:
    """Raise ChangeError for a path that the service could not see or write."""
    directory = configuration.path.parent if configuration.path else None
    store = configuration.settings.storage.path
    if directory and store.is_relative_to(directory):
        raise ChangeError(
            f"storage.path is {store}, in the directory of the configuration, where the service can't write. "
            f"Set it to an absolute path elsewhere, or omit it to use {STATE}."
        )
    paths = [("storage.path", store)]
    paths += [
        (key, path)
        for key, path in configuration.files()
        if not (directory and path.is_relative_to(directory))
    ]
    for key, path in paths:
        if any(path.is_relative_to(hidden_directory) for hidden_directory in HIDDEN):
            raise ChangeError(
                f"{key} is {path}, which the service can't see. Move it into the directory of the configuration "
                f"or below {_CONFIG.parent}, or, for storage.path, below /srv."
            )


def _user(target: TargetSystem) -> Iterator[Step]:
    definition = target.path(_SYSUSERS)
    yield WriteFile(definition, render("sysusers.conf.j2", user=USER, state=STATE), owner=target.owner())
    yield CreateUser(USER, definition, target.accounts)


def _configuration(configuration: Configuration, target: TargetSystem) -> Iterator[Step]:
    """Yield the steps that copy the configuration, and its files in the same directory, readable by the service."""
    owner = target.owner(group=USER)
    yield MakeDirectory(target.path(_CONFIG.parent), 0o750, owner)
    if configuration.path is None:
        yield WriteFile(target.path(_CONFIG), render("registry-proxy.toml.j2"), 0o640, owner)
        return
    directory = configuration.path.parent
    dotenv = directory / ".env"
    files = [path for _, path in configuration.files() if path.is_relative_to(directory)]
    for each in sorted({path.parent for path in files} - {directory}):
        yield MakeDirectory(target.path(_CONFIG.parent / each.relative_to(directory)), 0o750, owner)
    for path in dict.fromkeys([*([dotenv] if dotenv.is_file() else []), *files]):
        copy = target.path(_CONFIG.parent / path.relative_to(directory))
        yield WriteFile(copy, path.read_bytes(), 0o640, owner, hidden)
    content = configuration.path.read_bytes()
    mask = hidden if b"password" in content or b"hmac" in content else unmasked
    yield WriteFile(target.path(_CONFIG), content, 0o640, owner, mask)


def _store(store: Path, target: TargetSystem) -> Iterator[Step]:
    # systemd creates its StateDirectory, and gives all files in it to the service's user.
    if store != STATE:
        yield MakeDirectory(target.path(store), 0o700, target.owner(USER, USER), deep=True)


def _closing(target: TargetSystem, options: SystemdOptions) -> list[Step]:
    steps: list[Step] = []
    if target.root == Path("/"):
        steps.append(CheckConfiguration(_PROGRAM, _CONFIG, USER, target.accounts))
    if options.start:
        steps += target.systemd.enabling()
        if target.systemd.live:
            steps.append(RestartService(target.systemd))
    return steps


def _remarks(target: TargetSystem, options: SystemdOptions) -> tuple[str, ...]:
    if not options.start:
        commands = "systemctl daemon-reload; systemctl enable --now registry-proxy"
        return (f"Nothing was started. To start the service, run: {commands}",)
    if target.systemd.live:
        return ("systemctl status registry-proxy shows its state, journalctl -u registry-proxy its log.",)
    if target.root == Path("/"):
        return (
            "systemd does not run here, so nothing was started. The service starts when the system boots.",
        )
    return (f"The service starts when the system in {target.root} boots.",)


def _purge(target: TargetSystem, steps: list[Step]) -> Plan:
    remarks: tuple[str, ...] = ()
    config = target.path(_CONFIG)
    try:
        store = Configuration.read(config if config.is_file() else None).settings.storage.path
    except ConfigError:
        store = STATE
        remarks = (f"{_CONFIG} is unusable. If storage.path is not {STATE}, remove that directory yourself.",)
    if store != STATE:
        steps.append(RemoveDirectory(target.path(store), only=STORE_ENTRIES))
    steps += [RemoveDirectory(target.path(STATE)), RemoveDirectory(target.path(_CONFIG.parent))]
    return Plan([*steps, RemoveUser(USER, target.accounts)], remarks=remarks)
