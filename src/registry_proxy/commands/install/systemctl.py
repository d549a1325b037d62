"""systemd: the state of the service, and steps that change it."""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from registry_proxy.commands.changes.plan import Change, ChangeError, Done, Step
from registry_proxy.commands.install.processes import RunCommand, run, succeeds

if TYPE_CHECKING:
    from registry_proxy.commands.install.accounts import Accounts

SERVICE = "registry-proxy.service"
_BOOTED = Path("/run/systemd/system")  # sd_booted(3)


def is_booted() -> bool:
    """Return whether systemd manages this machine."""
    return _BOOTED.is_dir()


@dataclass(frozen=True, slots=True)
class Systemd:
    """The service manager of the system in `root`."""

    root: Path

    @property
    def live(self) -> bool:
        """True if it runs, and manages this system."""
        return self.root == Path("/") and is_booted()

    @property
    def active(self) -> bool:
        """True if the service runs."""
        return self.live and succeeds(["systemctl", "is-active", "--quiet", SERVICE])

    @property
    def invocation(self) -> str:
        """The ID of the last start of the service."""
        return run(["systemctl", "show", "--property=InvocationID", "--value", SERVICE]).strip()

    @property
    def enabled(self) -> bool:
        """True if the service starts when the system boots."""
        return succeeds(self._offline("is-enabled"))

    def enabling(self) -> list[Step]:
        """Return the steps that load the unit and enable it."""
        reload = [RunCommand(["systemctl", "daemon-reload"])] if self.live else []
        return [*reload, RunCommand(self._offline("enable"), undo=self._offline("disable"))]

    def removal(self) -> list[Step]:
        """Return the steps that stop and disable the service."""
        if not self.live:
            return [RunCommand(self._offline("disable"), undo=self._offline("enable"))]
        undo = ["systemctl", "enable", *(["--now"] if self.active else []), SERVICE]
        return [RunCommand(["systemctl", "disable", "--now", SERVICE], undo)]

    def _offline(self, verb: str) -> list[str]:
        # Without a running systemd, systemctl with --root changes the files itself.
        return ["systemctl", *([] if self.live else [f"--root={self.root}"]), verb, "--quiet", SERVICE]


@dataclass(frozen=True, slots=True)
class RestoreService:
    """Opening step without a change: if the plan is undone, the service runs again as before.

    `state` is the directory that systemd creates for the service on startup.
    """

    systemd: Systemd
    state: Path

    def changes(self) -> list[Change]:
        return []

    def apply(self) -> Done:
        """Record the state of the service."""
        active, kept, invocation = self.systemd.active, self.state.exists(), self.systemd.invocation

        def undo() -> None:
            run(["systemctl", "daemon-reload"])
            # A service that no step has touched continues, with its transfers.
            if active and not (self.systemd.active and self.systemd.invocation == invocation):
                run(["systemctl", "restart", SERVICE])
            if not kept:
                shutil.rmtree(self.state, ignore_errors=True)

        return Done(undo)


@dataclass(frozen=True, slots=True)
class RestartService:
    """Restart the service with the new files."""

    systemd: Systemd

    def changes(self) -> list[Change]:
        return [Change("run", f"systemctl restart {SERVICE}")]

    def apply(self) -> Done:
        """Restart it, and wait until all its workers serve."""
        try:
            run(["systemctl", "restart", SERVICE])
        except ChangeError as error:
            log = self._log()
            self._stop()
            raise ChangeError(f"{error}\nThe end of its log:\n{log.rstrip()}") from None
        return Done(undo=self._stop)

    def _log(self) -> str:
        """Return the log of the service since its last start."""
        start = f"_SYSTEMD_INVOCATION_ID={self.systemd.invocation}"
        return run(["journalctl", start, "--lines=20", "--no-pager", "--output=cat"])

    def _stop(self) -> None:
        run(["systemctl", "stop", SERVICE])


@dataclass(frozen=True, slots=True)
class CheckConfiguration:
    """Check as the service's user that the program can use the configuration and read all its files."""

    program: Path
    config: Path
    user: str
    accounts: Accounts

    def changes(self) -> list[Change]:
        return [Change("run", f"registry-proxy check-config --config {self.config}, as {self.user}")]

    def apply(self) -> Done:
        command = [str(self.program / "bin/registry-proxy"), "check-config", "--config", str(self.config)]
        environ = {"PATH": os.defpath, "HOME": "/"}
        run(command, directory=Path("/"), environ=environ, identity=self.accounts.identity(self.user))
        return Done()
