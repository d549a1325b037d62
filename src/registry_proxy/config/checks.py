"""What no key can tell alone: credentials that belong together, upstreams that clash, secrets that others can read."""

from __future__ import annotations

import shutil
import stat
from typing import TYPE_CHECKING, TypeVar
from urllib.parse import urlsplit

from pydantic import SecretStr

from registry_proxy.config.problems import Problem, dotted
from registry_proxy.config.settings import CredentialSettings
from registry_proxy.config.types import check_password
from registry_proxy.config.units import InvalidValueError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from pathlib import Path

    from registry_proxy.config.layers import Key, Layer
    from registry_proxy.config.settings import UpstreamSettings

_SECRETS = {"password", "eab_hmac_key"}
_LOOPBACK = {"localhost", "127.0.0.1", "::1"}
_SOURCES = ("password", "password_file", "password_command", "credential_helper")

WithCredentials = TypeVar("WithCredentials", bound=CredentialSettings)


def with_credentials(
    settings: WithCredentials, key: Key, layer: Layer, problems: list[Problem]
) -> WithCredentials:
    """The settings with the password from their `password_file`, where they have one."""
    written = {
        name
        for name, field in type(settings).model_fields.items()
        if getattr(settings, name) != field.default
    }
    contradiction = _contradiction(written)
    if contradiction is not None:
        name, text, remedy = contradiction
        place = (*key, name)
        problems.append(Problem(layer[place].origin, dotted(place), text, remedy))
        return settings
    if settings.password_file is None:
        return settings
    password = read_secret(settings.password_file, check_password, (*key, "password_file"), layer, problems)
    return settings.model_copy(update={"password": password})


def _contradiction(names: set[str]) -> tuple[str, str, str] | None:
    """Of the keys that differ from their defaults: one that doesn't fit the others, why, and what to do."""
    sources = [name for name in _SOURCES if name in names]
    found = None
    if len(sources) > 1:
        found = sources[1], f"is set beside {sources[0]}", "Keep one of the two."
    elif "username" in names and not sources:
        remedy = "Set password, password_file or password_command as well."
        found = "username", "is set without password", remedy
    elif "username" in names and sources == ["credential_helper"]:
        found = (
            "username",
            "is set beside credential_helper, which names the user itself",
            "Keep one of the two.",
        )
    elif "username" not in names and sources and sources != ["credential_helper"]:
        found = sources[0], "is set without username", "Set username as well."
    elif "password_lifetime" in names and sources not in (["password_command"], ["credential_helper"]):
        remedy = "Take it out: a password file is read again when it changes."
        found = "password_lifetime", "is set without password_command or credential_helper", remedy
    return found


def read_secret(
    path: Path, check: Callable[[SecretStr], SecretStr], key: Key, layer: Layer, problems: list[Problem]
) -> SecretStr | None:
    """What the file that `key` names holds. One line break at the end doesn't count: editors add it."""
    try:
        text = path.read_text("utf-8")
        return check(SecretStr(text.removesuffix("\n").removesuffix("\r")))
    except OSError as error:
        problem, remedy = f"can't read {path}: {error.strerror}", "Mend the path or the file's owner."
    except UnicodeDecodeError:
        problem, remedy = f"{path} is not UTF-8 text", "Write nothing but the secret into it."
    except InvalidValueError as error:
        problem, remedy = f"what {path} holds {error.text}", error.remedy
    problems.append(Problem(layer[key].origin, dotted(key), problem, remedy))
    return None


def clashes(upstreams: Mapping[str, UpstreamSettings], layer: Layer) -> Iterator[Problem]:
    """Two upstreams of one registry, or at one host name: a request could not tell which it means."""
    for attribute in ("registry", "hostname"):
        owners: dict[str, str] = {}
        for name, upstream in upstreams.items():
            value = getattr(upstream, attribute)
            owner = owners.setdefault(value, name) if value else name
            if owner != name:
                key = ("upstreams", name, attribute)
                text = f"{value} is the {attribute} of upstreams.{owner} already"
                remedy = f"Change one of the two, or set enabled = false in [upstreams.{owner}]."
                yield Problem(layer[key].origin, dotted(key), text, remedy)


def readable_secrets(layer: Layer, secret_files: Iterable[Path | None]) -> Iterator[str]:
    """A warning for each file with a password in it that others than its owner can read."""
    files = {entry.file for key, entry in layer.items() if key[-1] in _SECRETS}
    for file in sorted(file for file in files.union(secret_files) if file):
        if file.exists() and stat.S_IMODE(file.stat().st_mode) & (stat.S_IRGRP | stat.S_IROTH):
            yield f"{file} holds a password and can be read by others. Run: chmod go-r {file}"


def clear_text_passwords(upstreams: Mapping[str, UpstreamSettings]) -> Iterator[str]:
    """A warning for each upstream whose passwords go over a network unencrypted."""
    for name, upstream in upstreams.items():
        url = urlsplit(upstream.url)
        has_passwords = any(each.username or each.credential_helper for each in upstream.credentials)
        if has_passwords and url.scheme == "http" and url.hostname not in _LOOPBACK:
            yield f"upstreams.{name} sends its password unencrypted to {upstream.url}. Use https if it can."


def missing_programs(upstreams: Mapping[str, UpstreamSettings]) -> Iterator[str]:
    """A warning for each program that shall print a password and can't be run."""
    for name, upstream in upstreams.items():
        programs = {each.program for each in upstream.credentials if each.program}
        for program in sorted(program for program in programs if shutil.which(program) is None):
            text = f"takes its password from {program}, which can't be run"
            yield f"upstreams.{name} {text}. Install it, or mend its name."
