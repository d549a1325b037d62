"""Edits keep the format, the comments and all other settings of a file."""

from __future__ import annotations

import difflib
import json
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from ruamel.yaml import YAML

from registry_proxy.commands.client import buildkit, docker, kubernetes
from registry_proxy.commands.client.endpoints import ClientError
from registry_proxy.commands.client.json_edit import edit_json
from registry_proxy.commands.client.planner import Login

if TYPE_CHECKING:
    from collections.abc import Callable

    from registry_proxy.commands.client.planner import ClientFile

    Files = Callable[..., dict[str, ClientFile]]

REGISTRIES = "/etc/rancher/k3s/registries.yaml"
DAEMON = "/etc/docker/daemon.json"
HUB = "https://hub.example.com"
LOGIN = Login("me", "p:w")


def lost(before: str, after: str) -> list[str]:
    """The lines of a text that are no longer in it, in their order."""
    changes = difflib.ndiff(before.splitlines(), after.splitlines())
    return [line[2:] for line in changes if line.startswith("- ")]


YAML_FILES = {
    "two": """# mine
mirrors:
  # the hub
  docker.io:
    endpoint:
    # primary
    - "https://a.example"  # first
    - 'https://b.example'  # second
    rewrite:
      "^a/(.*)": "b/$1"  # why
# the end
""",
    "four": """---
mirrors:
    docker.io:
        endpoint:
            - https://a.example    # first
            # between
            - https://b.example
configs:
    quay.io:
        auth: {username: a, password: b}    # flow
""",
    "three and no final line": "mirrors:\n   docker.io:\n      endpoint:\n      - https://a.example # first",
    "block scalar": """configs:
  quay.io:
    auth:
      password: |
        a

        b
      username: a # x
mirrors:
  docker.io:
    endpoint:
      - https://a.example
""",
}


@pytest.mark.parametrize("before", YAML_FILES.values(), ids=YAML_FILES)
def test_a_yaml_file_keeps_its_lines(before: str, files: Files) -> None:
    after = files(kubernetes.k3s_plan, login=LOGIN, present={REGISTRIES: before})[REGISTRIES].text
    assert lost(before, after) == []
    [document] = YAML(typ="safe").load_all(after)
    assert document["mirrors"]["docker.io"]["endpoint"][:2] == [HUB, "https://a.example"]


def test_a_yaml_file_keeps_its_line_ends(files: Files) -> None:
    before = YAML_FILES["two"].replace("\n", "\r\n")
    after = files(kubernetes.k3s_plan, present={REGISTRIES: before})[REGISTRIES].text
    assert after.count("\r\n") == after.count("\n")


def test_registries_that_share_settings_by_an_anchor_get_a_mirror_each(files: Files) -> None:
    before = """mirrors:
  docker.io: &all
    endpoint: [https://a.example]
  ghcr.io: *all
  other.example: *all
  third.example:
    <<: *all
"""
    after = files(kubernetes.k3s_plan, present={REGISTRIES: before})[REGISTRIES].text
    [document] = YAML(typ="safe").load_all(after)
    assert {name: mirror["endpoint"] for name, mirror in document["mirrors"].items()} == {
        "docker.io": [HUB, "https://a.example"],
        "ghcr.io": ["https://registry.example.com", "https://a.example"],
        "other.example": ["https://a.example"],
        "third.example": ["https://a.example"],
    }


def test_a_toml_list_keeps_its_comments(files: Files) -> None:
    path = "/etc/buildkit/buildkitd.toml"
    before = """# mine
[registry."docker.io"]
  mirrors = [
    # primary
    "a.example",  # first
    "b.example",
  ]
  http = true # x
"""
    after = files(buildkit.plan, present={path: before})[path].text
    assert lost(before, after) == []
    assert '    "hub.example.com",\n    "a.example",  # first\n' in after


def test_the_settings_of_the_cache_itself_keep_what_was_added_to_them(files: Files) -> None:
    path = "/etc/buildkit/buildkitd.toml"
    before = '[registry."hub.example.com"]\n  # mine\n  insecure = true # why\n'
    after = files(buildkit.plan, ca="-----BEGIN", present={path: before})[path].text
    assert lost(before, after) == []
    assert "ca = " in after
    path = "/etc/docker/certs.d/docker.io/hosts.toml"
    before = (
        f'[host."{HUB}"]\n  capabilities = ["pull", "resolve", "push"] # why\n  dial_timeout = "3s" # mine\n'
    )
    after = files(docker.plan, present={path: before})[path].text
    assert lost(before, after) == []


JSON_FILES = [
    '{\n\t"debug": true,\n\t"dns": ["1.1.1.1",\n\t\t"8.8.8.8"],\n\t"registry-mirrors": [\n\t\t"https://a"\n\t]\n}\n',
    '{\n    "debug": true,\n    "log-opts": { "max-size": "1m" }\n}',
    '{"debug":true,"registry-mirrors":["https://a"]}',
    '\n{ "registry-mirrors": ["https://a", "https://b"], "x": {} }\n\n',
]


@pytest.mark.parametrize("before", JSON_FILES)
def test_a_json_file_keeps_its_format(before: str, files: Files) -> None:
    after = files(docker.plan, present={DAEMON: before})[DAEMON].text
    mirrors = json.loads(before).get("registry-mirrors", [])
    assert json.loads(after) == json.loads(before) | {"registry-mirrors": [HUB, *mirrors]}
    removed = [text for text in difflib.ndiff(before, after) if text.startswith("- ") and text[2:].strip()]
    assert removed == []
    assert ("\n" in before.strip()) is ("\n" in after.strip())


@pytest.mark.parametrize("before", ["", "{}", " {} \n", "{\n}\n"])
def test_an_empty_json_file_is_written_with_lines(before: str) -> None:
    assert edit_json(before, {"a": 1}) == '{\n  "a": 1\n}\n'


_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=8,
)
_OBJECTS = st.dictionaries(st.text(max_size=4), _VALUES, max_size=4)


@given(before=_OBJECTS, added=_OBJECTS, indent=st.sampled_from([None, 1, 4, "\t"]), escaped=st.booleans())
def test_an_edit_gives_the_wanted_document_and_no_edit_the_same_text(
    before: dict[str, Any], added: dict[str, Any], indent: int | str | None, escaped: bool
) -> None:
    text = json.dumps(before, indent=indent, ensure_ascii=escaped)
    wanted = {**before, **added}
    assert json.loads(edit_json(text, wanted)) == wanted
    if before:
        assert edit_json(text, before) == text


@pytest.mark.parametrize(
    ("planner", "path", "text"),
    [
        (kubernetes.k3s_plan, REGISTRIES, "configs: {q: {auth: {password: hunter2, password: hunter2}}}\n"),
        (kubernetes.k3s_plan, REGISTRIES, "configs:\n  password: 'hunter2\n"),
        (docker.plan, DAEMON, '{"http-proxy": "http://a:hunter2@b" "x"}'),
        (buildkit.plan, "/etc/buildkit/buildkitd.toml", "hunter2 = 1\nhunter2 = 2\n"),
    ],
)
def test_an_error_does_not_quote_the_file(planner: Any, path: str, text: str, files: Files) -> None:
    with pytest.raises(ClientError) as caught:
        files(planner, present={path: text})
    assert "hunter2" not in str(caught.value)
    assert path in str(caught.value)
