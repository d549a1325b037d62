"""Each client's files, for each way of being let in, and with what was there before."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest
import tomlkit
from ruamel.yaml import YAML

from registry_proxy.commands.client import buildkit, containerd, docker, kubernetes, podman
from registry_proxy.commands.client.containerd_config import CONFIG, read_config
from registry_proxy.commands.client.endpoints import ClientError
from registry_proxy.commands.client.kinds import KINDS
from registry_proxy.commands.client.planner import ClientCertificate, ExistingFiles, Login

if TYPE_CHECKING:
    from registry_proxy.commands.client.planner import ClientFile

Files = Callable[..., dict[str, "ClientFile"]]
CA = "-----BEGIN CERTIFICATE-----\nca\n-----END CERTIFICATE-----\n"
IDENTITY = ClientCertificate("certificate\n", "private-key\n")
LOGIN = Login("me", "p:w")
BASIC = "bWU6cDp3"
HUB, SHARED = "hub.example.com", "registry.example.com"
ALONE = "".join(f"[upstreams.{name}]\nenabled = false\n" for name in ("ghcr", "quay", "gcr", "k8s"))
PLAIN = "[server]\nlisten = ['10.0.0.7:5000']\n"


def toml(file: ClientFile) -> dict[str, Any]:
    return tomllib.loads(file.text)


def yaml(file: ClientFile) -> list[Any]:
    return list(YAML(typ="safe").load_all(file.text))


@pytest.mark.parametrize("kind", sorted(KINDS.keys() - {"kind", "talos"}))
def test_a_second_run_has_nothing_to_change(kind: str, files: Files) -> None:
    options: dict[str, Any] = {"ca": CA, "login": LOGIN, "identity": IDENTITY}
    once = files(KINDS[kind].planner, **options)
    present = {path: file.text for path, file in once.items()}
    again = files(KINDS[kind].planner, present=present, **options)
    assert {path: file.text for path, file in again.items()} == {
        path: text for path, text in present.items() if path in again
    }


@pytest.mark.parametrize("kind", KINDS)
def test_secrets_are_in_private_files_alone(kind: str, files: Files) -> None:
    made = files(KINDS[kind].planner, login=LOGIN, identity=IDENTITY)
    secrets = (BASIC, LOGIN.password, "private-key")
    assert {file.mode for file in made.values() if any(text in file.text for text in secrets)} == {0o600}
    assert all(file.mode == 0o644 for file in made.values() if not any(text in file.text for text in secrets))


# Registries with a port

PORTED = (
    PLAIN
    + """
