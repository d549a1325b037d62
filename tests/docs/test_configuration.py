"""docs/configuration.md is complete and true."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
import tomlkit

from registry_proxy.config import load
from registry_proxy.config.layers import variable_name
from registry_proxy.config.settings import SECTIONS, UPSTREAM_VARIABLES, PathSettings, TlsSettings
from registry_proxy.upstream.presets import PRESETS

ROOT = Path(__file__).parents[2]
CONFIGURATION = (ROOT / "docs" / "configuration.md").read_text()
DOCUMENTS = {path.name: path.read_text() for path in (ROOT / "README.md", *sorted(ROOT.glob("docs/*.md")))}

# `key` | type | default | `variable`
ROW = re.compile(r"^\| `(\w+)` \| (.+) \| (.+) \| `(\w+)` \|$", re.MULTILINE)
# By heading: the table's part of a variable's name, and its keys.
TABLES: dict[str, tuple[str, tuple[str, ...]]] = {
    **{f"[{section}]": (section, tuple(model.model_fields)) for section, model in SECTIONS.items()},
    "[upstreams.NAME]": ("NAME", UPSTREAM_VARIABLES),
}
PATHS = '[upstreams.NAME.paths."PATH"]'
PRESETS_BY_NAME = {preset.name: preset for preset in PRESETS}


def section_of(heading: str) -> str:
    return CONFIGURATION.split(f"## `{heading}`\n")[1].split("\n## ")[0]


def keys_told(section: str) -> list[str]:
    return [
        key
        for names in re.findall(r"^- (.+?):", section, re.MULTILINE)
        for key in re.findall(r"`(\w+)`", names)
    ]


def configurations() -> list[tuple[str, str]]:
    """All examples of this program's configuration, with their document's name."""
    blocks = [
        (name, block)
        for name, text in DOCUMENTS.items()
        for block in re.findall(r"^```toml\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    ]
    return [(name, block) for name, block in blocks if set(tomllib.loads(block)) & {*SECTIONS, "upstreams"}]


def test_every_table_has_a_section_and_no_other_has() -> None:
    assert set(re.findall(r"^## `(\[.+\])`$", CONFIGURATION, re.MULTILINE)) == {*TABLES, PATHS}


@pytest.mark.parametrize("heading", TABLES)
def test_every_key_is_documented_and_no_other_is(heading: str) -> None:
    prefix, keys = TABLES[heading]
    section = section_of(heading)
    rows = {key: variable for key, _, _, variable in ROW.findall(section)}
    assert rows == {key: variable_name((prefix, key)) for key in keys}
    assert sorted(keys_told(section)) == sorted(keys)


def test_every_key_of_a_path_is_documented_and_no_other_is() -> None:
    assert sorted(keys_told(section_of(PATHS))) == sorted(PathSettings.model_fields)


@pytest.mark.parametrize("heading", [f"[{section}]" for section in SECTIONS])
def test_the_documented_defaults_are_the_real_ones(heading: str, tmp_path: Path) -> None:
    section, _ = TABLES[heading]
    settings = load(None, {"HOME": str(tmp_path)}, PRESETS_BY_NAME)
    # `[tls]` is off without keys.
    real = settings.model_dump(mode="json")[section] or TlsSettings().model_dump(mode="json")
    documented = {key: default.strip("`") for key, _, default, _ in ROW.findall(section_of(heading))}
    documented.pop("path", None)
    values = {
        key: None if text == "none" else tomllib.loads(f"_ = {text}")["_"] for key, text in documented.items()
    }
    assert values == {key: real[key] for key in documented}


def test_every_known_registry_is_documented() -> None:
    cells = re.findall(r"\| `([a-z0-9-]+)` \| ([a-z0-9]+\.[a-z0-9.]+) (?=\|)", section_of("[upstreams.NAME]"))
    assert dict(cells) == {preset.name: preset.registry for preset in PRESETS}


@pytest.mark.parametrize("name", DOCUMENTS)
def test_every_variable_that_is_named_exists(name: str) -> None:
    sections = {
        variable_name((section, key)) for section, model in SECTIONS.items() for key in model.model_fields
    }
    upstreams = {
        variable_name((upstream, key))
        for upstream in ("NAME", *PRESETS_BY_NAME)
        for key in UPSTREAM_VARIABLES
    }
    named = set(re.findall(r"\bREGISTRY_PROXY_[A-Z0-9_]*[A-Z0-9]", DOCUMENTS[name]))
    assert named <= sections | upstreams


@pytest.mark.parametrize(("name", "example"), configurations())
def test_every_example_can_be_used(name: str, example: str, tmp_path: Path) -> None:
    document = tomlkit.parse(example).unwrap()
    upstreams = document.get("upstreams", {}).values()
    tables = [each for upstream in upstreams for each in (upstream, *upstream.get("paths", {}).values())]
    for table in (*tables, document.get("tls", {})):
        for key in {"password_file", "ca_root", "eab_hmac_key_file"} & table.keys():
            file = tmp_path / Path(table[key]).name
            file.write_text("hunter2\n")
            example = example.replace(table[key], str(file))
    path = tmp_path / "registry-proxy.toml"
    path.write_text(example)
    load(path, {"HOME": str(tmp_path)}, PRESETS_BY_NAME)


def test_there_are_examples_of_every_table() -> None:
    shown = {
        table
        for name, example in configurations()
        if name == "configuration.md"
        for table in tomllib.loads(example)
    }
    assert shown == {*SECTIONS, "upstreams"}
