"""From file and environment to `Settings`, or to a list of everything that is wrong with them."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, TypeVar

from pydantic import BaseModel, ValidationError

from registry_proxy.config import layers
from registry_proxy.config.access_checks import idle_client_names
from registry_proxy.config.checks import (
    clashes,
    clear_text_passwords,
    missing_programs,
    readable_secrets,
    with_credentials,
)
from registry_proxy.config.layers import Entry, Key, Layer
from registry_proxy.config.problems import ConfigError, Problem, dotted, suggest
from registry_proxy.config.settings import SECTIONS, PathSettings, Settings, UpstreamSettings
from registry_proxy.config.tls_checks import address_clashes, checked_tls, idle_client_ca
from registry_proxy.config.units import InvalidValueError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from pydantic_core import ErrorDetails

_CONFIG_FILES = (Path("registry-proxy.toml"), Path("/etc/registry-proxy/registry-proxy.toml"))
_STATE = Path("/var/lib/registry-proxy")
_PATHS = {
    "path",
    "password_file",
    "cert",
    "key",
    "ca_root",
    "eab_hmac_key_file",
    "htpasswd",
    "client_ca",
    "access_htpasswd",
}
# What a stronger source's key makes void in a weaker one.
_ALTERNATIVES = {
    "password": ("password_file", "password_command", "credential_helper", "password_lifetime"),
    "password_file": ("password", "password_command", "credential_helper", "password_lifetime"),
    "password_command": ("password", "password_file", "credential_helper"),
    "credential_helper": ("username", "password", "password_file", "password_command"),
    "eab_hmac_key": ("eab_hmac_key_file",),
    "eab_hmac_key_file": ("eab_hmac_key",),
}
# What may hold a secret, also one that was written into the wrong key.
_NEVER_SHOWN = {"username", "password", "password_command", "url", "public_url", "acme", "eab_hmac_key"}
_KINDS = {
    "bool_type": ("is neither true nor false", "Write true or false, without quotes."),
    "int_type": ("is not a whole number", "Write it in digits, without quotes."),
    "string_type": ("is not a text", "Put it in quotes."),
    "path_type": ("is not a text", "Put it in quotes."),
}


Model = TypeVar("Model", bound=BaseModel)


class KnownRegistry(Protocol):
    """What `load` needs of a preset.

    `registry` is its name in image references and `url` the address of its API; with `default` it is on unless the
    configuration turns it off, otherwise once the configuration names it.
    """

    @property
    def registry(self) -> str: ...
    @property
    def url(self) -> str: ...
    @property
    def default(self) -> bool: ...


def find_config_file() -> Path | None:
    """The configuration file where none was named: in the working directory, or else in /etc; None without one."""
    return next((path for path in _CONFIG_FILES if _is_there(path)), None)


def _is_there(path: Path) -> bool:
    try:
        return path.is_file()
    except PermissionError:
        return True  # to go on without it would be to go on with other settings


def default_storage_path(environ: Mapping[str, str]) -> Path:
    """The system's folder for root and for those who may write to it, or else the user's own."""
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
    """The settings of the file at `path` (None: no file), of `.env` beside it, and of `environ`; the last wins.

    `known` are the registries that need no `registry` key, by the name of their upstream. `drafts` are texts to
    take instead of what these two files hold, to check them before they are written. Raises ConfigError with
    everything that is wrong.
    """
    problems: list[Problem] = []
    layer = _merged(path, environ, known, problems, drafts or {})
    layer.setdefault(("storage", "path"), Entry(str(default_storage_path(environ)), "default"))
    sections = {name: _validated(model, (name,), layer, problems) for name, model in SECTIONS.items()}
    upstreams = _upstreams(layer, known, problems)
    problems += clashes(upstreams, layer)
    if not problems:
        hostnames = [upstream.hostname for upstream in upstreams.values() if upstream.hostname]
        sections["tls"] = checked_tls(sections["tls"], hostnames, layer, problems)
        problems += address_clashes(sections, layer)
        problems += idle_client_ca(sections, layer)
        problems += idle_client_names(sections, upstreams, layer)
    if not upstreams and not problems:
        problems.append(
            Problem(str(path or "environment"), "upstreams", "every upstream is off", "Turn one on.")
        )
    if problems:
        raise ConfigError(problems)
    settings = Settings.model_validate({**sections, "upstreams": upstreams})
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
    problems: list[Problem],
    drafts: Mapping[Path, str],
) -> Layer:
    layer = layers.file_layer(path, problems, drafts.get(path)) if path else {}
    env_file = (path.parent if path else Path()) / ".env"
    dotenv = layers.dotenv_entries(env_file, problems, drafts.get(env_file))
    environment = layers.environment_entries(environ)
    names = {*known, *_names(layer), *layers.upstreams_added([*dotenv, *environment])}
    for variables in (dotenv, environment):
        _override(layer, layers.variables_layer(variables, names, problems))
    return layer


def _names(layer: Layer) -> list[str]:
    return sorted({key[1] for key in layer if key[0] == "upstreams"})


def _override(layer: Layer, stronger: Layer) -> None:
    """A stronger layer's password replaces a weaker one's password_file, and the other way round."""
    for *parents, name in stronger:
        for alternative in _ALTERNATIVES.get(name, ()):
            layer.pop((*parents, alternative), None)
    layer.update(stronger)


def _upstreams(
    layer: Layer, known: Mapping[str, KnownRegistry], problems: list[Problem]
) -> dict[str, UpstreamSettings]:
    """Those that are on, by name."""
    defaults = [name for name, preset in known.items() if preset.default]
    others = [name for name in _names(layer) if name not in defaults]
    built = {name: _upstream(name, layer, known, problems) for name in (*defaults, *others)}
    return {name: upstream for name, upstream in built.items() if upstream is not None and upstream.enabled}


def _upstream(
    name: str, layer: Layer, known: Mapping[str, KnownRegistry], problems: list[Problem]
) -> UpstreamSettings | None:
    key = ("upstreams", name)
    preset = known.get(name)
    if preset:
        layer.setdefault((*key, "registry"), Entry(preset.registry, "default"))
    elif (*key, "registry") not in layer:
        origin = next(entry.origin for other, entry in layer.items() if other[:2] == key)
        add = f'Add its registry, such as registry = "registry.example.com"; known are {", ".join(known)}.'
        problems.append(Problem(origin, ".".join(key), "is not a known upstream", suggest(name, known, add)))
        return None
    upstream = _validated(UpstreamSettings, key, layer, problems)
    if upstream is None or not upstream.enabled:
        return upstream
    if not upstream.url:
        is_preset = preset and preset.registry == upstream.registry
        url = preset.url if preset and is_preset else f"https://{upstream.registry}"
        upstream = upstream.model_copy(update={"url": url})
    upstream = upstream.model_copy(update={"paths": _paths((*key, "paths"), layer, problems)})
    return with_credentials(upstream, key, layer, problems)


def _paths(key: Key, layer: Layer, problems: list[Problem]) -> dict[str, PathSettings]:
    """The credentials of some of an upstream's repositories, by path."""
    names = dict.fromkeys(other[len(key)] for other in layer if other[: len(key)] == key and other != key)
    built = {name: _validated(PathSettings, (*key, name), layer, problems) for name in names}
    return {
        name: with_credentials(path, (*key, name), layer, problems) for name, path in built.items() if path
    }


