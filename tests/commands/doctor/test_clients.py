"""`registry-proxy doctor --client` on machines whose files make them pull through a real server, or don't."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import bcrypt
import pytest
from tests.commands.doctor.test_server import free_port, talking
from tests.commands.server import outage
from tests.kit import images
from tests.kit.clients import Docker
from tests.kit.users import ordinary_user

from registry_proxy.commands.doctor.clients import store_findings, unread_mirrors
from registry_proxy.commands.doctor.daemons import Containerd, Daemons, ask_containerd, ask_docker
from registry_proxy.commands.doctor.daemons import Docker as DockerState
from registry_proxy.commands.doctor.findings import Finding, run_checks
from registry_proxy.commands.doctor.machine_files import Machine
from registry_proxy.commands.doctor.mirrors import docker_routes
from registry_proxy.commands.doctor.pull_check import client_checks

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.commands.server import Server, Site
    from tests.kit.certificates import Authority
    from tests.kit.remote import RemoteUpstream

MODERN = DockerState((29, 0), {"DriverStatus": [["driver-type", "io.containerd.snapshotter.v1"]]})
DAEMON, CONTAINERD = "etc/docker/daemon.json", "etc/containerd/config.toml"
PODMAN = "etc/containers/registries.conf.d/50-registry-proxy.conf"


class Client:
    """A machine below a folder, with some programs."""

    def __init__(self, folder: Path, *programs: str) -> None:
        self.machine = Machine(folder, folder / "home", str(folder / "bin"))
        self.root = folder
        self.docker, self.containerd = DockerState(), Containerd()
        for program in programs:
            self.write(f"bin/{program}", "#!/bin/sh\n").chmod(0o755)

    def write(self, path: str, text: str) -> Path:
        file = self.root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
        return file

    async def examine(self, server: str | None = None) -> list[Finding]:
        async def docker() -> DockerState:
            return self.docker

        async def containerd() -> Containerd:
            return self.containerd

        return await run_checks(await client_checks(self.machine, server, Daemons(docker, containerd)))


def told(found: list[Finding]) -> list[tuple[str, str, str]]:
    assert all(each.remedy or each.severity == "ok" for each in found)
    return [(each.severity.value, each.subject, each.text) for each in found]


@pytest.fixture
def client(tmp_path: Path) -> Client:
    return Client(tmp_path / "machine", "docker", "containerd", "podman")


@pytest.fixture
def server(site: Site, hub: RemoteUpstream) -> Iterator[Server]:
    hub.push("library/hello-world", images.image(), "latest")
    with site.serving() as server:
        yield server


def point_to(client: Client, host: str) -> None:
    """All three clients, as they are documented."""
    client.write(DAEMON, json.dumps({"registry-mirrors": [f"http://{host}"]}))
    hosts = f'server = "https://docker.io"\n[host."http://{host}"]\n  capabilities = ["pull", "resolve"]\n'
    client.write("etc/docker/certs.d/docker.io/hosts.toml", hosts)
    client.write("etc/containerd/certs.d/docker.io/hosts.toml", hosts)
    registry = '[plugins."io.containerd.grpc.v1.cri".registry]\nconfig_path = "/etc/containerd/certs.d"\n'
    client.write(CONTAINERD, f"version = 2\n{registry}")
    mirror = f'[[registry.mirror]]\nlocation = "{host}/docker.io"\ninsecure = true\n'
    client.write(PODMAN, f'[[registry]]\nlocation = "docker.io"\n{mirror}')


async def test_what_goes_through_the_cache_is_told(client: Client, server: Server) -> None:
    host = f"127.0.0.1:{server.port}"
    point_to(client, host)
    client.docker = DockerState(
        MODERN.version, {**MODERN.info, "RegistryConfig": {"Mirrors": [f"http://{host}/"]}}
    )
    found = told(await client.examine(f"http://{host}"))
    assert found[0][:2] == ("ok", "docker")
    assert found[1] == ("ok", f"http://{host}", "a registry-proxy responds")
    routes = [(verdict, subject) for verdict, subject, _ in found[2:]]
    assert routes == [
        ("ok", "docker docker.io"),
        ("ok", "docker docker.io"),
        ("ok", "containerd docker.io"),
        ("ok", "podman docker.io"),
    ]
    assert all(f"pulls through http://{host} (" in text for _, _, text in found[2:4])
    assert server.get("library/hello-world/manifests/latest").cache_status == "registry-proxy; hit"


async def test_who_goes_past_the_cache_is_told(client: Client) -> None:
    found = told(await client.examine())
    assert [(verdict, subject) for verdict, subject, _ in found] == [
        ("warn", "docker"),
        ("warn", "containerd"),
        ("warn", "podman"),
        ("fail", "clients"),
    ]


async def test_without_a_client_that_is_told(tmp_path: Path) -> None:
    [(verdict, subject, _)] = told(await Client(tmp_path).examine())
    assert (verdict, subject) == ("fail", "clients")


async def test_hosts_files_that_containerd_does_not_read_are_told(client: Client, server: Server) -> None:
    point_to(client, f"127.0.0.1:{server.port}")
    client.write(CONTAINERD, "version = 2\n")
    found = told(await client.examine())
    assert [(verdict, text) for verdict, subject, text in found if subject == "containerd"] == [
        (
            "fail",
            "/etc/containerd/config.toml has no config_path, so the files in /etc/containerd/certs.d "
            "are not read by Kubernetes",
        )
    ]


async def test_a_mirror_that_is_down_is_told(client: Client) -> None:
    point_to(client, f"127.0.0.1:{free_port()}")
    found = told(await client.examine())
    assert {(verdict, text.rpartition(": ")[2]) for verdict, _, text in found} == {
        ("fail", "Connection refused")
    }


async def test_a_mirror_that_is_something_else_is_told(client: Client) -> None:
    with talking(b"HTTP/1.1 200 OK\r\nServer: nginx\r\n\r\n") as port:
        point_to(client, f"127.0.0.1:{port}")
        found = told(await client.examine())
    assert {(verdict, text.rpartition(" responds with ")[2]) for verdict, _, text in found} == {
        ("warn", "200, and is not a registry-proxy")
    }


async def test_a_registry_that_the_cache_cannot_reach_is_told_with_the_cause(
    client: Client, server: Server, hub: RemoteUpstream
) -> None:
    point_to(client, f"127.0.0.1:{server.port}")
    with outage(hub):
        found = told(await client.examine())
    assert {verdict for verdict, _, _ in found} == {"fail"}
    assert all("Connection refused" in text for _, _, text in found)


async def test_another_server_than_the_one_that_is_meant_is_told(client: Client, server: Server) -> None:
    point_to(client, f"127.0.0.1:{server.port}")
    client.docker = MODERN
    found = told(await client.examine(f"http://localhost:{server.port}"))
    texts = [text for verdict, _, text in found if verdict == "warn"]
    assert len(texts) == 4
    assert "/etc/docker/daemon.json sends docker.io to http://127.0.0.1" in texts[0]


async def test_a_login_is_asked_for_and_used(client: Client, site: Site, hub: RemoteUpstream) -> None:
    hub.push("library/hello-world", images.image(), "latest")
    hashed = bcrypt.hashpw(b"secret", bcrypt.gensalt(4, b"2b")).decode()
    (site.folder / "htpasswd").write_text(f"me:{hashed}\n")
    site.settings["access_htpasswd"] = str(site.folder / "htpasswd")
    with site.serving() as server:
        host = f"127.0.0.1:{server.port}"
        point_to(client, host)
        found = told(await client.examine(f"http://{host}"))
        assert ("ok", f"http://{host}", "a registry-proxy responds, and requires a login") in found
        assert (
            len([text for verdict, _, text in found if verdict == "fail" and "none is configured" in text])
            == 4
        )
        client.write(
            "home/.config/containers/auth.json", json.dumps({"auths": {host: {"auth": "bWU6c2VjcmV0"}}})
        )
        hosts = client.root / "etc/containerd/certs.d/docker.io/hosts.toml"
        with hosts.open("a") as file:
            file.write(f'[host."http://{host}".header]\nAuthorization = "Basic bWU6d3Jvbmc="\n')
        found = told(await client.examine())
    assert [verdict for verdict, subject, _ in found if subject == "podman docker.io"] == ["ok"]
    [text] = [text for _, subject, text in found if subject == "containerd docker.io"]
    assert "refuses the configured one" in text


async def test_certificates_are_trusted_as_the_client_does(
    client: Client, site: Site, hub: RemoteUpstream, authority: Authority
) -> None:
    hub.push("library/hello-world", images.image(), "latest")
    port = free_port()
    file = site.folder / "cert.pem"
    authority.ca.issue_cert("localhost").private_key_and_cert_chain_pem.write_to_path(str(file))
    site.settings |= {
        "tls_listen": f"127.0.0.1:{port}",
        "tls_http": "",
        "tls_hostnames": "localhost",
        "tls_cert": str(file),
        "tls_key": str(file),
    }
    host = f"localhost:{port}"
    hosts = client.write(
        "etc/docker/certs.d/docker.io/hosts.toml",
        f'[host."https://{host}"]\n  capabilities = ["pull", "resolve"]\n',
    )
    client.write(DAEMON, json.dumps({"registry-mirrors": [f"https://{host}"]}))
    client.docker = MODERN
    with site.serving():
        found = told(await client.examine())
        refused = [
            text for verdict, subject, text in found if subject == "docker docker.io" and verdict == "fail"
        ]
        assert len(refused) == 2
        assert all("its certificate is not trusted" in text for text in refused)
        client.write(f"etc/docker/certs.d/{host}/ca.crt", authority.pem.decode())
        hosts.write_text(f"{hosts.read_text()}  ca = '../{host}/ca.crt'\n")
        found = told(await client.examine())
    assert [verdict for verdict, subject, _ in found if subject == "docker docker.io"] == ["ok", "ok"]


async def test_a_registry_that_the_cache_does_not_serve_is_told(client: Client, server: Server) -> None:
    hosts = f'[host."http://127.0.0.1:{server.port}"]\n'
    for name in ("docker.io", "registry.example:5000"):
        client.write(f"etc/containerd/certs.d/{name}/hosts.toml", hosts)
    client.containerd = Containerd((2, 0), dumped("/etc/containerd/certs.d"))
    found = {subject: (verdict, text) for verdict, subject, text in told(await client.examine())}
    assert found["containerd docker.io"][0] == "ok"
    verdict, text = found["containerd registry.example:5000"]
    assert (verdict, "does not serve registry.example:5000" in text) == ("warn", True)


async def test_a_registry_that_the_cache_refuses_to_this_client_is_told(
    client: Client, site: Site, hub: RemoteUpstream
) -> None:
    hub.push("library/hello-world", images.image(), "latest")
    hashed = bcrypt.hashpw(b"secret", bcrypt.gensalt(4, b"2b")).decode()
    (site.folder / "htpasswd").write_text(f"me:{hashed}\n")
    client.write(CONTAINERD, "")
    client.containerd = Containerd((2, 0), dumped("/etc/containerd/certs.d"))
    for settings, text in (
        ({"dockerhub_access_sources": "192.0.2.1"}, "403"),
        ({"dockerhub_access_htpasswd": str(site.folder / "htpasswd")}, "401"),
    ):
        before = dict(site.settings)
        site.settings |= settings
        with site.serving() as server:
            point_to(client, f"127.0.0.1:{server.port}")
            [problem] = [
                each
                for verdict, subject, each in told(await client.examine())
                if (verdict, subject) == ("fail", "containerd docker.io")
            ]
        assert f"refuses docker.io: {text}" in problem
        site.settings = before


async def test_broken_files_are_told(client: Client) -> None:
    client.write(DAEMON, "{")
    client.write(PODMAN, "[[")
    (client.root / "etc/docker/certs.d/x").mkdir(parents=True)
    (client.root / "etc/docker/certs.d/x/hosts.toml").write_bytes(b"\xff\xfe")
    found = told(await client.examine())
    subjects = {subject: (verdict, text) for verdict, subject, text in found}
    assert subjects["/etc/docker/daemon.json"][1].startswith("not JSON")
    assert subjects[f"/{PODMAN}"][1].startswith("not TOML")
    assert subjects["/etc/docker/certs.d/x/hosts.toml"][0] == "warn"


class TestDockerd:
    """What a running dockerd says of itself counts more than its files."""

    async def test_its_mirrors_are_compared_with_its_file(self, monkeypatch: pytest.MonkeyPatch) -> None:
        with Docker(mirrors=["http://127.0.0.1:1"]) as docker:
            monkeypatch.setenv("DOCKER_HOST", f"unix://{docker.folder}/docker.sock")
            state = await ask_docker()
        assert state.version == (20, 10)
        known = list(docker_routes("d.json", {"registry-mirrors": ["http://127.0.0.1:1/"]}))
        added = list(docker_routes("d.json", {"registry-mirrors": ["http://127.0.0.1:2"]}))
        assert list(unread_mirrors(state, known)) == []
        [unread] = unread_mirrors(state, [*known, *added])
        assert (unread.severity.value, unread.remedy) == ("fail", "systemctl reload docker")
        assert "mirrors http://127.0.0.1:2 of daemon.json" in unread.text
        [classic] = store_findings(state, has_hosts=True)
        assert "is version 20, which reads no hosts.toml" in classic.text
        assert "with Docker 28 or later" in classic.remedy

    async def test_without_one_its_version_is_told(
        self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/none.sock")
        assert await ask_docker() == DockerState((20, 10))
        monkeypatch.setenv("PATH", str(tmp_path))
        assert await ask_docker() == DockerState()
        assert await ask_containerd() == Containerd()

    async def test_the_real_containerd_tells_its_version_and_configuration(self) -> None:
        state = await ask_containerd()
        assert state.version is not None
        assert state.config is not None
        assert "plugins" in state.config


CLASSIC = {"DriverStatus": [["Backing Filesystem", "extfs"]]}


@pytest.mark.parametrize(
    ("docker", "verdicts"),
    [
        (MODERN, ["ok"]),
        (DockerState((29, 0), CLASSIC), []),
        (DockerState((27, 5), MODERN.info), []),
        (DockerState((20, 10)), []),
        (DockerState((29, 0)), ["warn"]),
        (DockerState(), ["warn"]),
    ],
)
async def test_a_docker_that_reads_no_hosts_is_not_said_to_go_through_the_cache(
    docker: DockerState, verdicts: list[str], client: Client, server: Server
) -> None:
    point_to(client, f"127.0.0.1:{server.port}")
    client.write(DAEMON, "{}")
    client.docker = docker
    found = told(await client.examine())
    assert [verdict for verdict, subject, _ in found if subject == "docker docker.io"] == verdicts
    stores = [text for verdict, subject, text in found if (verdict, subject) == ("warn", "docker")]
    assert all("which reads no hosts.toml" in text for text in stores)
    assert bool(stores) is (verdicts == [])


def dumped(path: str, **images: object) -> dict[str, Any]:
    return {
        "version": 3,
        "plugins": {"io.containerd.cri.v1.images": {**images, "registry": {"config_path": path}}},
    }


TWO = "/etc/containerd/certs.d:/etc/docker/certs.d"


@pytest.mark.parametrize(
    ("state", "text"),
    [
        (Containerd((2, 2), dumped("/etc/containerd/certs.d")), ""),
        (Containerd((2, 2), dumped(TWO)), "takes for the name of one"),
        (Containerd((2, 2), {}), "takes for the name of one"),
        (Containerd((2, 2), dumped(TWO, use_local_image_pull=True)), ""),
        (Containerd((2, 0), dumped(TWO)), ""),
        (Containerd((1, 7), dumped("/elsewhere:/etc/containerd/certs.d")), ""),
        (Containerd((1, 7), dumped("")), "has no config_path"),
        (Containerd((2, 2), {"disabled_plugins": ["io.containerd.cri.v1.images"]}), ""),
    ],
)
async def test_a_list_of_folders_that_containerd_does_not_read_is_not_said_to_go_through(
    state: Containerd, text: str, client: Client, server: Server
) -> None:
    point_to(client, f"127.0.0.1:{server.port}")
    client.containerd = state
    found = told(await client.examine())
    problems = [text for verdict, subject, text in found if (verdict, subject) == ("fail", "containerd")]
    through = [verdict for verdict, subject, _ in found if subject == "containerd docker.io"]
    assert [text in each for each in problems] == ([True] if text else [])
    assert through == ([] if text else ["ok"])


async def test_the_first_folder_of_a_list_decides_and_so_does_the_name_with_the_port(
    client: Client, server: Server
) -> None:
    for directory, host in (("a", "first.invalid"), ("b", "second.invalid")):
        for name in ("docker.io", "registry.example:5000"):
            client.write(f"{directory}/{name}/hosts.toml", f'[host."http://{host}"]\n')
    client.write("a/registry.example_5000_/hosts.toml", '[host."http://port.invalid"]\n')
    client.write("b/ghcr.io/hosts.toml", '[host."http://second.invalid"]\n')
    client.containerd = Containerd((1, 7), dumped("/a:/b"))
    found = told(await client.examine())
    hosts = {
        subject: text.partition(":")[0] + text.partition(":")[2].partition(":")[0]
        for _, subject, text in found
        if subject.startswith("containerd ")
    }
    assert hosts == {
        "containerd docker.io": "http//first.invalid",
        "containerd registry.example:5000": "http//port.invalid",
        "containerd ghcr.io": "http//second.invalid",
    }


async def test_files_that_a_user_may_not_read_are_not_said_to_be_missing(server: Server) -> None:
    with ordinary_user() as folder:
        client = Client(folder, "containerd", "podman")
        point_to(client, f"127.0.0.1:{server.port}")
        for path in ("etc/containerd/certs.d/docker.io/hosts.toml", PODMAN):
            (folder / path).chmod(0)
        found = told(await client.examine())
    assert {verdict for verdict, _, _ in found} == {"warn"}
    assert all(text.startswith("not checked: user ") for _, _, text in found)


def test_the_command_tells_programs_and_people(site: Site) -> None:
    port = free_port()
    report: Any = json.loads(
        site.run("doctor", "--client", "--server", f"http://127.0.0.1:{port}", "--json", code=1).stdout
    )
    assert report["sound"] is False
    texts = {each["subject"]: each["text"] for each in report["findings"]}
    assert texts[f"http://127.0.0.1:{port}"] == "Connection refused"
    assert "is not a URL of a server" in site.run("doctor", "--client", "--server", "cache", code=2).stderr
