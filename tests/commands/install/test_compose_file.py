"""What `install compose` writes: Docker Compose accepts it, and understands it as it is meant. Nothing is started."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML
from tests.kit.processes import environment

PROGRAM = Path(sys.executable).with_name("registry-proxy")
HOSTNAMES = "".join(
    f"[upstreams.{name}]\nhostname = '{name}.example.com'\n" for name in ("dockerhub", "ghcr")
)
FEWER = "".join(f"[upstreams.{name}]\nenabled = false\n" for name in ("quay", "gcr", "k8s"))
HASH = "$2y$05$abcdefghijklmnopqrstuuuJe1.lT8dXxxxxxxxxxxxxxxxxxxxxx"


class Folder:
    """A folder with a configuration."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def write(self, name: str, text: str, *, mode: int = 0o644) -> Path:
        file = self.path / name
        file.write_text(text)
        file.chmod(mode)
        return file

    def install(self, *arguments: str, code: int = 0, **environ: str) -> subprocess.CompletedProcess[str]:
        kept = {"HOME": str(self.path), "PATH": "/usr/bin:/bin"} | environ
        done = subprocess.run(
            [PROGRAM, "install", "compose", *arguments],
            cwd=self.path,
            env=environment(kept),
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == code, done
        return done

    def written(self, *arguments: str) -> dict[str, Any]:
        """The stack as Docker Compose reads it, all profiles on."""
        self.install("--no-start", "--yes", *arguments)
        command = ["docker-compose", "--profile", "dockerhub", "--profile", "ghcr", "config"]
        done = subprocess.run(command, cwd=self.path, capture_output=True, text=True, check=True)
        assert done.stderr == ""
        stack: dict[str, Any] = YAML(typ="safe").load(done.stdout)
        return stack


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    path = tmp_path / "stack"
    path.mkdir()
    return Folder(path)


VARIANTS = {
    "one": [],
    "one a registry": ["--per-registry"],
    "Traefik": ["--traefik"],
    "Traefik, one a registry": ["--traefik", "--per-registry"],
    "registry:2": ["--engine", "registry2"],
    "registry:2 and Traefik": ["--engine", "registry2", "--traefik"],
    "the host's network": ["--host-network"],
    "an image that is there": ["--image", "registry.example.com/registry-proxy:1"],
    "another base": ["--base", "debian:13"],
}


@pytest.mark.parametrize("arguments", VARIANTS.values(), ids=VARIANTS)
def test_every_container_is_confined_watched_and_started_again(folder: Folder, arguments: list[str]) -> None:
    folder.write("registry-proxy.toml", HOSTNAMES + FEWER)
    services = folder.written(*arguments)["services"]
    single = "--per-registry" not in arguments and "registry2" not in arguments
    assert list(services) == (["registry-proxy"] if single else ["dockerhub", "ghcr"])
    for service in services.values():
        assert (service["cap_drop"], service["security_opt"]) == (["ALL"], ["no-new-privileges:true"])
        assert (service["read_only"], service["tmpfs"], service["restart"]) == (
            True,
            ["/tmp"],
            "unless-stopped",
        )
        assert "cap_add" not in service
        assert service["healthcheck"]["test"][0] == "CMD"
        assert service["stop_grace_period"] == "45s"


def test_ports_are_published_where_the_configuration_listens(folder: Folder) -> None:
    folder.write(
        "registry-proxy.toml", "[server]\nlisten = ['127.0.0.1:5000', '0.0.0.0:5001', '[::1]:5000']\n"
    )
    service = folder.written()["services"]["registry-proxy"]
    assert service["ports"] == [
        "127.0.0.1:5000:5000/tcp",
        {"published": 5001, "target": 5001},
        "::1:5000:5000/tcp",
    ]
    assert service["environment"]["REGISTRY_PROXY_SERVER_LISTEN"] == "[::]:5000,[::]:5001"


def test_tls_keeps_its_ports_without_any_capability(folder: Folder) -> None:
    for name in ("cert.pem", "key.pem"):
        folder.write(name, "")
    folder.write("registry-proxy.toml", "[server]\nlisten = []\n[tls]\ncert = 'cert.pem'\nkey = 'key.pem'\n")
    service = folder.written()["services"]["registry-proxy"]
    assert [port["published"] for port in service["ports"]] == [443, 80]
    assert service["sysctls"] == {"net.ipv4.ip_unprivileged_port_start": "0"}
    assert "REGISTRY_PROXY_SERVER_LISTEN" not in service["environment"]
    assert f"{folder.path}/key.pem:/etc/registry-proxy/key.pem:ro" in service["volumes"]


def test_each_registry_has_ports_and_a_profile_of_its_own_and_the_others_are_off_in_it(
    folder: Folder,
) -> None:
    folder.write("registry-proxy.toml", FEWER)
    services = folder.written("--per-registry")["services"]
    assert {name: service["profiles"] for name, service in services.items()} == {
        "dockerhub": ["dockerhub"],
        "ghcr": ["ghcr"],
    }
    assert services["ghcr"]["ports"] == ["127.0.0.1:5001:5001/tcp"]
    assert services["ghcr"]["environment"]["REGISTRY_PROXY_DOCKERHUB_ENABLED"] == "false"
    assert "REGISTRY_PROXY_GHCR_ENABLED" not in services["ghcr"]["environment"]
    shared = {volume for service in services.values() for volume in service["volumes"] if "store" in volume}
    assert shared == {"store:/var/lib/registry-proxy:rw"}
    assert "COMPOSE_PROFILES=dockerhub,ghcr\n" in (folder.path / ".env").read_text()


def test_traefik_finds_each_host_name_with_who_may_come_by_it(folder: Folder) -> None:
    folder.write("htpasswd", f"me:{HASH}\n")
    access = "[access]\nhtpasswd = 'htpasswd'\nsources = ['10.0.0.0/8']\n"
    special = "access_sources = ['192.0.2.0/24', '2001:db8::/32']\n"
    folder.write("registry-proxy.toml", access + FEWER + HOSTNAMES + special)
    stack = folder.written("--traefik", "--traefik-network", "web", "--cert-resolver", "acme")
    service = stack["services"]["registry-proxy"]
    labels = {name.removeprefix("traefik.http."): value for name, value in service["labels"].items()}
    assert labels["traefik.enable"] == "true"
    assert labels["services.registry-proxy-registry-proxy.loadbalancer.server.port"] == "5000"
    router = "routers.registry-proxy-ghcr"
    assert labels[f"{router}.rule"] == "Host(`ghcr.example.com`)"
    assert labels[f"{router}.tls.certresolver"] == "acme"
    assert labels[f"{router}.middlewares"] == "registry-proxy-ghcr-sources,registry-proxy-ghcr-users"
    middleware = "middlewares.registry-proxy"
    assert labels[f"{middleware}-dockerhub-sources.ipallowlist.sourcerange"] == "10.0.0.0/8"
    assert labels[f"{middleware}-ghcr-sources.ipallowlist.sourcerange"] == "192.0.2.0/24,2001:db8::/32"
    assert labels[f"{middleware}-ghcr-users.basicauth.users"].replace("$$", "$") == f"me:{HASH}"
    assert "ports" not in service
    assert stack["networks"]["traefik"] == {"external": True, "name": "web"}
    assert "REGISTRY_PROXY_ACCESS_TRUSTED_PROXIES" not in service["environment"]
    assert stat.S_IMODE((folder.path / "docker-compose.yaml").stat().st_mode) == 0o600


def test_hashes_of_passwords_are_not_shown(folder: Folder) -> None:
    folder.write("htpasswd", f"me:{HASH}\n")
    folder.write("registry-proxy.toml", "[access]\nhtpasswd = 'htpasswd'\n" + FEWER + HOSTNAMES)
    assert HASH.replace("$", "$$") not in folder.install("--traefik", "--no-start", "--yes").stdout
    assert HASH.replace("$", "$$") in (folder.path / "docker-compose.yaml").read_text()


@pytest.fixture
def docker(tmp_path: Path) -> str:
    """A PATH with a docker that knows one network, as `docker network inspect` does."""
    program = tmp_path / "bin/docker"
    program.parent.mkdir()
    program.write_text(
        '#!/bin/sh\n[ "$1 $2 $5" = "network inspect web" ] && echo "172.30.1.0/24 fd00:1::/64 "\n'
    )
    program.chmod(0o755)
    return f"{program.parent}:/usr/bin:/bin"


def test_traefiks_own_network_is_trusted_and_no_other(folder: Folder, docker: str) -> None:
    folder.write("registry-proxy.toml", FEWER + HOSTNAMES)
    proxies = "REGISTRY_PROXY_ACCESS_TRUSTED_PROXIES"

    def installed(network: str) -> tuple[str, str]:
        done = folder.install("--traefik", "--traefik-network", network, "--no-start", "--yes", PATH=docker)
        return (folder.path / "docker-compose.yaml").read_text(), done.stdout + done.stderr

    written, told = installed("web")
    assert f'{proxies}: "172.30.1.0/24,fd00:1::/64"' in written
    assert "Docker does not know" not in told
    written, told = installed("other")
    assert proxies not in written
    assert "Docker does not know the network other" in " ".join(told.split())
    folder.write("registry-proxy.toml", "[access]\ntrusted_proxies = ['192.0.2.1']\n" + FEWER + HOSTNAMES)
    for network in ("web", "other"):
        written, told = installed(network)
        assert proxies not in written
        assert "Docker does not know" not in told


def test_a_link_of_another_user_in_a_folder_of_that_user_gives_nothing_away(
    folder: Folder, tmp_path: Path
) -> None:
    """The stack's variables are written again, for the folder's owner to read."""
    secret = tmp_path / "secret"
    secret.write_text("ROOT=hunter2\n")
    secret.chmod(0o600)
    folder.write("registry-proxy.toml", "")
    (folder.path / ".env").symlink_to(secret)
    for path in (folder.path, folder.path / "registry-proxy.toml", folder.path / ".env"):
        os.chown(path, 1234, 1234, follow_symlinks=False)
    done = folder.install("--config", "registry-proxy.toml", "--no-start", "--yes", code=1)
    assert f"a link of user 1234 leads to {folder.path}/.env" in done.stderr
    assert "hunter2" not in done.stdout + done.stderr
    assert (folder.path / ".env").is_symlink()
    assert secret.read_text() == "ROOT=hunter2\n"


def test_a_container_knows_the_host_names_that_lead_to_it(folder: Folder) -> None:
    folder.write("registry-proxy.toml", "[upstreams.ghcr]\nhostname = 'ghcr.example.com'\n")
    stack = folder.written("--traefik", "--hostname", "registry.example.com")
    names = stack["services"]["registry-proxy"]["environment"]["REGISTRY_PROXY_SERVER_HOSTNAMES"].split(",")
    assert names[:2] == ["registry.example.com", "registry-proxy"]
    services = folder.written("--per-registry")["services"]
    assert services["ghcr"]["environment"]["REGISTRY_PROXY_SERVER_HOSTNAMES"].split(",")[0] == "ghcr"


def test_traefik_can_serve_all_registries_under_one_host_name(folder: Folder) -> None:
    labels = folder.written("--traefik", "--hostname", "registry.example.com")["services"]["registry-proxy"][
        "labels"
    ]
    assert labels["traefik.http.routers.registry-proxy-registry-proxy.rule"] == "Host(`registry.example.com`)"


def test_registry_2_gets_address_and_credentials_of_its_upstream_and_nothing_else(folder: Folder) -> None:
    folder.write("ghcr", "hunter2\n")
    own = "[upstreams.ghcr]\nusername = 'me'\npassword_file = 'ghcr'\nurl = 'https://mirror.example.com'\n"
    folder.write("registry-proxy.toml", FEWER + own)
    services = folder.written("--engine", "registry2")["services"]
    variables = services["ghcr"]["environment"]
    assert variables["REGISTRY_PROXY_REMOTEURL"] == "https://mirror.example.com"
    assert (variables["REGISTRY_PROXY_USERNAME"], variables["REGISTRY_PROXY_PASSWORD"]) == ("me", "hunter2")
    assert "REGISTRY_PROXY_PASSWORD" not in services["dockerhub"]["environment"]
    assert (folder.path / "registry2" / "ghcr.env").stat().st_mode & 0o777 == 0o600
    assert "hunter2" not in (folder.path / "docker-compose.yaml").read_text()


def test_values_of_env_reach_the_container_as_they_are_meant(folder: Folder) -> None:
    text = '# mine\nREGISTRY_PROXY_GHCR_USERNAME=me  # the bot\nREGISTRY_PROXY_GHCR_PASSWORD="a$b c#d"\nOTHER=x\n'
    folder.write(".env", text, mode=0o600)
    environ = folder.written()["services"]["registry-proxy"]["environment"]
    assert environ["REGISTRY_PROXY_GHCR_PASSWORD"].replace("$$", "$") == "a$b c#d"
    assert environ["REGISTRY_PROXY_GHCR_USERNAME"] == "me"
    assert (folder.path / ".env").read_text() == text.replace('"', "'")
    assert (folder.path / ".env").stat().st_mode & 0o777 == 0o600


def test_a_second_run_changes_nothing(folder: Folder) -> None:
    folder.install("--no-start", "--yes")
    before = {path.name: path.stat().st_mtime_ns for path in folder.path.iterdir()}
    assert folder.install("--no-start", "--yes").stdout.startswith("Nothing to change.")
    assert {path.name: path.stat().st_mtime_ns for path in folder.path.iterdir()} == before


def test_what_would_change_is_told_without_changing_it(folder: Folder) -> None:
    told = json.loads(folder.install("--no-start", "--dry-run", "--json").stdout)
    assert [change["subject"].rpartition("/")[2] for change in told["changes"]] == [
        ".env",
        "docker-compose.yaml",
    ]
    assert "+services:" in told["changes"][1]["diff"]
    assert list(folder.path.iterdir()) == []


def test_nothing_is_done_unasked(folder: Folder) -> None:
    assert "--yes" in folder.install("--no-start", code=2).stderr
    assert list(folder.path.iterdir()) == []


def test_a_folder_of_a_user_is_served_as_that_user(folder: Folder) -> None:
    folder.write("registry-proxy.toml", "", mode=0o600)
    for path in (folder.path, folder.path / "registry-proxy.toml"):
        os.chown(path, 1234, 1234)
    assert "is not read by root: user 1234 can change" in folder.install("--no-start", "--yes", code=2).stderr
    named = folder.written("--config", "registry-proxy.toml")
    assert named["services"]["registry-proxy"]["user"] == "1234:1234"
    folder.install("--no-start", "--yes", SUDO_UID="1234")
    assert (folder.path / "docker-compose.yaml").stat().st_uid == 1234


TLS = "[tls]\ncert = 'cert.pem'\nkey = 'key.pem'\n"
REFUSED = {
    "a key that the container can't read": (
        TLS,
        [],
        1,
        "the container's user, 10001, can't read {folder}/key.pem",
    ),
    "a file by its absolute path": (
        "[access]\nhtpasswd = '{folder}/htpasswd'\n",
        [],
        1,
        "Write it as htpasswd",
    ),
    "TLS behind Traefik": (TLS, ["--traefik"], 1, "Remove [tls], or omit --traefik"),
    "TLS for each registry": (
        TLS,
        ["--per-registry"],
        1,
        "Use one container for all registries, or --traefik",
    ),
    "Traefik without host names": ("", ["--traefik"], 1, "--hostname for one host"),
    "low ports in the host's network": (
        "[server]\nlisten = ['0.0.0.0:80']\n",
        ["--host-network"],
        1,
        "Omit --host-network",
    ),
    "Traefik and the host's network": (
        HOSTNAMES,
        ["--traefik", "--host-network"],
        1,
        "omit --host-network",
    ),
    "a port that isn't known": ("[server]\nlisten = ['127.0.0.1:0']\n", [], 1, "requires a fixed port"),
    "addresses for registry:2": (
        "[access]\nsources = ['10.0.0.0/8']\n",
        ["--engine", "registry2"],
        1,
        "--traefik",
    ),
    "an unknown engine": ("", ["--engine", "zot"], 2, "Known are registry-proxy, registry2"),
    "a wrong configuration": ("[server]\nlisen = []\n", [], 2, "Did you mean listen?"),
}


@pytest.mark.parametrize(("config", "arguments", "code", "told"), REFUSED.values(), ids=REFUSED)
def test_what_could_not_work_is_told_before_anything_changes(
    folder: Folder, config: str, arguments: list[str], code: int, told: str
) -> None:
    folder.write("cert.pem", "")
    folder.write("key.pem", "", mode=0o600)
    folder.write("htpasswd", "")
    folder.write("registry-proxy.toml", config.format(folder=folder.path))
    before = sorted(folder.path.iterdir())
    assert (
        told.format(folder=folder.path) in folder.install("--no-start", "--yes", *arguments, code=code).stderr
    )
    assert sorted(folder.path.iterdir()) == before


def test_docker_that_is_missing_is_told(folder: Folder, tmp_path: Path) -> None:
    done = folder.install("--yes", code=1, PATH=str(tmp_path))
    assert "docker isn't installed" in done.stderr


def test_a_file_of_somebody_else_is_not_removed(folder: Folder) -> None:
    folder.write("docker-compose.yaml", "services: {}\n")
    command = [str(PROGRAM), "uninstall", "compose", "--yes"]
    done = subprocess.run(command, cwd=folder.path, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "was not generated by" in done.stderr


@pytest.mark.parametrize("verb", ["Generated", "Made"])
def test_a_generated_file_is_known_also_from_earlier_versions(
    folder: Folder, tmp_path: Path, verb: str
) -> None:
    folder.write("docker-compose.yaml", f"# {verb} by `registry-proxy install compose`.\nservices: {{}}\n")
    command = [str(PROGRAM), "uninstall", "compose", "--yes"]
    done = subprocess.run(
        command,
        cwd=folder.path,
        env=environment({"HOME": str(folder.path), "PATH": str(tmp_path)}),
        capture_output=True,
        text=True,
        check=False,
    )
    assert "docker isn't installed" in done.stderr
