"""Texts of configuration files without their secrets, for diffs. Pure.

A file can contain secrets in any place and style, also in comments. Therefore only what is known to be harmless is
shown: the file is parsed, every value becomes a mask except those of a few keys, and the result is written again in
one style, without comments.
"""

from __future__ import annotations

import io
import json
import re
import tomllib
from typing import TYPE_CHECKING, Any

import tomlkit
from ruamel.yaml import YAML

from registry_proxy.commands.changes.show import MASK

if TYPE_CHECKING:
    from collections.abc import Callable

# Their values are shown: addresses, and the settings that select a client's behaviour.
_SHOWN = {
    *("registry-mirrors", "insecure-registries", "server", "capabilities"),
    *("config_path", "imports", "version"),
    *("prefix", "location", "mirrors", "global_auth_file"),
    *("endpoint", "endpoints", "url", "name", "kind", "apiVersion", "role", "hostPath", "containerPath"),
}
# Their values are shown if they are absolute paths: other files have the certificates themselves.
_PATHS = {"ca", "ca_file", "cert", "cert_file", "client", "key", "key_file"}
_PATH = re.compile(r"(/[\w.:@\[\]-]+)+")
_CERTIFICATES = (".crt", ".cert")
_PRIVATE_KEY = "PRIVATE KEY-----"
# RFC 3986, section 3.2.1: the user information of a URL. Its query can contain a token.
_USER = re.compile(r"(?:(?<=//)|^)[^/?#]*@")
_QUERY = re.compile(r"[?#].*", re.DOTALL)
_NOT_SHOWN = f"{MASK}\n"


def redacted(path: str, text: str) -> str:
    """Return the text of a file without its secrets. A file that can't be parsed is a mask."""
    if path.endswith(_CERTIFICATES) and _PRIVATE_KEY not in text:
        return text
    form = next((form for suffix, form in _FORMS.items() if path.endswith(suffix)), _json)
    try:
        return form(text) if text.strip() else ""
    except Exception:  # noqa: BLE001 - the parsers have many errors, whose texts quote the file
        return _NOT_SHOWN


def _json(text: str) -> str:
    return json.dumps(_value("", json.loads(text)), indent=2, ensure_ascii=False) + "\n"


def _toml(text: str) -> str:
    return tomlkit.dumps(_value("", tomllib.loads(text)))


def _yaml(text: str) -> str:
    documents = YAML(typ="safe", pure=True).load_all(text)
    writer, stream = YAML(), io.StringIO()
    writer.width = 4096
    writer.dump_all([_value("", document) for document in documents], stream)
    return stream.getvalue()


_FORMS: dict[str, Callable[[str], str]] = {
    ".json": _json,
    ".toml": _toml,
    ".conf": _toml,
    ".yaml": _yaml,
    ".yml": _yaml,
}


def _value(key: str, value: Any) -> Any:
    if isinstance(value, dict):
        return {_cleaned(str(name)): _value(str(name), each) for name, each in value.items()}
    if isinstance(value, list):
        return [_value(key, each) for each in value]
    if isinstance(value, str) and (key in _SHOWN or (key in _PATHS and _PATH.fullmatch(value))):
        return _cleaned(value)
    if value is None or isinstance(value, bool) or (key in _SHOWN and isinstance(value, int)):
        return value
    return MASK


def _cleaned(text: str) -> str:
    return _QUERY.sub(f"?{MASK}", _USER.sub(f"{MASK}@", text))
