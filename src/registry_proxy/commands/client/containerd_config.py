"""containerd's configuration: config.toml, and the files that it imports. Pure.

https://github.com/containerd/containerd/blob/main/docs/man/containerd-config.toml.5.md
"""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

import tomlkit

from registry_proxy.commands.client.endpoints import ClientError
from registry_proxy.commands.client.planner import ClientFile
from registry_proxy.commands.client.settings_files import parse_toml, table
from registry_proxy.commands.client.versions import (
    CONTAINERD_2,
    CONTAINERD_DEFAULTS,
    CONTAINERD_ONE_DIRECTORY,
    CRI_PLUGINS,
    DEFAULT_IMPORTS,
    DEFAULT_PATH,
    pulls_locally,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from registry_proxy.commands.client.planner import ExistingFiles
    from registry_proxy.commands.client.settings_files import Table
    from registry_proxy.commands.client.versions import Version

CONFIG = "/etc/containerd/config.toml"
_RESTART = "systemctl restart containerd"


@dataclass(frozen=True, slots=True)
class ConfigFile:
    """One file. `plugin` is the name of the plugin that pulls for Kubernetes; `is_set`: the file has settings of it."""

    path: str
    document: Table
    plugin: str
    is_set: bool

    def registry(self) -> Table:
        """Return the settings for registries, created if they are missing. Raise ClientError."""
        registry = table(self.path, self.document, "plugins", self.plugin, "registry")
        configs = registry.get("configs")
        has_tls = isinstance(configs, dict) and any("tls" in config for config in configs.values())
        old = "mirrors" if registry.get("mirrors") else "configs" if has_tls else None
        if old:
            raise ClientError(
                f"{self.path} has plugins.{self.plugin}.registry.{old}, which containerd rejects together with "
                "config_path. Nothing was changed. Move these settings to hosts.toml files (containerd's "
                "docs/hosts.md), then run the command again."
            )
        return registry


@dataclass(frozen=True, slots=True)
class ContainerdConfig:
    """The files, in the order in which they apply. `version` is containerd's, None if it is unknown."""

    version: Version | None
    files: tuple[ConfigFile, ...]

    @property
    def is_disabled(self) -> bool:
        """True if the plugin that pulls for Kubernetes is off."""
        disabled = {name for file in self.files for name in file.document.get("disabled_plugins", [])}
        return bool(disabled & set(CRI_PLUGINS.values()))

    def directories(self) -> list[str]:
        """Return the directories in which containerd looks for hosts.toml files."""
        path = ""
        for file in (file for file in self.files if file.is_set):
            value = file.registry().get("config_path")
            # Before version 2, a file replaces all settings of a plugin that an earlier one has.
            path = str(value or "") if value is not None or not self._has(CONTAINERD_2) else path
        if not path and self._has(CONTAINERD_DEFAULTS):
            path = DEFAULT_PATH
        return [each for each in path.split(":") if each]

    def reads(self, directories: list[str]) -> bool:
        """Return whether containerd reads all of these directories."""
        if len(directories) != 1:
            known = self.version is not None and self.version < CONTAINERD_ONE_DIRECTORY
            return bool(directories) and (known or any(map(_pulls_locally, self.files)))
        return True

    def changed(self, directory: str) -> Iterator[ClientFile]:
        """Yield the files with this directory. All that have settings of the plugin get it: the last one applies."""
        main, *imported = self.files
        for file in (main, *(file for file in imported if file.is_set)):
            file.registry()["config_path"] = directory
            yield ClientFile(file.path, tomlkit.dumps(file.document), restart=_RESTART)

    def _has(self, version: Version) -> bool:
        return (self.version or (0, 0)) >= version


def read_config(existing: ExistingFiles, version: Version | None) -> ContainerdConfig:
    """Read config.toml and its imports. Raise ClientError if one is unusable."""
    main = parse_toml(CONFIG, existing.get(CONFIG))
    defaults = DEFAULT_IMPORTS if (version or (0, 0)) >= CONTAINERD_DEFAULTS else ()
    if not main:
        main["version"] = 3 if (version or (0, 0)) >= CONTAINERD_2 else 2
        if defaults:
            main["imports"] = list(defaults)
    plugin = CRI_PLUGINS.get(main.get("version", 1))
    if plugin is None:
        raise ClientError(
            f"{CONFIG}: version {main['version']} is unknown. Set config_path in the file by hand."
        )
    files = {CONFIG: ConfigFile(CONFIG, main, plugin, _is_set(main, plugin))}
    pending = [(CONFIG, *_imports(main)), (CONFIG, *defaults)]
    while pending:
        parent, *patterns = pending.pop(0)
        for path in (path for pattern in patterns for path in _paths(existing, parent, pattern)):
            text = existing.get(path)
            if path in files or text is None:
                continue
            document = parse_toml(path, text)
            name = next((each for each in (plugin, *CRI_PLUGINS.values()) if _is_set(document, each)), plugin)
            files[path] = ConfigFile(path, document, name, _is_set(document, name))
            pending.append((path, *_imports(document)))
    return ContainerdConfig(version, tuple(files.values()))


def _is_set(document: Table, plugin: str) -> bool:
    plugins = document.get("plugins")
    return isinstance(plugins, dict) and plugin in plugins


def _imports(document: Table) -> list[str]:
    imports = document.get("imports")
    return [str(each) for each in imports] if isinstance(imports, list) else []


def _paths(existing: ExistingFiles, parent: str, pattern: str) -> list[str]:
    """Return the files of an import, which is relative to the file that has it."""
    path = str(PurePosixPath(parent).parent / pattern)
    if "*" not in path:
        return [path]
    words = "".join(part if part == "*" else shlex.quote(part) for part in re.split(r"(\*)", path) if part)
    return existing.output(f"LC_ALL=C ls -d {words}").splitlines()


def _pulls_locally(file: ConfigFile) -> bool:
    return file.is_set and pulls_locally(file.document["plugins"][file.plugin])
