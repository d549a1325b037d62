"""systemd itself: its state of the service, and steps that change it."""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from registry_proxy.commands.install.commands import Command, Identity, run, succeeds
from registry_proxy.commands.install.plan import Change, Done, InstallError, Step

if TYPE_CHECKING:
    from registry_proxy.commands.install.accounts import Accounts

_SERVICE = "registry-proxy.service"
_BOOTED = Path("/run/systemd/system")  # sd_booted(3)


@dataclass(frozen=True, slots=True)
class Systemd:
    """The service manager of the system in `root`."""

    root: Path

    @property
    def live(self) -> bool:
        """Whether it runs, and is this system's."""
        return self.root == Path("/") and _BOOTED.is_dir()

    @property
    def active(self) -> bool:
        """Whether the service runs."""
        return self.live and succeeds(["systemctl", "is-active", "--quiet", _SERVICE])

    @property
    def enabled(self) -> bool:
        """Whether the service starts with the system."""
        return succeeds(self._offline("is-enabled"))

    def enabling(self) -> list[Step]:
        """Steps: it knows the unit and starts it with the system."""
        reload = [Command(["systemctl", "daemon-reload"])] if self.live else []
        return [*reload, Command(self._offline("enable"), undo=self._offline("disable"))]

    def removal(self) -> list[Step]:
        """Steps: the service is stopped, and doesn't start again."""
        if not self.live:
            return [Command(self._offline("disable"), undo=self._offline("enable"))]
        now = ["--now"] if self.active else []
        return [
            Command(["systemctl", "disable", "--now", _SERVICE], undo=["systemctl", "enable", *now, _SERVICE])
        ]

    def _offline(self, verb: str) -> list[str]:
        # Where systemd doesn't run, systemctl changes the files itself when it is told a root.
        return ["systemctl", *([] if self.live else [f"--root={self.root}"]), verb, "--quiet", _SERVICE]


@dataclass(frozen=True, slots=True)
class ServiceBefore:
    """The first step: it changes nothing, but when all is taken back the service runs again as it did.

    `state` is the folder that systemd makes for it when it starts.
    """

    systemd: Systemd
    state: Path

    def change(self) -> None:
        """Nothing."""

    def apply(self) -> Done:
        """Remember how it was."""
        active, kept = self.systemd.active, self.state.exists()

        def undo() -> None:
            run(["systemctl", "daemon-reload"])
            if active:
                run(["systemctl", "restart", _SERVICE])
            if not kept:
                shutil.rmtree(self.state, ignore_errors=True)

        return Done(undo)


@dataclass(frozen=True, slots=True)
class RestartedService:
    """A step: the service runs with what is installed now."""

    systemd: Systemd

    def change(self) -> Change:
        """The command."""
        return Change("run", f"systemctl restart {_SERVICE}")

    def apply(self) -> Done:
        """Restart it, and wait until all its workers serve."""
        try:
            run(["systemctl", "restart", _SERVICE])
        except InstallError as error:
            log = self._log()
            self._stop()
            raise InstallError(f"{error}\nThe end of its log:\n{log.rstrip()}") from None
        return Done(undo=self._stop)

    def _log(self) -> str:
        """What the service itself wrote since it was last started."""
        start = run(["systemctl", "show", "--property=InvocationID", "--value", _SERVICE]).strip()
        return run(
            ["journalctl", f"_SYSTEMD_INVOCATION_ID={start}", "--lines=20", "--no-pager", "--output=cat"]
        )

    def _stop(self) -> None:
        run(["systemctl", "stop", _SERVICE])


@dataclass(frozen=True, slots=True)
class CheckedConfiguration:
    """A step: the program, run as the service's user, can use the configuration and read all its files."""

    program: Path
    config: Path
    user: str
    accounts: Accounts

    def change(self) -> Change:
        """The command."""
        return Change("run", f"registry-proxy check-config --config {self.config}, as {self.user}")

    def apply(self) -> Done:
        """Check."""
        account = self.accounts.get(self.user)
        identity = Identity(account.uid, account.gid, tuple(os.getgrouplist(self.user, account.gid)))
        command = [str(self.program / "bin/registry-proxy"), "check-config", "--config", str(self.config)]
        run(command, folder=Path("/"), environ={"PATH": os.defpath, "HOME": "/"}, identity=identity)
        return Done()