def _validated(model: type[Model], prefix: Key, layer: Layer, problems: list[Problem]) -> Model | None:
    values = {key[-1]: _resolved(key, entry) for key, entry in layer.items() if key[:-1] == prefix}
    try:
        return model.model_validate(values)
    except ValidationError as error:
        problems += [_problem(detail, prefix, layer, model) for detail in error.errors(include_url=False)]
        return None


def _resolved(key: Key, entry: Entry) -> object:
    base = entry.file.absolute().parent if entry.file else Path.cwd()
    if key[-1] == "password_command":
        return _resolved_command(base, entry.value)
    if key[-1] not in _PATHS:
        return entry.value
    if isinstance(entry.value, list):
        return [_resolved_path(base, item) for item in entry.value]
    return _resolved_path(base, entry.value)


def _resolved_command(base: Path, value: object) -> object:
    """A program with a slash in its name is a path; one without is looked for in PATH."""
    if not isinstance(value, list) or not value or "/" not in str(value[0]):
        return value
    program = _resolved_path(base, value[0])
    return [str(program) if isinstance(program, Path) else program, *value[1:]]


def _resolved_path(base: Path, value: object) -> object:
    if not isinstance(value, str) or not value:
        return value
    return base / os.path.expanduser(value)  # noqa: PTH111 - Path's own raises where there is no home


def _problem(detail: ErrorDetails, prefix: Key, layer: Layer, model: type[BaseModel]) -> Problem:
    key = (*prefix, str(detail["loc"][0]))
    text, remedy = _explained(detail, key, model)
    if detail["type"] != "extra_forbidden":
        shown = "it" if key[-1] in _NEVER_SHOWN else json.dumps(detail["input"], default=str)[:60]
        text = f"{shown} {text}"
    return Problem(layer[key].origin, dotted(key), text, remedy)


def _explained(detail: ErrorDetails, key: Key, model: type[BaseModel]) -> tuple[str, str]:
    """What is wrong with a value, and what to do."""
    context = detail.get("ctx", {})
    cause = context.get("error")
    if isinstance(cause, InvalidValueError):
        return cause.text, cause.remedy
    match detail["type"]:
        case "extra_forbidden":
            known = f"Known keys are {', '.join(model.model_fields)}."
            return "is not a known key", suggest(key[-1], model.model_fields, known)
        case "literal_error":
            return "is not a known value", f"Write {context['expected']}."
        case kind:
            return _KINDS.get(kind, ("is out of range", f"{detail['msg']}."))