[upstreams.dockerhub]
enabled = false
[upstreams.corp]
registry = "registry.corp.example:5000"
"""
)
CORP, CACHE = "registry.corp.example:5000", "10.0.0.7:5000"


def test_a_registry_with_a_port_has_its_name_in_every_kind_of_file(files: Files) -> None:
    made = {kind: files(KINDS[kind].planner, PORTED + ALONE) for kind in KINDS}
    for kind, directory in (("docker", "/etc/docker"), ("containerd", "/etc/containerd")):
        hosts = toml(made[kind][f"{directory}/certs.d/{CORP}/hosts.toml"])
        assert (hosts["server"], list(hosts["host"])) == (f"https://{CORP}", [f"http://{CACHE}"])
    path = f"/etc/registry-proxy/kind/certs.d/{CORP}/hosts.toml"
    assert list(toml(made["kind"][path])["host"]) == [f"http://{CACHE}"]
    mirror = {"location": f"{CACHE}/registry.corp.example_5000", "insecure": True}
    for kind in ("podman", "skopeo", "buildah", "cri-o"):
        [entry] = toml(made[kind][REGISTRIES])["registry"]
        assert entry == {"prefix": CORP, "location": CORP, "mirror": [mirror]}
    registries = toml(made["buildkit"]["/etc/buildkit/buildkitd.toml"])["registry"]
    assert registries == {CORP: {"mirrors": [mirror["location"]]}, CACHE: {"http": True}}
    for kind in ("k3s", "rke2"):
        [document] = yaml(made[kind][f"/etc/rancher/{kind}/registries.yaml"])
        assert document == {"mirrors": {CORP: {"endpoint": [f"http://{CACHE}"]}}}
    [document] = yaml(made["talos"][kubernetes.TALOS])
    assert (document["name"], document["endpoints"]) == (CORP, [{"url": f"http://{CACHE}"}])


def test_a_registrys_own_certificates_stay_in_use_beside_its_hosts(files: Files) -> None:
    folder = f"/etc/docker/certs.d/{CORP}"
    present = {f"{folder}/{name}": name for name in ("ca.crt", "client.cert", "client.key")}
    hosts = toml(files(docker.plan, PORTED + ALONE, present=present)[f"{folder}/hosts.toml"])
    assert hosts["ca"] == f"{folder}/ca.crt"
    assert hosts["client"] == [[f"{folder}/client.cert", f"{folder}/client.key"]]
    before = {**present, f"{folder}/hosts.toml": "skip_verify = true\n"}
    hosts = toml(files(docker.plan, PORTED + ALONE, present=before)[f"{folder}/hosts.toml"])
    assert set(hosts) == {"skip_verify", "server", "host"}


def test_kind_has_nothing_of_this_machines_own_files(files: Files) -> None:
    present = {"/etc/containerd/certs.d/docker.io/hosts.toml": '[host."http://here.invalid"]\n'}
    made = files(kubernetes.kind_plan, present=present)
    assert not any("here.invalid" in file.text for file in made.values())


# Docker


def test_docker_mirrors_the_hub_and_has_hosts_for_all(files: Files) -> None:
    made = files(docker.plan)
    assert json.loads(made["/etc/docker/daemon.json"].text) == {"registry-mirrors": [f"https://{HUB}"]}
    assert made["/etc/docker/daemon.json"].restart == "systemctl reload docker"
    assert toml(made["/etc/docker/certs.d/docker.io/hosts.toml"]) == {
        "server": "https://registry-1.docker.io",
        "host": {f"https://{HUB}": {"capabilities": ["pull", "resolve"]}},
    }
    assert list(toml(made["/etc/docker/certs.d/ghcr.io/hosts.toml"])["host"]) == [f"https://{SHARED}"]
    assert len(made) == 3


def test_docker_keeps_other_keys_and_mirrors(files: Files) -> None:
    before = '{"debug": true, "registry-mirrors": ["https://other.example/"], "log-opts": {"a": "é"}}'
    text = files(docker.plan, present={"/etc/docker/daemon.json": before})["/etc/docker/daemon.json"].text
    assert json.loads(text) == {
        "debug": True,
        "registry-mirrors": [f"https://{HUB}", "https://other.example/"],
        "log-opts": {"a": "é"},
    }
    assert list(json.loads(text)) == ["debug", "registry-mirrors", "log-opts"]


def test_docker_gets_certificates_where_it_looks(files: Files) -> None:
    made = files(docker.plan, ca=CA, identity=IDENTITY)
    folder = f"/etc/docker/certs.d/{HUB}"
    assert made[f"{folder}/ca.crt"].text == CA
    assert (made[f"{folder}/client.cert"].text, made[f"{folder}/client.key"].mode) == ("certificate\n", 0o600)
    host = toml(made["/etc/docker/certs.d/docker.io/hosts.toml"])["host"][f"https://{HUB}"]
    assert host["ca"] == f"{folder}/ca.crt"
    assert host["client"] == [[f"{folder}/client.cert", f"{folder}/client.key"]]


def test_docker_logs_in_where_it_can(files: Files) -> None:
    made = files(docker.plan, login=LOGIN)
    assert "/etc/docker/daemon.json" not in made
    host = toml(made["/etc/docker/certs.d/docker.io/hosts.toml"])["host"][f"https://{HUB}"]
    assert host["header"] == {"Authorization": f"Basic {BASIC}"}
    logins = json.loads(made["/home/me/.docker/config.json"].text)
    assert logins == {"auths": {HUB: {"auth": BASIC}, SHARED: {"auth": BASIC}}}
    assert "/etc/docker/daemon.json" in files(docker.plan, login=LOGIN, identity=IDENTITY)


def of_docker(version: str, driver: str = "") -> dict[str, str]:
    info = {"ServerVersion": version, "DriverStatus": [["driver-type", driver]] if driver else None}
    return {docker.INFO: json.dumps(info), docker.VERSION: f"Docker version {version}, build 5d6db84"}


@pytest.mark.parametrize(
    ("said", "mirrors", "hosts"),
    [
        ({}, True, True),
        (of_docker("20.10.24+dfsg1"), True, False),
        (of_docker("27.5.1", "io.containerd.snapshotter.v1"), True, False),
        (of_docker("28.2.2"), True, True),
        (of_docker("29.1.0", "io.containerd.snapshotter.v1"), False, True),
        ({docker.VERSION: "Docker version 20.10.24+dfsg1, build 5d6db84"}, True, False),
        ({docker.VERSION: "Docker version 29.1.0, build abc"}, True, True),
    ],
)
def test_docker_gets_the_files_that_its_version_reads(
    said: dict[str, str], mirrors: bool, hosts: bool, files: Files
) -> None:
    made = files(docker.plan, said=said, ca=CA)
    assert ("/etc/docker/daemon.json" in made) is mirrors
    assert ("/etc/docker/certs.d/ghcr.io/hosts.toml" in made) is hosts
    assert f"/etc/docker/certs.d/{HUB}/ca.crt" in made


def test_docker_without_the_hub_has_no_mirror(files: Files) -> None:
    hub_off = "[upstreams.dockerhub]\nenabled = false\n"
    assert "/etc/docker/daemon.json" not in files(docker.plan, hub_off)


def test_rootless_docker_has_its_users_files(files: Files) -> None:
    made = files(docker.plan, user=True)
    assert {path.removeprefix("/home/me/.config/docker/").partition("/")[0] for path in made} == {
        "daemon.json",
        "certs.d",
    }
    assert made["/home/me/.config/docker/daemon.json"].restart == "systemctl --user reload docker"


def test_hosts_keep_others_after_the_cache(files: Files) -> None:
    path = "/etc/docker/certs.d/docker.io/hosts.toml"
    before = """# mine
