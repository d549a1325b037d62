"""What no key can tell alone: credentials that belong together, upstreams that clash, secrets that others can read."""

from __future__ import annotations

import stat
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from pydantic import SecretStr

from registry_proxy.config.kinds import check_password
from registry_proxy.config.problems import Problem
from registry_proxy.config.quantities import InvalidValueError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from pathlib import Path

    from registry_proxy.config.layers import Key, Layer
    from registry_proxy.config.settings import UpstreamSettings

_SECRETS = {"password", "eab_hmac_key"}
_LOOPBACK = {"localhost", "127.0.0.1", "::1"}


def with_password(
    upstream: UpstreamSettings, key: Key, layer: Layer, problems: list[Problem]
) -> UpstreamSettings:
    """The upstream with the password from its `password_file`, where it has one."""
    has_password = upstream.password is not None or upstream.password_file is not None
    if upstream.password is not None and upstream.password_file is not None:
        text, remedy = "is set beside password", "Keep one of the two."
        problems.append(
            Problem(layer[(*key, "password_file")].origin, _dotted(key, "password_file"), text, remedy)
        )
    elif has_password != (upstream.username is not None):
        name, missing = (
            ("username", "password or password_file") if upstream.username else ("password", "username")
        )
        origin = next(
            entry.origin for other, entry in layer.items() if other[:2] == key and other[2].startswith(name)
        )
        problems.append(
            Problem(origin, _dotted(key, name), f"is set without {missing}", f"Set {missing} as well.")
        )
    elif upstream.password_file is not None:
        place = (*key, "password_file")
        password = read_secret(upstream.password_file, check_password, place, layer, problems)
        return upstream.model_copy(update={"password": password})
    return upstream


def _dotted(key: Key, name: str) -> str:
    return ".".join((*key, name))


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
    problems.append(Problem(layer[key].origin, ".".join(key), problem, remedy))
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
                yield Problem(layer[key].origin, ".".join(key), text, remedy)


def readable_secrets(layer: Layer, secret_files: Iterable[Path | None]) -> Iterator[str]:
    """A warning for each file with a password in it that others than its owner can read."""
    files = {entry.file for key, entry in layer.items() if key[-1] in _SECRETS}
    for file in sorted(file for file in files.union(secret_files) if file):
        if file.exists() and stat.S_IMODE(file.stat().st_mode) & (stat.S_IRGRP | stat.S_IROTH):
            yield f"{file} holds a password and can be read by others. Run: chmod go-r {file}"


def clear_text_passwords(upstreams: Mapping[str, UpstreamSettings]) -> Iterator[str]:
    """A warning for each password that goes over a network unencrypted."""
    for name, upstream in upstreams.items():
        url = urlsplit(upstream.url)
        if upstream.password is not None and url.scheme == "http" and url.hostname not in _LOOPBACK:
            yield f"upstreams.{name} sends its password unencrypted to {upstream.url}. Use https if it can."
