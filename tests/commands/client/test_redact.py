"""No secret of a file is shown, however it is written, and what has changed is."""

from __future__ import annotations

import pytest

from registry_proxy.commands.changes.show import diff_text
from registry_proxy.commands.client.redact import redacted

SECRET = "hunter2"
REGISTRIES = "/etc/rancher/k3s/registries.yaml"
YAML_STYLES = {
    "block": f"configs:\n  q:\n    auth:\n      username: a\n      password: {SECRET}\n",
    "flow": f"configs: {{q: {{auth: {{username: a, password: {SECRET}}}}}}}\n",
    "flow over lines": f"configs: {{q: {{auth: {{username: a,\n  password:\n    {SECRET}}}}}}}\n",
    "JSON": f'{{"configs": {{"q": {{"auth": {{"password": "{SECRET}"}}}}}}}}\n',
    "quoted key": f"configs:\n  q:\n    \"auth\":\n      'password': '{SECRET}'\n",
    "escaped key": f'configs:\n  q:\n    auth:\n      "p\\x61ssword": "{SECRET}"\n',
    "explicit key": f"configs:\n  q:\n    auth:\n      ? password\n      : {SECRET}\n",
    "literal": f"configs:\n  q:\n    auth:\n      password: |-\n        {SECRET}\n",
    "folded": f"configs:\n  q:\n    auth:\n      password: >\n        first\n        {SECRET}\n",
    "anchor": f"x: &p {SECRET}\nconfigs:\n  q:\n    auth: {{password: *p}}\n",
    "merge": f"x: &p {{password: {SECRET}}}\nconfigs:\n  q:\n    auth:\n      <<: *p\n",
    "comment": f"# password: {SECRET}\nmirrors:  # {SECRET}\n  q: {{}}\n",
    "tag": f"configs:\n  q:\n    auth:\n      password: !!str {SECRET}\n",
    "unknown tag": f"configs:\n  q:\n    auth:\n      password: !vault {SECRET}\n",
    "broken": f"configs: [\n  password: {SECRET}\n",
    "in a URL": f"mirrors:\n  q:\n    endpoint: ['https://me:{SECRET}@a.example']\n",
    "in a key": f"mirrors:\n  q: {{}}\nx:\n  https://me:{SECRET}@a.example: {{}}\n",
    "in a query": f"mirrors:\n  q:\n    endpoint: ['https://a.example/v2?token={SECRET}']\n",
    "of another name": f"configs:\n  q:\n    passwd: {SECRET}\n",
    "a list": f"configs:\n  q:\n    auth: [a, {SECRET}]\n",
}


@pytest.mark.parametrize("text", YAML_STYLES.values(), ids=YAML_STYLES)
def test_no_secret_of_a_yaml_file_is_shown(text: str) -> None:
    assert SECRET in text
    assert SECRET not in redacted(REGISTRIES, text)


def test_a_number_as_password_is_one_as_well() -> None:
    assert "12345" not in redacted(REGISTRIES, "configs: {q: {auth: {password: 12345}}}")


FILES = {
    "/etc/docker/daemon.json": f'{{"http-proxy": "http://me:{SECRET}@proxy", "debug": true}}',
    "/root/.docker/config.json": f'{{"auths": {{"q": {{"auth": "{SECRET}"}}}}, "HttpHeaders": {{"X": "{SECRET}"}}}}',
    "/root/.config/containers/auth.json": f'{{"auths": {{"q": {{"identitytoken": "{SECRET}"}}}}}}',
    "/my/auth": f'{{"auths": {{"q": {{"auth": "{SECRET}"}}}}}}',
    "/my/other": f"password={SECRET}",
    "/etc/containerd/certs.d/q/hosts.toml": f'[host."https://a".header]\nAuthorization = ["Basic {SECRET}"]\n',
    "/etc/containerd/config.toml": f"[plugins.cri.registry.configs.q.auth]\npassword = '{SECRET}'# {SECRET}\n",
    "/etc/containers/registries.conf.d/x.conf": f"# {SECRET}\n",
    "/etc/docker/certs.d/q/client.key": f"-----BEGIN PRIVATE KEY-----\n{SECRET}\n",
    "/etc/docker/certs.d/q/client.cert": f"-----BEGIN PRIVATE KEY-----\n{SECRET}\n",
    "/etc/rancher/k3s/x.yaml": f"tls:\n  key_file: |\n    -----BEGIN\n    {SECRET}\n",
}


@pytest.mark.parametrize("path", FILES)
def test_no_secret_of_another_file_is_shown(path: str) -> None:
    assert SECRET in FILES[path]
    assert SECRET not in redacted(path, FILES[path])


@pytest.mark.parametrize(
    ("path", "before", "after", "line"),
    [
        (REGISTRIES, "mirrors: {}\n", "mirrors: {q: {endpoint: [https://c:5000]}}\n", "    - https://c:5000"),
        (
            "/etc/docker/daemon.json",
            '{"registry-mirrors": ["https://a"]}',
            '{"registry-mirrors": ["https://c:5000", "https://a"]}',
            '    "https://c:5000",',
        ),
        (
            "/etc/containerd/certs.d/q/hosts.toml",
            "",
            '[host."https://c"]\nca = "/etc/c/ca.crt"\n',
            'ca = "/etc/c/ca.crt"',
        ),
        ("/etc/containerd/config.toml", "version = 3\n", "version = 4\n", "version = 4"),
        ("/etc/docker/certs.d/q/ca.crt", "", "-----BEGIN CERTIFICATE-----\n", "-----BEGIN CERTIFICATE-----"),
    ],
)
def test_what_changes_is_shown(path: str, before: str, after: str, line: str) -> None:
    diff = diff_text(path, before.encode(), after.encode(), lambda text: redacted(path, text))
    assert f"+{line}" in diff.splitlines()