server = "https://elsewhere.example"
[host."https://other.example"]
  capabilities = ["pull"]  # only
"""
    text = files(docker.plan, present={path: before})[path].text
    document = tomllib.loads(text)
    assert document["server"] == "https://elsewhere.example"
    assert list(document["host"]) == [f"https://{HUB}", "https://other.example"]
    assert document["host"]["https://other.example"] == {"capabilities": ["pull"]}
    assert text.startswith("# mine\n")
    assert "# only" in text


# containerd


@pytest.mark.parametrize(
    ("before", "plugin"),
    [
        ("", "io.containerd.grpc.v1.cri"),
        ("version = 2\n# mine\n", "io.containerd.grpc.v1.cri"),
        ("version = 3\n# mine\n", "io.containerd.cri.v1.images"),
        ("version = 4\n# mine\n", "io.containerd.cri.v1.images"),
        ("oom_score = 1\n# mine\n", "cri"),
        ("version = 2\n# mine\n[plugins.'io.containerd.grpc.v1.cri']\nx = 1\n", "io.containerd.grpc.v1.cri"),
        ("version = 2\n[plugins.'io.containerd.grpc.v1.cri'.registry]\nconfig_path = '' # mine\n",
         "io.containerd.grpc.v1.cri"),
    ],
)  # fmt: skip
def test_containerd_learns_where_its_hosts_are(before: str, plugin: str, files: Files) -> None:
    made = files(containerd.plan, present={CONFIG: before} if before else None)
    config = made[CONFIG]
    assert toml(config)["plugins"][plugin]["registry"]["config_path"] == "/etc/containerd/certs.d"
    assert toml(config)["version" if "oom" not in before else "oom_score"] in (1, 2, 3, 4)
    assert "# mine" in config.text or not before
    assert config.restart == "systemctl restart containerd"
    assert "/etc/containerd/certs.d/ghcr.io/hosts.toml" in made


def test_containerds_own_folder_is_used(files: Files) -> None:
    registry = (
        "[plugins.'io.containerd.cri.v1.images'.registry]\nconfig_path = '/my/certs.d:/etc/docker/certs.d'\n"
    )
    present = {CONFIG: f"version = 3\n{registry}"}
    made = files(containerd.plan, present=present, ca=CA, said=of_containerd("2.0.0"))
    assert set(made) == {
        "/my/certs.d/docker.io/hosts.toml",
        "/my/certs.d/ghcr.io/hosts.toml",
        f"/my/certs.d/{HUB}/ca.crt",
        f"/my/certs.d/{SHARED}/ca.crt",
    }
    host = toml(made["/my/certs.d/docker.io/hosts.toml"])["host"][f"https://{HUB}"]
    assert host["ca"] == f"/my/certs.d/{HUB}/ca.crt"


IMPORTS, TWO = "/etc/containerd/conf.d", "/etc/containerd/certs.d:/etc/docker/certs.d"
V2, V3 = "io.containerd.grpc.v1.cri", "io.containerd.cri.v1.images"


def of_containerd(version: str, *imported: str) -> dict[str, str]:
    return {
        "containerd --version": f"containerd github.com/containerd/containerd/v2 v{version} abc",
        f"LC_ALL=C ls -d {IMPORTS}/*.toml": "".join(f"{IMPORTS}/{name}\n" for name in imported),
    }


def registry(plugin: str, **settings: object) -> str:
    return f"[plugins.'{plugin}'.registry]\n" + tomlkit.dumps(settings)


def test_containerd_gets_one_folder_where_it_takes_a_list_for_a_name(files: Files) -> None:
    before = f"version = 3\n# mine\n{registry(V3, config_path=TWO)}"
    made = files(containerd.plan, present={CONFIG: before}, said=of_containerd("2.2.1"))
    assert toml(made[CONFIG])["plugins"][V3]["registry"]["config_path"] == "/etc/containerd/certs.d"
    assert "# mine" in made[CONFIG].text
    assert "/etc/containerd/certs.d/ghcr.io/hosts.toml" in made
    for said in (of_containerd("2.0.5"), of_containerd("1.7.27")):
        assert CONFIG not in files(containerd.plan, present={CONFIG: before}, said=said)
    local = before.replace("[plugins", f"[plugins.'{V3}']\nuse_local_image_pull = true\n[plugins")
    assert CONFIG not in files(containerd.plan, present={CONFIG: local}, said=of_containerd("2.2.1"))


def test_containerds_default_list_is_replaced_and_its_imports_stay(files: Files) -> None:
    made = files(containerd.plan, said=of_containerd("2.2.1"))
    assert toml(made[CONFIG]) == {
        "version": 3,
        "imports": [f"{IMPORTS}/*.toml"],
        "plugins": {V3: {"registry": {"config_path": "/etc/containerd/certs.d"}}},
    }
    assert toml(files(containerd.plan, said=of_containerd("1.7.1"))[CONFIG])["version"] == 2


def test_the_folder_of_an_imported_file_is_used(files: Files) -> None:
    main = f"version = 2\nimports = ['{IMPORTS}/*.toml']\n{registry(V2, config_path='/mine')}"
    present = {CONFIG: main, f"{IMPORTS}/b.toml": registry(V2, config_path="/imported")}
    made = files(containerd.plan, present=present, said=of_containerd("1.7.1", "b.toml"))
    assert {path.partition("/docker.io")[0] for path in made} == {"/imported", "/imported/ghcr.io/hosts.toml"}


def test_an_imported_file_that_hides_the_folder_of_another_one_gets_it_too(files: Files) -> None:
    main = f"version = 2\nimports = ['{IMPORTS}/*.toml']\n{registry(V2, config_path='/mine')}"
    imported = f"{IMPORTS}/a.toml"
    present = {CONFIG: main, imported: f"[plugins.'{V2}']\nsandbox_image = 'x' # mine\n"}
    made = files(containerd.plan, present=present, said=of_containerd("1.6.20", "a.toml"))
    for path in (CONFIG, imported):
        assert toml(made[path])["plugins"][V2]["registry"]["config_path"] == "/etc/containerd/certs.d"
    assert "# mine" in made[imported].text
    made = files(containerd.plan, present=present, said=of_containerd("2.0.1", "a.toml"))
    assert {path.partition("/docker.io")[0] for path in made} == {"/mine", "/mine/ghcr.io/hosts.toml"}


def test_an_import_can_be_relative_and_has_imports(files: Files) -> None:
    present = {
        CONFIG: "version = 3\nimports = ['a.toml']\n",
        "/etc/containerd/a.toml": "version = 3\nimports = ['/b.toml', 'a.toml', '/missing.toml']\n",
        "/b.toml": f"version = 3\n{registry(V3, config_path='/b')}",
    }
    made = files(containerd.plan, present=present, said=of_containerd("2.1.0"))
    assert set(made) == {"/b/docker.io/hosts.toml", "/b/ghcr.io/hosts.toml"}


def test_a_pattern_of_imports_is_no_command(files: Files) -> None:
    asked = ExistingFiles({CONFIG: "version = 3\nimports = ['/a/$(id);x/*.toml']\n"})
    read_config(asked, None)
    assert asked.asked == {"LC_ALL=C ls -d '/a/$(id);x/'*.toml"}


def test_containerd_that_reads_no_hosts_is_left_alone(files: Files) -> None:
    with pytest.raises(ClientError, match=r"containerd 1\.4 reads no hosts\.toml"):
        files(containerd.plan, said=of_containerd("1.4.13"))


def test_containerd_without_cri_keeps_its_configuration(files: Files) -> None:
    made = files(containerd.plan, present={CONFIG: 'disabled_plugins = ["cri"]\n'})
    assert CONFIG not in made


@pytest.mark.parametrize(
    ("before", "text"),
    [
        (
            "version = 2\n[plugins.'io.containerd.grpc.v1.cri'.registry.mirrors.'a.io']\nendpoint=[]",
            "mirrors",
        ),
        ("version = 2\n[plugins.'io.containerd.grpc.v1.cri'.registry.configs.'a.io'.tls]\nca=''", "configs"),
        ("version = 5", "version 5 is unknown"),
        ("version = 2\nplugins = 1", "plugins is not a table"),
        ("version = ", "is not TOML"),
    ],
)
def test_containerd_is_left_alone_when_it_would_break(before: str, text: str, files: Files) -> None:
    with pytest.raises(ClientError, match=text):
        files(containerd.plan, present={CONFIG: before})


def test_one_file_can_serve_all_registries(files: Files) -> None:
    made = files(containerd.plan, everything=True, ca=CA)
    hosts = toml(made["/etc/containerd/certs.d/_default/hosts.toml"])
    assert hosts["host"][f"https://{SHARED}"]["ca"] == f"/etc/containerd/certs.d/{SHARED}/ca.crt"
    assert "server" not in hosts
    assert not any("ghcr.io" in path for path in made)


def test_one_file_takes_a_host_that_serves_all(files: Files) -> None:
    with pytest.raises(ClientError, match="no host of the cache serves all"):
        files(
            containerd.plan,
            "[tls]\ncert='c'\nkey='k'\n[upstreams.ghcr]\nhostname='g.example'",
            everything=True,
        )


# podman and CRI-O

REGISTRIES = "/etc/containers/registries.conf.d/50-registry-proxy.conf"


def test_podman_names_the_registry_where_the_host_does_not(files: Files) -> None:
    assert toml(files(podman.plan)[REGISTRIES]) == {
        "registry": [
            {"prefix": "docker.io", "location": "docker.io", "mirror": [{"location": HUB}]},
            {"prefix": "ghcr.io", "location": "ghcr.io", "mirror": [{"location": f"{SHARED}/ghcr.io"}]},
        ]
    }


def test_podman_is_told_of_plain_http(files: Files) -> None:
    mirrors = [entry["mirror"] for entry in toml(files(podman.plan, PLAIN)[REGISTRIES])["registry"]]
    assert mirrors[1] == [{"location": "10.0.0.7:5000/ghcr.io", "insecure": True}]


def test_podmans_other_logins_stay(files: Files) -> None:
    path = "/home/me/.config/containers/auth.json"
    before = '{"auths": {"quay.io": {"auth": "eA=="}}, "credHelpers": {"a": "b"}}'
    after = json.loads(files(podman.plan, login=LOGIN, present={path: before})[path].text)
    assert after["credHelpers"] == {"a": "b"}
    assert after["auths"] == {"quay.io": {"auth": "eA=="}, HUB: {"auth": BASIC}, SHARED: {"auth": BASIC}}


def test_rootless_podman_has_its_users_files(files: Files) -> None:
    assert all(
        path.startswith("/home/me/.config/containers/") for path in files(podman.plan, user=True, ca=CA)
    )


def test_crio_reads_logins_from_a_file_of_its_own_or_the_one_it_has(files: Files) -> None:
    made = files(podman.crio_plan, login=LOGIN)
    own = "/etc/crio/registry-proxy-auth.json"
    image = toml(made["/etc/crio/crio.conf.d/50-registry-proxy.conf"])["crio"]["image"]
    assert image == {"global_auth_file": own}
    assert json.loads(made[own].text)["auths"][HUB] == {"auth": BASIC}
    before = {"/etc/crio/crio.conf": '[crio.image]\nglobal_auth_file = "/my/auth.json"\n'}
    assert set(files(podman.crio_plan, login=LOGIN, present=before)) == {REGISTRIES, "/my/auth.json"}
    assert made[REGISTRIES].restart == "systemctl reload crio"


# BuildKit


def test_buildkit_gets_mirrors_and_how_to_reach_them(files: Files) -> None:
    path = "/etc/buildkit/buildkitd.toml"
    before = 'debug = true # mine\n[registry."docker.io"]\nmirrors = ["other.example"]\n[worker.oci]\nenabled = true\n'
    made = files(buildkit.plan, ca=CA, identity=IDENTITY, present={path: before})
    document = toml(made[path])
    certificates = f"/etc/buildkit/certs.d/{HUB}"
    assert document["registry"]["docker.io"]["mirrors"] == [HUB, "other.example"]
    assert document["registry"]["ghcr.io"]["mirrors"] == [f"{SHARED}/ghcr.io"]
    assert document["registry"][HUB] == {
        "ca": [f"{certificates}/ca.crt"],
        "keypair": [{"key": f"{certificates}/client.key", "cert": f"{certificates}/client.cert"}],
    }
    assert (document["debug"], document["worker"]) == (True, {"oci": {"enabled": True}})
    assert "# mine" in made[path].text


def test_buildkit_is_told_of_plain_http(files: Files) -> None:
    made = files(buildkit.plan, PLAIN)
    assert toml(made["/etc/buildkit/buildkitd.toml"])["registry"]["10.0.0.7:5000"] == {"http": True}


# Kubernetes distributions


@pytest.mark.parametrize(("kind", "restart"), [("k3s", "k3s"), ("rke2", "rke2-server")])
def test_k3s_and_rke2_have_mirrors_and_logins(kind: str, restart: str, files: Files) -> None:
    made = files(KINDS[kind].planner, login=LOGIN, ca=CA, identity=IDENTITY)
    file = made[f"/etc/rancher/{kind}/registries.yaml"]
    certificates = f"/etc/rancher/{kind}/registry-proxy/{HUB}"
    (document,) = yaml(file)
    assert document["mirrors"] == {
        "docker.io": {"endpoint": [f"https://{HUB}"]},
        "ghcr.io": {"endpoint": [f"https://{SHARED}"]},
    }
    assert document["configs"][HUB] == {
        "tls": {
            "ca_file": f"{certificates}/ca.crt",
            "cert_file": f"{certificates}/client.cert",
            "key_file": f"{certificates}/client.key",
        },
        "auth": {"username": "me", "password": "p:w"},
    }
    assert restart in (file.restart or "")


def test_k3s_keeps_comments_and_other_registries(files: Files) -> None:
    path = "/etc/rancher/k3s/registries.yaml"
    before = """# mine
