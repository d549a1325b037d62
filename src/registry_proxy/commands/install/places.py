"""The files and the user of an installed service, and the system that contains them."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from registry_proxy.commands.install.accounts import Accounts
from registry_proxy.commands.install.systemctl import Systemd

if TYPE_CHECKING:
    from registry_proxy.commands.changes.files import Owner

USER = "registry-proxy"
STATE = Path("/var/lib/registry-proxy")
PROGRAM = Path("/opt/registry-proxy")
CONFIG = Path("/etc/registry-proxy/registry-proxy.toml")
UNIT = Path("/etc/systemd/system/registry-proxy.service")
# sudo and root's shell find programs there.
LINK = Path("/usr/local/bin/registry-proxy")
SYSUSERS = Path("/etc/sysusers.d/registry-proxy.conf")


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
