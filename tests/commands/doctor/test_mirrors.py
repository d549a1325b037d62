from __future__ import annotations

import tomllib
from typing import Any

import pytest

from registry_proxy.commands.doctor.mirrors import (
    MirrorRoute,
    docker_routes,
    hosts_routes,
    image_settings,
    registries_routes,
    registry_of,
)


def test_daemon_json_names_mirrors_of_docker_hub() -> None:
    settings = {
        "registry-mirrors": ["https://hub.example.com/", "http://10.0.0.1:5000", "nonsense"],
        "insecure-registries": ["hub.example.com"],
    }
    first, second = docker_routes("d.json", settings)
    assert first == MirrorRoute("docker", "d.json", "docker.io", "hub.example.com", ("https",), verify=False)
    assert second == MirrorRoute("docker", "d.json", "docker.io", "10.0.0.1:5000", ("http",))
    assert str(second) == "http://10.0.0.1:5000"
    assert second.path("library/alpine", "3") == "/v2/library/alpine/manifests/3"


HOSTS = """
server = "https://ghcr.io"
[host."https://cache.example.com"]
  capabilities = ["pull", "resolve"]
  ca = "ca.pem"
  client = [["/c.cert", "/c.key"]]
  [host."https://cache.example.com".header]
    Authorization = "Basic x"
[host."https://push.example.com"]
  capabilities = ["push"]
[host."http://proxy.example.com:8080/v2/ghcr"]
  override_path = true
  skip_verify = true
  ca = ["a.pem", "b.pem"]
[host."https://nexus.example.com/images"]
[host."https://ghcr.io"]
"""


def test_hosts_toml_names_hosts_for_pulls() -> None:
    first, second, third, fourth = hosts_routes("containerd", "h.toml", "ghcr.io", tomllib.loads(HOSTS))
    assert first == MirrorRoute(
        "containerd",
        "h.toml",
        "ghcr.io",
        "cache.example.com",
        ("https",),
        namespace="ghcr.io",
        ca_files=("ca.pem",),
        identity=("/c.cert", "/c.key"),
        headers={"Authorization": "Basic x"},
    )
    assert first.path("acme/app", "1") == "/v2/acme/app/manifests/1?ns=ghcr.io"
    assert (second.host, second.verify, second.ca_files) == (
        "proxy.example.com:8080",
        False,
        ("a.pem", "b.pem"),
    )
    assert (second.ping, second.path("acme/app", "1")) == ("/v2/", "/v2/ghcr/acme/app/manifests/1?ns=ghcr.io")
    assert (third.ping, third.path("a", "1")) == ("/images/v2/", "/images/v2/a/manifests/1?ns=ghcr.io")
    assert fourth.namespace == ""
    assert "Basic x" not in repr(first)


def test_the_hosts_of_all_registries_are_tried_with_docker_hub() -> None:
    [route] = hosts_routes("docker", "h.toml", "_default", {"host": {"http://cache": {}}})
    assert route.path("library/alpine", "3") == "/v2/library/alpine/manifests/3?ns=docker.io"


REGISTRIES = """
unqualified-search-registries = ["docker.io"]
[[registry]]
location = "docker.io"
[[registry.mirror]]
location = "cache.example.com/docker.io"
[[registry]]
prefix = "*.example.org"
location = "registry.example.org"
[[registry.mirror]]
location = "cache.example.com:5000"
insecure = true
[[registry]]
location = "quay.io"
"""


def test_registries_conf_names_mirrors_by_registry() -> None:
    first, second = registries_routes("r.conf", tomllib.loads(REGISTRIES))
    assert first == MirrorRoute(
        "podman", "r.conf", "docker.io", "cache.example.com", ("https",), prefix="docker.io/"
    )
    assert first.path("library/alpine", "3") == "/v2/docker.io/library/alpine/manifests/3"
    assert second == MirrorRoute(
        "podman", "r.conf", "*.example.org", "cache.example.com:5000", ("https", "http"), verify=False
    )


@pytest.mark.parametrize(
    ("plugin", "version"),
    [
        ("io.containerd.cri.v1.images", 4),
        ("io.containerd.cri.v1.images", 3),
        ("io.containerd.grpc.v1.cri", 2),
        ("cri", 1),
    ],
)
def test_containerd_s_folder_is_found_whatever_its_version(plugin: str, version: int) -> None:
    document = {"version": version, "plugins": {plugin: {"registry": {"config_path": "/a:/b"}}}}
    assert image_settings(document).path == "/a:/b"


@pytest.mark.parametrize(
    ("directory", "registry"),
    [
        ("ghcr.io", "ghcr.io"),
        ("registry.example:5000", "registry.example:5000"),
        ("registry.example_5000_", "registry.example:5000"),
        ("_default", "_default"),
    ],
)
def test_a_registry_with_a_port_is_known_by_both_names_of_its_folder(directory: str, registry: str) -> None:
    assert registry_of(directory) == registry


@pytest.mark.parametrize(
    "document",
    [{}, {"host": []}, {"host": {"ftp://x": {}}}, {"registry": {"mirror": 1}}, {"plugins": {"cri": 5}}],
)
def test_odd_files_name_nothing(document: dict[str, Any]) -> None:
    assert list(docker_routes("f", document)) == []
    assert list(hosts_routes("docker", "f", "docker.io", document)) == []
    assert list(registries_routes("f", document)) == []
    assert image_settings(document).path == ""