mirrors:
  docker.io:
    endpoint:
      - "https://other.example"  # second
    rewrite:
      "^a/(.*)": "b/$1"
configs:
  quay.io:
    auth: {username: a, password: b}
"""
    text = files(kubernetes.k3s_plan, login=LOGIN, present={path: before})[path].text
    (document,) = YAML(typ="safe").load_all(text)
    assert document["mirrors"]["docker.io"] == {
        "endpoint": [f"https://{HUB}", "https://other.example"],
        "rewrite": {"^a/(.*)": "b/$1"},
    }
    assert document["configs"]["quay.io"] == {"auth": {"username": "a", "password": "b"}}
    assert text.startswith("# mine\n")


def test_k3s_can_ask_for_all_registries(files: Files) -> None:
    (document,) = yaml(files(kubernetes.k3s_plan, everything=True)["/etc/rancher/k3s/registries.yaml"])
    assert document == {"mirrors": {"*": {"endpoint": [f"https://{SHARED}"]}}}


@pytest.mark.parametrize("text", ["mirrors: [", "- a", "mirrors: 1"])
def test_a_broken_file_of_k3s_is_refused(text: str, files: Files) -> None:
    with pytest.raises(ClientError, match=r"registries\.yaml.*Nothing was changed\."):
        files(kubernetes.k3s_plan, present={"/etc/rancher/k3s/registries.yaml": text})


def test_kind_shows_its_nodes_files_that_name_each_other_inside(files: Files) -> None:
    made = files(kubernetes.kind_plan, ca=CA)
    (cluster,) = yaml(made["/etc/registry-proxy/kind/cluster.yaml"])
    (mount,) = cluster["nodes"][0]["extraMounts"]
    assert (mount["hostPath"], mount["containerPath"]) == (
        "/etc/registry-proxy/kind/certs.d",
        "/etc/containerd/certs.d",
    )
    assert made[f"/etc/registry-proxy/kind/certs.d/{HUB}/ca.crt"].text == CA
    host = toml(made["/etc/registry-proxy/kind/certs.d/docker.io/hosts.toml"])["host"][f"https://{HUB}"]
    assert host["ca"] == f"/etc/containerd/certs.d/{HUB}/ca.crt"


def test_kind_refuses_a_server_that_its_nodes_cannot_reach(files: Files) -> None:
    with pytest.raises(ClientError, match="loopback"):
        files(kubernetes.kind_plan, "")


def test_talos_gets_a_document_for_each_registry_and_host(files: Files) -> None:
    (file,) = files(kubernetes.talos_plan, ca=CA, login=LOGIN, identity=IDENTITY).values()
    documents = {(document["kind"], document["name"]): document for document in yaml(file)}
    assert documents["RegistryMirrorConfig", "ghcr.io"]["endpoints"] == [{"url": f"https://{SHARED}"}]
    assert documents["RegistryTLSConfig", HUB] == {
        "apiVersion": "v1alpha1",
        "kind": "RegistryTLSConfig",
        "name": HUB,
        "ca": CA,
        "clientIdentity": {"cert": "certificate\n", "key": "private-key\n"},
    }
    assert documents["RegistryAuthConfig", SHARED]["password"] == "p:w"
    assert len(documents) == 6


@pytest.mark.parametrize("text", ["{", "[]", '{"auths": 1}'])
def test_a_broken_json_file_is_refused(text: str, files: Files) -> None:
    with pytest.raises(ClientError, match=r"config\.json.*Nothing was changed\."):
        files(docker.plan, login=LOGIN, present={"/home/me/.docker/config.json": text})
