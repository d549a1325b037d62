"""The plans that install and remove a systemd service: a user, the program, the configuration and a confined unit."""

from __future__ import annotations

import os
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from registry_proxy.commands.changes.directories import MakeDirectory
from registry_proxy.commands.changes.files import (
    BuildDirectory,
    RemoveDirectory,
    RemoveFile,
    WriteFile,
    read_file,
)
from registry_proxy.commands.changes.links import MakeLink, RemoveLink
from registry_proxy.commands.changes.plan import ChangeError, Plan, Step
from registry_proxy.commands.changes.show import hidden, unmasked
from registry_proxy.commands.install.accounts import CreateUser, RemoveUser
from registry_proxy.commands.install.configuration import (
    Configuration,
    check_addresses,
    ignored_variables,
)
from registry_proxy.commands.install.ending import addresses, client_command
from registry_proxy.commands.install.places import (
    CONFIG,
    LINK,
    PROGRAM,
    STATE,
    SYSUSERS,
    UNIT,
    USER,
    TargetSystem,
)
from registry_proxy.commands.install.processes import RunCommand
from registry_proxy.commands.install.program import Program, find_python
from registry_proxy.commands.install.systemctl import (
    CheckConfiguration,
    RestartService,
    RestoreService,
)
from registry_proxy.commands.install.templates import render
from registry_proxy.commands.install.unit import check_visible, store_steps, unit_file
from registry_proxy.commands.invocation import command_line
from registry_proxy.config import ConfigError
from registry_proxy.service.site import STORE_ENTRIES, STORE_MARKS

if TYPE_CHECKING:
    from collections.abc import Iterator


_EXECUTABLE = PROGRAM / "bin/registry-proxy"


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
    check_visible(configuration)
    program = Program(PROGRAM, find_python(options.python))
    steps: list[Step] = [
        *_user(target),
        BuildDirectory(target.path(PROGRAM), program.fingerprint(), program.build),
        *_configuration(configuration, target),
        *store_steps(configuration.settings.storage.path, target),
        unit_file(configuration, target),
        _link(target),
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
        remarks=(*ignored_variables(os.environ), *_remarks(target, options, configuration)),
    )


def uninstall(root: Path, *, purge: bool) -> Plan:
    """Return the plan that removes the service, and with `purge` its configuration, its user and the cached content."""
    _check_machine()
    target = TargetSystem(root)
    steps: list[Step] = []
    unit_file = target.path(UNIT)
    if unit_file.exists():
        steps += target.systemd.removal()
    steps += [RemoveFile(unit_file)]
    steps += (
        [RunCommand(["systemctl", "daemon-reload"])] if unit_file.exists() and target.systemd.live else []
    )
    link = RemoveLink(target.path(LINK), _EXECUTABLE)
    steps += [link, RemoveDirectory(target.path(PROGRAM)), RemoveFile(target.path(SYSUSERS))]
    if purge:
        return _purge(target, steps)
    remark = f"{CONFIG.parent}, the user {USER} and the cached content stay. --purge removes them."
    return Plan(steps, remarks=(remark,))


def _check_machine() -> None:
    if os.geteuid() != 0:
        command = command_line(*sys.argv[1:], root=True)
        raise ChangeError(f"this changes the system, which requires root. Run: {command}")
    for program in ("systemd-sysusers", "systemctl"):
        if shutil.which(program) is None:
            raise ChangeError(
                f"{program} is missing: this system has no systemd. Install the package systemd, "
                "or use `registry-proxy install compose`."
            )


def _user(target: TargetSystem) -> Iterator[Step]:
    definition = target.path(SYSUSERS)
    yield WriteFile(definition, render("sysusers.conf.j2", user=USER, state=STATE), owner=target.owner())
    yield CreateUser(USER, definition, target.accounts)


def _configuration(configuration: Configuration, target: TargetSystem) -> Iterator[Step]:
    """Yield the steps that copy the configuration, and its files in the same directory, readable by the service."""
    owner = target.owner(group=USER)
    yield MakeDirectory(target.path(CONFIG.parent), 0o750, owner)
    if configuration.path is None:
        yield WriteFile(target.path(CONFIG), render("registry-proxy.toml.j2"), 0o640, owner)
        return
    directory = configuration.path.parent
    dotenv = directory / ".env"
    files = [path for _, path in configuration.files() if path.is_relative_to(directory)]
    for each in sorted({path.parent for path in files} - {directory}):
        yield MakeDirectory(target.path(CONFIG.parent / each.relative_to(directory)), 0o750, owner)
    for path in dict.fromkeys([*([dotenv] if dotenv.is_file() else []), *files]):
        copy = target.path(CONFIG.parent / path.relative_to(directory))
        yield WriteFile(copy, read_file(path), 0o640, owner, hidden)
    content = read_file(configuration.path)
    mask = hidden if b"password" in content or b"hmac" in content else unmasked
    yield WriteFile(target.path(CONFIG), content, 0o640, owner, mask)


def _closing(target: TargetSystem, options: SystemdOptions) -> list[Step]:
    steps: list[Step] = []
    if target.root == Path("/"):
        steps.append(CheckConfiguration(PROGRAM, CONFIG, USER, target.accounts))
    if options.start:
        steps += target.systemd.enabling()
        if target.systemd.live:
            steps.append(RestartService(target.systemd))
    return steps


def _link(target: TargetSystem) -> MakeLink:
    """Return the step that puts the program on the PATH."""
    return MakeLink(target.path(LINK), _EXECUTABLE)


def _remarks(target: TargetSystem, options: SystemdOptions, configuration: Configuration) -> tuple[str, ...]:
    if not options.start:
        commands = "systemctl daemon-reload; systemctl enable --now registry-proxy"
        return (f"Nothing was started. To start the service, run: {commands}",)
    if target.systemd.live:
        on_path = _link(target).possible and str(LINK.parent) in os.get_exec_path()
        program = LINK.name if on_path else str(_EXECUTABLE)
        return (
            *addresses(configuration.settings),
            "systemctl status registry-proxy shows its state, journalctl -u registry-proxy its log.",
            client_command(CONFIG, root=True, program=program),
        )
    if target.root == Path("/"):
        return (
            "systemd does not run here, so nothing was started. The service starts when the system boots.",
        )
    return (f"The service starts when the system in {target.root} boots.",)


def _purge(target: TargetSystem, steps: list[Step]) -> Plan:
    remarks: tuple[str, ...] = ()
    config = target.path(CONFIG)
    try:
        store = Configuration.read(config if config.is_file() else None).settings.storage.path
    except ConfigError:
        store = STATE
        remarks = (f"{CONFIG} is unusable. If storage.path is not {STATE}, remove that directory yourself.",)
    if store != STATE:
        steps.append(RemoveDirectory(target.path(store), only=STORE_ENTRIES, marks=STORE_MARKS))
    steps += [RemoveDirectory(target.path(STATE)), RemoveDirectory(target.path(CONFIG.parent))]
    return Plan([*steps, RemoveUser(USER, target.accounts)], remarks=remarks)
