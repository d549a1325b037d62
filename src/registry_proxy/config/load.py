"""Loading of `Settings` from file and environment. All problems are reported together."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from registry_proxy.config.checks import (
    address_clashes,
    checked_credentials,
    checked_tls,
    clashes,
    clear_text_passwords,
    missing_programs,
    readable_secrets,
    unused_client_ca,
    unused_client_names,
)
from registry_proxy.config.layers import Entry, Key, Layer, SourceReader, environment_entries, upstreams_added
from registry_proxy.config.loader import Loader
from registry_proxy.config.problems import ConfigError, Problem, suggest
from registry_proxy.config.settings import SECTIONS, PathSettings, Settings, UpstreamSettings
from registry_proxy.config.trust import check_trusted

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_CONFIG_FILES = (Path("registry-proxy.toml"), Path("/etc/registry-proxy/registry-proxy.toml"))
_DOTENV = Path(".env")
_STATE = Path("/var/lib/registry-proxy")
# A key in a stronger source removes these keys of a weaker one.
_ALTERNATIVES = {
    "password": ("password_file", "password_command", "credential_helper", "password_lifetime"),
    "password_file": ("password", "password_command", "credential_helper", "password_lifetime"),
    "password_command": ("password", "password_file", "credential_helper"),
    "credential_helper": ("username", "password", "password_file", "password_command"),
    "eab_hmac_key": ("eab_hmac_key_file",),
    "eab_hmac_key_file": ("eab_hmac_key",),
}


class KnownRegistry(Protocol):
    """The part of a preset that `load` requires.

    `registry` is its name in image references and `url` the address of its API. With `default` it is on unless the
    configuration turns it off, otherwise only if the configuration mentions it.
    """

    @property
    def registry(self) -> str: ...
    @property
    def url(self) -> str: ...
    @property
    def default(self) -> bool: ...


def find_config_file() -> Path | None:
    """Return the default configuration file, in the working directory, then in /etc. None if there is none.

    Raise ConfigError if another user could change root's settings by a file in the working directory.
    """
    found = next((path for path in _CONFIG_FILES if _exists(path)), None)
    if found == _CONFIG_FILES[0]:
        check_trusted(found)
    if (found is None or found == _CONFIG_FILES[0]) and SourceReader().dotenv(_DOTENV):
        check_trusted(_DOTENV)
    return found


def _exists(path: Path) -> bool:
    try:
        return path.is_file()
    except PermissionError:
        return True  # continuing without the file would apply other settings


def default_storage_path(environ: Mapping[str, str]) -> Path:
    """Return the system's directory for root and for users who can write to it, otherwise the user's own."""
    if os.geteuid() == 0 or os.access(_STATE, os.W_OK | os.X_OK, effective_ids=True):
        return _STATE
    data = environ.get("XDG_DATA_HOME", "")
    # XDG base directory specification: a relative path counts as unset.
    home = (
        Path(data) if data.startswith("/") else Path(environ.get("HOME") or "~").expanduser() / ".local/share"
    )
    return home / "registry-proxy"


def load(
    path: Path | None,
    environ: Mapping[str, str],
    known: Mapping[str, KnownRegistry],
    drafts: Mapping[Path, str] | None = None,
) -> Settings:
    """Return the settings of the file at `path` (None: no file), of `.env` in its directory, and of `environ`.

    A later source takes precedence. `known` are the registries that need no `registry` key, by the name of their
    upstream. `drafts` are texts that replace the content of these two files, to check them before they are written.
    Raise ConfigError with all problems.
    """
    loader = _merged(path, environ, known, drafts or {})
    layer, problems = loader.layer, loader.problems
    layer.setdefault(("storage", "path"), Entry(str(default_storage_path(environ)), "default"))
    sections = {name: loader.validated(model, (name,)) for name, model in SECTIONS.items()}
    configured = _upstreams(loader, known)
    upstreams = {name: upstream for name, upstream in configured.items() if upstream.enabled}
    problems += clashes(upstreams, layer)
    if not problems:
        hostnames = [upstream.hostname for upstream in upstreams.values() if upstream.hostname]
        sections["tls"] = checked_tls(sections["tls"], hostnames, loader)
        problems += address_clashes(sections, layer)
        problems += unused_client_ca(sections, layer)
        problems += unused_client_names(sections, upstreams, layer)
    if not upstreams and not problems:
        problems.append(
            Problem(str(path or "environment"), "upstreams", "every upstream is off", "Turn one on.")
        )
    if problems:
        raise ConfigError(problems)
    disabled = {
        each.hostname: each.registry for each in configured.values() if each.hostname and not each.enabled
    }
    settings = Settings.model_validate({**sections, "upstreams": upstreams, "disabled_hostnames": disabled})
    return settings.model_copy(update={"warnings": tuple(_warnings(settings, layer))})


def _warnings(settings: Settings, layer: Layer) -> Iterator[str]:
    credentials = [each for upstream in settings.upstreams.values() for each in upstream.credentials]
    files = [each.password_file for each in credentials]
    files.append(settings.tls.eab_hmac_key_file if settings.tls else None)
    yield from readable_secrets(layer, files)
    yield from clear_text_passwords(settings.upstreams)
    yield from missing_programs(settings.upstreams)


def _merged(
    path: Path | None,
    environ: Mapping[str, str],
    known: Mapping[str, KnownRegistry],
    drafts: Mapping[Path, str],
) -> Loader:
    reader = SourceReader()
    layer = reader.file(path, drafts.get(path)) if path else {}
    env_file = (path.parent if path else Path()) / ".env"
    dotenv = reader.dotenv(env_file, drafts.get(env_file))
    environment = environment_entries(environ)
    names = {*known, *_names(layer), *upstreams_added([*dotenv, *environment])}
    for variables in (dotenv, environment):
        _override(layer, reader.variables(variables, names))
    return Loader(layer, reader.problems)


def _names(layer: Layer) -> list[str]:
    return sorted({key[1] for key in layer if key[0] == "upstreams"})


def _override(layer: Layer, stronger: Layer) -> None:
    """Merge a stronger layer. Its password replaces a weaker layer's password_file, and vice versa."""
    for *parents, name in stronger:
        for alternative in _ALTERNATIVES.get(name, ()):
            layer.pop((*parents, alternative), None)
    layer.update(stronger)


