"""Answers to the questions, and the settings to change. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path

    from registry_proxy.commands.config.runner import Runner
    from registry_proxy.config import Settings
    from registry_proxy.config.layers import Key

SECRETS = ("password", "eab_hmac_key")
# A new password replaces all of these.
CREDENTIALS = ("password", "password_file", "password_command", "credential_helper")


@dataclass(slots=True)
class Answers:
    """The result of all questions.

    `registries` are the enabled upstreams. `values` are written to the file, and None removes a key. `secrets` are
    written to `.env`, and None removes one. `users` and their passwords are written to `htpasswd`. `runner` is None
    if it is unknown. `store` is the directory that it uses.
    """

    registries: list[str] = field(default_factory=list)
    values: dict[Key, Any] = field(default_factory=dict)
    secrets: dict[Key, str | None] = field(default_factory=dict, repr=False)
    without_tls: bool = False
    htpasswd: Path | None = None
    users: dict[str, str] = field(default_factory=dict, repr=False)
    runner: Runner | None = None
    store: Path | None = None


def changed_settings(answers: Answers, old: Settings | None, defaults: set[str]) -> dict[Key, Any]:
    """Return the keys to set, or with None to remove. `defaults` are the upstreams that are enabled by default."""
    current = _flat(old.model_dump(mode="json", exclude_none=True)) if old else {}
    wanted = {**answers.values, **_switches(answers, old, defaults)}
    changed = [key for key in wanted if key[-1] == "enabled" or current.get(key) != wanted[key]]
    return {key: wanted[key] for key in sorted(changed, key=_order)}


def _order(key: Key) -> tuple[bool, str]:
    """Return a sort key that puts the upstreams last: there can be many."""
    return key[0] == "upstreams", "" if key[0] == "upstreams" else key[0]


def _switches(answers: Answers, old: Settings | None, defaults: set[str]) -> dict[Key, Any]:
    """Return the keys that enable and disable upstreams."""
    enabled = set(old.upstreams) if old else defaults
    turned_off: dict[Key, Any] = {
        ("upstreams", name, "enabled"): False for name in sorted(enabled - set(answers.registries))
    }
    turned_on: dict[Key, Any] = {
        ("upstreams", name, "enabled"): None for name in answers.registries if name not in enabled
    }
    return turned_off | turned_on


def _flat(document: dict[str, Any]) -> dict[Key, Any]:
    flat: dict[Key, Any] = {}
    for section, table in document.items():
        for name, value in table.items():
            if section == "upstreams":
                flat |= {(section, name, key): item for key, item in value.items()}
            else:
                flat[section, name] = value
    return flat
