"""The installed systemd service when its configuration changes: what it can read, and how it applies the change."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from registry_proxy.commands.changes.plan import Plan
from registry_proxy.commands.install.configuration import Configuration
from registry_proxy.commands.install.places import CONFIG, PROGRAM, STATE, UNIT, USER, TargetSystem
from registry_proxy.commands.install.processes import RunCommand, succeeds
from registry_proxy.commands.install.program import HIDDEN
from registry_proxy.commands.install.systemctl import (
    SERVICE,
    CheckConfiguration,
    RestartService,
    RestoreService,
)
from registry_proxy.commands.install.unit import check_visible, store_steps, unit_file
from registry_proxy.service.reload import waiting_for_restart

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from registry_proxy.commands.changes.files import WriteFile
    from registry_proxy.commands.changes.plan import Step
    from registry_proxy.config import Settings


class Activation(StrEnum):
    """A way to apply a change to a running service: a verb of systemctl."""

    RELOAD = "reload"
    RESTART = "restart"


@dataclass(frozen=True, slots=True)
class Update:
    """A change of the settings of the installed service, from `old` to `new`."""

    service: InstalledService
    old: Settings
    new: Settings

    @property
    def changes_unit(self) -> bool:
        """True if the unit depends on a changed setting: a port below 1024, the store, or the grace period."""
        return self._unit(self.old).content != self._unit(self.new).content

    @property
    def reasons(self) -> tuple[str, ...]:
        """The changed keys that a reload does not apply."""
        return waiting_for_restart(self.old, self.new)

    @property
    def activation(self) -> Activation:
        """The least that applies the change."""
        return Activation.RESTART if self.reasons or self.changes_unit else Activation.RELOAD

    def plan(self, files: Sequence[WriteFile], *, activate: bool) -> Plan:
        """Return the plan that writes the files, checks them as the service's user, and applies them.

        Without `activate`, the running service keeps its settings. If a step fails, all are undone. Raise ChangeError
        if the service could not see one of the files.
        """
        target = self.service.target
        check_visible(Configuration(CONFIG, self.new))
        steps: list[Step] = [*files]
        closing: list[Step] = [CheckConfiguration(PROGRAM, CONFIG, USER, target.accounts)]
        live = target.systemd.live
        if self.changes_unit:
            steps += [*store_steps(self.new.storage.path, target), self._unit(self.new)]
            closing += [RunCommand(["systemctl", "daemon-reload"])] if live else []
        if activate and self.activation is Activation.RELOAD:
            closing.append(RunCommand(["systemctl", "reload", SERVICE]))
        elif activate:
            closing.append(RestartService(target.systemd))
        return Plan(steps, opening=[RestoreService(target.systemd, STATE)] if live else [], closing=closing)

    def _unit(self, settings: Settings) -> WriteFile:
        return unit_file(Configuration(CONFIG, settings), self.service.target)


@dataclass(frozen=True, slots=True)
class InstalledService:
    """The service of this machine, which reads CONFIG."""

    target: TargetSystem

    @classmethod
    def find(cls, config: Path) -> InstalledService | None:
        """Return the service that reads this configuration file, None if it is not installed."""
        target = TargetSystem()
        installed = UNIT.exists() and target.accounts.find(USER) is not None
        return cls(target) if installed and config == CONFIG else None

    @property
    def running(self) -> bool:
        """True if the service runs."""
        return self.target.systemd.active

    def outdated(self, settings: Settings) -> str | None:
        """Return what the installed unit does not allow, None if it fits the settings. Drop-ins are not read."""
        unit = UNIT.read_text("utf-8")
        low = Configuration(CONFIG, settings).low_ports and "CAP_NET_BIND_SERVICE" not in unit
        store = settings.storage.path
        elsewhere = store != STATE and f"ReadWritePaths={store}\n" not in unit
        refused = [*(["ports below 1024"] if low else []), *([f"writing to {store}"] if elsewhere else [])]
        return " and ".join(refused) or None

    def can_read(self, path: Path) -> bool:
        """Return whether the service's user can read a file, which its unit must not hide."""
        if any(path.is_relative_to(directory) for directory in HIDDEN):
            return False
        return succeeds(["test", "-r", str(path)], identity=self.target.accounts.identity(USER))
