"""A systemd service: a user, the program, the configuration, and a unit that allows no more than is needed."""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from registry_proxy.commands.install.accounts import Accounts, RemovedUser, SystemUser
from registry_proxy.commands.install.commands import Command
from registry_proxy.commands.install.configuration import (
    Configuration,
    check_addresses,
    variables_left_behind,
)
from registry_proxy.commands.install.files import (
    BuiltTree,
    MadeFolder,
    NamedOwner,
    RemovedFile,
    RemovedTree,
    WrittenFile,
)
from registry_proxy.commands.install.plan import InstallError, Plan, Step
from registry_proxy.commands.install.program import HIDDEN, Program, find_python
from registry_proxy.commands.install.service import (
    CheckedConfiguration,
    RestartedService,
    ServiceBefore,
    Systemd,
)
from registry_proxy.commands.install.templates import render
from registry_proxy.config import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterator

USER = "registry-proxy"
PROGRAM = Path("/opt/registry-proxy")
CONFIG = Path("/etc/registry-proxy/registry-proxy.toml")
STATE = Path("/var/lib/registry-proxy")
UNIT = Path("/etc/systemd/system/registry-proxy.service")
SYSUSERS = Path("/etc/sysusers.d/registry-proxy.conf")
# Beyond the grace period: what the supervisor itself allows its workers, and some for itself. Seconds.
_STOP_MARGIN = 20
# What `serve` makes in the folder of the store.
STORE_ENTRIES = ("blobs", "ingest", "index.*", "locks", "tls")


@dataclass(frozen=True, slots=True)
class Target:
    """The system that is installed into: this one, or one in the folder `root`."""

    root: Path = Path("/")
    systemd: Systemd = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "systemd", Systemd(self.root))

    @property
    def accounts(self) -> Accounts:
        """Its users."""
        return Accounts(self.root)

    def path(self, path: Path) -> Path:
        """Where one of its paths is from here."""
        return self.root / path.relative_to("/")

    def owner(self, user: str | None = None, group: str | None = None) -> NamedOwner:
        """Who a file there belongs to."""
        return NamedOwner(self.accounts, user, group)


@dataclass(frozen=True, slots=True)
class SystemdOptions:
    """What can be chosen. `python`: the one that the program is to run with."""

    config: Path | None
    root: Path = Path("/")
    python: Path | None = None
    start: bool = True


def install(options: SystemdOptions) -> Plan:
    """What makes the service what it shall be. Raises InstallError, ConfigError."""
    _check_machine()
    target = Target(options.root)
    configuration = Configuration.read(options.config)
    _check_visible(configuration)
    program = Program(PROGRAM, find_python(options.python))
    steps: list[Step] = [
        *_user(target),
        BuiltTree(target.path(PROGRAM), program.fingerprint(), program.build),
        *_configuration(configuration, target),
        *_store(configuration.settings.storage.path, target),
        WrittenFile(target.path(UNIT), unit(configuration), owner=target.owner()),
    ]
    live = target.systemd.live
    if live and options.start and not target.systemd.active:
        check_addresses(configuration.addresses)
    return Plan(
        steps,
        opening=[ServiceBefore(target.systemd, STATE)] if live else [],
        closing=_closing(target, options),
        due=(live and options.start and not target.systemd.active) or not target.systemd.enabled,
        remarks=(*variables_left_behind(os.environ), *_remarks(target, options)),
    )


def uninstall(root: Path, *, purge: bool) -> Plan:
    """What removes the service; `purge`: and its configuration, its user and all that is cached."""
    _check_machine()
    target = Target(root)
    steps: list[Step] = []
    unit_file = target.path(UNIT)
    if unit_file.exists():
        steps += target.systemd.removal()
    steps += [RemovedFile(unit_file)]
    steps += [Command(["systemctl", "daemon-reload"])] if unit_file.exists() and target.systemd.live else []
    steps += [RemovedTree(target.path(PROGRAM)), RemovedFile(target.path(SYSUSERS))]
    if purge:
        return _purged(target, steps)
    kept = f"{CONFIG.parent}, the user {USER} and what is cached stay; --purge removes them, too."
    return Plan(steps, remarks=(kept,))


def unit(configuration: Configuration) -> bytes:
    """The unit file."""
    return render(
        "registry-proxy.service.j2",
        program=PROGRAM,
        config=CONFIG,
        user=USER,
        state=STATE,
        store=configuration.settings.storage.path,
        low_ports=configuration.low_ports,
        stop_seconds=round(configuration.settings.server.grace_period) + _STOP_MARGIN,
    )