def _upstreams(loader: Loader, known: Mapping[str, KnownRegistry]) -> dict[str, UpstreamSettings]:
    """Return all valid upstreams by name, with those that are off."""
    defaults = [name for name, preset in known.items() if preset.default]
    others = [name for name in _names(loader.layer) if name not in defaults]
    built = {name: _upstream(name, loader, known) for name in (*defaults, *others)}
    return {name: upstream for name, upstream in built.items() if upstream is not None}


def _upstream(name: str, loader: Loader, known: Mapping[str, KnownRegistry]) -> UpstreamSettings | None:
    key = ("upstreams", name)
    layer, preset = loader.layer, known.get(name)
    if preset:
        layer.setdefault((*key, "registry"), Entry(preset.registry, "default"))
    elif (*key, "registry") not in layer:
        origin = next(entry.origin for other, entry in layer.items() if other[:2] == key)
        add = f'Add its registry, such as registry = "registry.example.com"; known are {", ".join(known)}.'
        remedy = suggest(name, known, add)
        loader.problems.append(Problem(origin, ".".join(key), "is not a known upstream", remedy))
        return None
    upstream = loader.validated(UpstreamSettings, key)
    if upstream is None or not upstream.enabled:
        return upstream
    if not upstream.url:
        is_preset = preset and preset.registry == upstream.registry
        url = preset.url if preset and is_preset else f"https://{upstream.registry}"
        upstream = upstream.model_copy(update={"url": url})
    upstream = upstream.model_copy(update={"paths": _paths((*key, "paths"), loader)})
    return checked_credentials(upstream, key, loader)


def _paths(key: Key, loader: Loader) -> dict[str, PathSettings]:
    """Return the credentials for some of an upstream's repositories, by path."""
    layer = loader.layer
    names = dict.fromkeys(other[len(key)] for other in layer if other[: len(key)] == key and other != key)
    built = {name: loader.validated(PathSettings, (*key, name)) for name in names}
    return {name: checked_credentials(path, (*key, name), loader) for name, path in built.items() if path}
