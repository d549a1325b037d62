"""`.env` in words that Docker Compose understands as we do. Pure.

Compose reads the file with other rules: version 2 takes a `$` for the beginning of a variable, unless the value is in
single quotes. In these all agree, but for backslashes.
"""

from __future__ import annotations

import io
import re

from dotenv.parser import parse_stream

from registry_proxy.commands.install.plan import InstallError

_PLAIN = re.compile(r"[\w./:@,%+=\[\]-]*", re.ASCII)
_PROFILES = "COMPOSE_PROFILES"


def for_compose(text: str, profiles: tuple[str, ...] = ()) -> str:
    """The same values, in single quotes where they need it, and these profiles.

    Raises InstallError for a value that can't be written so that all read the same. What isn't NAME=VALUE stays.
    """
    lines = []
    for binding in parse_stream(io.StringIO(text)):
        original = binding.original.string
        if profiles and binding.key == _PROFILES:
            continue
        lines.append(
            original if binding.key is None else _rewritten(binding.key, binding.value or "", original)
        )
    result = "".join(lines)
    if profiles:
        end = "" if result.endswith("\n") or not result else "\n"
        result += f"{end}{_PROFILES}={','.join(profiles)}\n"
    return result


def quoted(name: str, value: str) -> str:
    """`NAME=VALUE`, quoted where that is needed. Raises InstallError."""
    if _PLAIN.fullmatch(value):
        return f"{name}={value}"
    if "'" in value or "\\" in value or "\n" in value:
        raise InstallError(
            f"{name} has a quote, a backslash or a line break in its value, which Docker Compose and this program "
            "read differently. Put the value into a file, and name that by the variable that ends with _FILE."
        )
    return f"{name}='{value}'"


def _rewritten(name: str, value: str, original: str) -> str:
    wanted = quoted(name, value)
    if _PLAIN.fullmatch(value) or f"'{value}'" in original:
        return original  # with the comment behind it
    begin = original[: len(original) - len(original.lstrip("\n"))]
    return f"{begin}{wanted}\n"