def _check_machine() -> None:
    if os.geteuid() != 0:
        raise InstallError("this changes the system, which takes root. Run it with sudo.")
    for program in ("systemd-sysusers", "systemctl"):
        if shutil.which(program) is None:
            raise InstallError(
                f"{program} is missing: this system has no systemd. Install the package systemd, "
                "or use `registry-proxy install compose`."
            )


def _check_visible(configuration: Configuration) -> None:
    folder = configuration.path.parent if configuration.path else None
    store = configuration.settings.storage.path
    if folder and store.is_relative_to(folder):
        raise InstallError(
            f"storage.path is {store}, beside the configuration, which the service can't write. "
            f"Give it an absolute path elsewhere, or leave it out for {STATE}."
        )
    named = [("storage.path", store)]
    named += [
        (key, path) for key, path in configuration.files() if not (folder and path.is_relative_to(folder))
    ]
    for key, path in named:
        if any(path.is_relative_to(hidden) for hidden in HIDDEN):
            raise InstallError(
                f"{key} is {path}, where the service can't see it. "
                f"Put it beside the configuration or below {CONFIG.parent}, or, for storage.path, below /srv."
            )


def _user(target: Target) -> Iterator[Step]:
    definition = target.path(SYSUSERS)
    yield WrittenFile(definition, render("sysusers.conf.j2", user=USER, state=STATE), owner=target.owner())
    yield SystemUser(USER, definition, target.accounts)


def _configuration(configuration: Configuration, target: Target) -> Iterator[Step]:
    """The configuration and the files of its folder that it names, readable by the service alone."""
    owner = target.owner(group=USER)
    yield MadeFolder(target.path(CONFIG.parent), 0o750, owner)
    if configuration.path is None:
        yield WrittenFile(target.path(CONFIG), render("registry-proxy.toml.j2"), 0o640, owner)
        return
    folder = configuration.path.parent
    dotenv = folder / ".env"
    named = [path for _, path in configuration.files() if path.is_relative_to(folder)]
    folders = {path.parent for path in named} - {folder}
    for each in sorted(folders):
        yield MadeFolder(target.path(CONFIG.parent / each.relative_to(folder)), 0o750, owner)
    for path in dict.fromkeys([*([dotenv] if dotenv.is_file() else []), *named]):
        copy = target.path(CONFIG.parent / path.relative_to(folder))
        yield WrittenFile(copy, path.read_bytes(), 0o640, owner, secret=True)
    content = configuration.path.read_bytes()
    yield WrittenFile(
        target.path(CONFIG), content, 0o640, owner, secret=b"password" in content or b"hmac" in content
    )


def _store(store: Path, target: Target) -> Iterator[Step]:
    # systemd makes the StateDirectory itself, and gives it to the service's user with all that is in it.
    if store != STATE:
        yield MadeFolder(target.path(store), 0o700, target.owner(USER, USER), deep=True)


def _closing(target: Target, options: SystemdOptions) -> list[Step]:
    steps: list[Step] = []
    if target.root == Path("/"):
        steps.append(CheckedConfiguration(PROGRAM, CONFIG, USER, target.accounts))
    if options.start:
        steps += target.systemd.enabling()
        if target.systemd.live:
            steps.append(RestartedService(target.systemd))
    return steps


def _remarks(target: Target, options: SystemdOptions) -> tuple[str, ...]:
    if not options.start:
        return ("Nothing was started. Then: systemctl daemon-reload; systemctl enable --now registry-proxy",)
    if target.systemd.live:
        return ("systemctl status registry-proxy shows how it does, journalctl -u registry-proxy its log.",)
    if target.root == Path("/"):
        return ("systemd isn't running here, so nothing was started; it starts with the system.",)
    return (f"It starts when the system in {target.root} does.",)


def _purged(target: Target, steps: list[Step]) -> Plan:
    remarks: tuple[str, ...] = ()
    config = target.path(CONFIG)
    try:
        store = Configuration.read(config if config.is_file() else None).settings.storage.path
    except ConfigError:
        store = STATE
        remarks = (
            f"{CONFIG} can't be used: if storage.path names another folder than {STATE}, remove it yourself.",
        )
    if store != STATE:
        steps.append(RemovedTree(target.path(store), only=STORE_ENTRIES))
    steps += [RemovedTree(target.path(STATE)), RemovedTree(target.path(CONFIG.parent))]
    return Plan([*steps, RemovedUser(USER, target.accounts)], remarks=remarks)
