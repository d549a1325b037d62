"""`registry-proxy client` itself: what it shows, asks, refuses, and how it reaches another machine."""

from __future__ import annotations

import json
import stat
from typing import TYPE_CHECKING, Any

import pexpect
import pytest
from tests.commands.client.sealed import HOST_EACH, HUB, NAMES, ONE_HOST, PLAIN, PROGRAM, Place
from tests.kit.certificates import Authority
from tests.kit.processes import CommandError, Daemon, Local, run, running
from tests.kit.sealed import SealedNetwork

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

NODE = "node1.nodes.example.com"
LOGIN = '[access]\nhtpasswd = "htpasswd"\n'


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SealedNetwork]:
    names = {**NAMES, NODE: "127.20.0.2"}
    with SealedNetwork(tmp_path_factory.mktemp("network"), Authority.create(), names) as network:
        run(network, ["mount", "-t", "tmpfs", "tmpfs", "/var/lib"])
        yield network


@pytest.fixture
def place(tmp_path: Path, network: SealedNetwork) -> Iterator[Place]:
    place = Place(tmp_path, network)
    place.issue(Authority.create(), "client", NODE)
    place.config.write_text(HOST_EACH)
    before = place.snapshot()
    yield place
    assert place.snapshot() == before, "a test left something"


def shown(place: Place, kind: str, *flags: str) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(place.client(kind, "--json", *flags))
    return document


# Showing


def test_the_files_are_shown_with_their_paths(place: Place) -> None:
    text = place.client("docker")
    assert '==> /etc/docker/daemon.json <==\n{\n  "registry-mirrors"' in text
    assert "==> /etc/docker/certs.d/ghcr.io/hosts.toml <==" in text
    place.config.write_text(HOST_EACH + LOGIN)
    flags = ("--username=me", f"--password-file={place.folder}/password")
    assert "==> /etc/containerd/certs.d/ghcr.io/hosts.toml (readable only by its owner) <==" in place.client(
        "containerd", *flags
    )


def test_the_files_are_shown_as_json(place: Place) -> None:
    document = shown(place, "podman", f"--ca={place.folder}/authority.pem")
    files = {file["path"]: file for file in document["files"]}
    authority = files[f"/etc/containers/certs.d/{HUB}/ca.crt"]
    assert (authority["mode"], authority["content"]) == ("644", (place.folder / "authority.pem").read_text())


def test_a_password_can_be_typed_or_piped(place: Place) -> None:
    command = [str(PROGRAM), "client", "containerd", "--config", str(place.config), "--username=me"]
    piped = run(Local(), [*command, "--password-stdin"], text="it's a secret\n")
    assert "Basic bWU6aXQncyBhIHNlY3JldA==" in piped
    terminal: pexpect.spawn[str] = pexpect.spawn(command[0], command[1:], encoding="utf-8", timeout=30)
    terminal.expect("Password of me: ")
    terminal.sendline("it's a secret")
    terminal.expect_exact("Basic bWU6aXQncyBhIHNlY3JldA==")
    terminal.expect(pexpect.EOF)
    assert "it's a secret" not in str(terminal.before)
    terminal.close()


@pytest.mark.parametrize(
    ("toml", "flags", "text"),
    [
        (HOST_EACH, ["dokcer"], "dokcer is not a known client"),
        (HOST_EACH, ["docker", "--apply", "--undo"], "exclude each other"),
        (HOST_EACH, ["docker", "--apply", "--force"], "--force requires --undo"),
        (HOST_EACH, ["talos", "--apply"], "talos has no files that can be changed on a machine"),
        (HOST_EACH, ["docker", "--username=me"], "--password-file or --password-stdin, or a terminal"),
        (HOST_EACH, ["docker", "--username=a:b", "--password-stdin"], "no colon"),
        (HOST_EACH, ["docker", "--password-stdin"], "a password requires --username"),
        (HOST_EACH, ["docker", "--username=me", "--password-stdin"], "standard input is not a password"),
        (HOST_EACH, ["docker", "--username=me", "--password-file={}/htpasswd", "--password-stdin"], "exclude"),
        (HOST_EACH, ["docker", "--client-cert={}/client.pem"], "require each other"),
        (HOST_EACH, ["docker", "--client-cert={}/client.key", "--client-key={}/client.key"], "are not a certificate"),
        (HOST_EACH, ["docker", "--ca={}/password"], "contains no certificate in PEM"),
        (HOST_EACH, ["docker", "--ca={}/missing"], "does not exist"),
        (HOST_EACH, ["docker", "--ssh=node1"], "require --apply or --undo"),
        (HOST_EACH, ["docker", "--apply", "--sudo"], "require --ssh"),
        (HOST_EACH, ["docker", "--apply", "--ssh=-oProxyCommand=id"], "is not a host"),
        (HOST_EACH, ["docker", "--apply"], "without a terminal; nothing was changed. Add --yes"),
        (HOST_EACH, ["docker", "--undo", "--yes"], "nothing to undo"),
        (HOST_EACH + LOGIN, ["docker"], "requires credentials from every client. Add --username USER and --pass"),
        (ONE_HOST + LOGIN + 'client_ca = "authority.pem"', ["docker"], "--password-stdin, or --client-cert FILE"),
        ("[server]\nlisten = ['0.0.0.0:5000']\n", ["docker"], "--server http://ADDRESS:PORT"),
        ("", ["docker", "--apply", "--yes", "--ssh=node1", "--ssh-options=-F none"], "node1"),
        ("oops", ["docker"], "is not TOML"),
    ],
)  # fmt: skip
def test_what_cannot_work_is_refused_with_the_reason(
    toml: str, flags: list[str], text: str, place: Place
) -> None:
    place.config.write_text(toml)
    with pytest.raises(CommandError) as caught:
        place.client(*(flag.format(place.folder) for flag in flags))
    assert text in " ".join(str(caught.value).split())
    assert "Traceback" not in str(caught.value)


# Changing this machine


@pytest.fixture
def daemon_json(place: Place) -> Iterator[Path]:
    path = place.inside("/etc/docker/daemon.json")
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(b'{"debug":true}')
    yield path
    path.unlink()


def test_a_change_is_shown_first_without_its_secrets(place: Place, daemon_json: Path) -> None:
    place.config.write_text(HOST_EACH + LOGIN)
    flags = ("--username=me", f"--password-file={place.folder}/password")
    text = place.client("docker", "--apply", "--yes", *flags, PATH=place.modern_docker())
    assert '+        "auth": "********"' in text or '+      "auth": "********"' in text
    assert '+Authorization = "********"' in text
    assert not any(secret in text for secret in ("bWU6", "it's a secret"))
    text = place.client("docker", "--undo", "--yes")
    assert "bWU6" not in text
    assert "remove  /etc/docker/certs.d/ghcr.io/hosts.toml\n" in text


def test_the_secrets_of_the_users_own_files_are_not_shown(place: Place) -> None:
    registries = place.inside("/etc/rancher/k3s/registries.yaml")
    registries.parent.mkdir(parents=True)
    before = "configs: {quay.io: {auth: {username: me, password: hunter2}}}  # hunter2\n"
    registries.write_text(before)
    applied = place.client("k3s", "--apply", "--yes")
    registries.write_text(registries.read_text() + "# hunter2\n")
    with pytest.raises(CommandError, match="Add --force") as caught:
        place.client("k3s", "--undo", "--yes")
    undone = place.client("k3s", "--undo", "--yes", "--force")
    assert registries.read_text() == before
    assert "+    - https://dockerhub.registry.example.com" in applied
    assert "hunter2" not in applied + undone + str(caught.value)
    registries.unlink()
    registries.parent.rmdir()


def test_a_docker_that_reads_no_hosts_gets_none(place: Place, daemon_json: Path) -> None:
    done = json.loads(place.client("docker", "--apply", "--yes", "--json"))  # Debian's is version 20.10
    assert done["written"] == ["/etc/docker/daemon.json"]
    assert any("reads no hosts.toml" in note for note in done["notes"])
    place.client("docker", "--undo", "--yes")
    done = json.loads(place.client("docker", "--apply", "--yes", "--json", PATH=place.modern_docker()))
    assert "/etc/docker/certs.d/ghcr.io/hosts.toml" in done["written"]
    place.client("docker", "--undo", "--yes")


def test_applying_tells_programs_what_it_did(place: Place, daemon_json: Path) -> None:
    path = place.modern_docker()
    done = json.loads(place.client("docker", "--apply", "--yes", "--json", PATH=path))
    assert "/etc/docker/daemon.json" in done["written"]
    assert done["restart"] == ["systemctl reload docker"]
    again = json.loads(place.client("docker", "--apply", "--yes", "--json", PATH=path))
    assert (again["written"], again["removed"], again["restart"]) == ([], [], [])
    undone = json.loads(place.client("docker", "--undo", "--yes", "--json"))
    assert undone["written"] == ["/etc/docker/daemon.json"]
    assert "/etc/docker/certs.d/ghcr.io/hosts.toml" in undone["removed"]
    assert daemon_json.read_bytes() == b'{"debug":true}'


def test_the_client_is_made_to_read_its_files_on_demand(place: Place, daemon_json: Path) -> None:
    programs = place.folder / "bin"
    programs.mkdir()
    (programs / "systemctl").write_text(f'#!/bin/sh\necho "$@" >> {place.folder}/asked\n')
    (programs / "systemctl").chmod(0o755)
    path = f"{programs}:/usr/bin:/bin"
    place.client("docker", "--apply", "--yes", "--restart", PATH=path)
    place.client("docker", "--apply", "--yes", "--restart", PATH=path)
    place.client("docker", "--undo", "--yes", "--restart", PATH=path)
    assert (place.folder / "asked").read_text() == "reload docker\nreload docker\n"


def test_a_failed_restart_is_told(place: Place, daemon_json: Path) -> None:
    with pytest.raises(CommandError, match="the files are changed, but `systemctl reload docker` failed"):
        place.client("docker", "--apply", "--yes", "--restart", PATH="/nowhere:/bin:/usr/bin")
    place.client("docker", "--undo", "--yes")


@pytest.mark.parametrize("content", [b"{", b"[1]", b"\xff"])
def test_a_broken_file_is_left_alone(content: bytes, place: Place, daemon_json: Path) -> None:
    daemon_json.write_bytes(content)
    with pytest.raises(CommandError, match=r"/etc/docker/daemon\.json.* Nothing was changed\. Fix the file"):
        place.client("docker", "--apply", "--yes")
    assert daemon_json.read_bytes() == content


def test_in_a_terminal_it_asks(place: Place, daemon_json: Path) -> None:
    arguments = ["client", "docker", "--apply", "--config", str(place.config)]
    command = place.network.command([str(PROGRAM), *arguments])
    for answer, changed in (("n", False), ("y", True)):
        terminal: pexpect.spawn[str] = pexpect.spawn(command[0], command[1:], encoding="utf-8", timeout=30)
        terminal.expect_exact('+    "https://dockerhub.registry.example.com"')
        terminal.expect_exact("Apply these changes to this machine?")
        terminal.sendline(answer)
        terminal.expect(pexpect.EOF)
        terminal.close()
        assert terminal.exitstatus == (0 if changed else 1)
        assert (b"registry-mirrors" in daemon_json.read_bytes()) is changed
    place.client("docker", "--undo", "--yes")


def test_containerd_accepts_its_configuration(place: Place) -> None:
    config = place.inside("/etc/containerd/config.toml")
    config.parent.mkdir(exist_ok=True)
    before = config.read_bytes() if config.exists() else None
    for imports in ("", 'imports = ["/etc/containerd/conf.d/*.toml"]\n'):
        config.write_text(f'version = 2\n{imports}# mine\n[plugins."io.containerd.grpc.v1.cri".registry]\n')
        imported = config.parent / "conf.d/other.toml"
        imported.parent.mkdir(exist_ok=True)
        # An imported file replaces all settings of the plugin that stand in the first one.
        imported.write_text('version = 2\n[plugins."io.containerd.grpc.v1.cri"]\nenable_selinux = false\n')
        place.client("containerd", "--apply", "--yes")
        dump = run(place.network, ["containerd", "config", "dump"])
        assert 'config_path = "/etc/containerd/certs.d"' in dump
        place.client("containerd", "--undo", "--yes")
        imported.unlink()
        imported.parent.rmdir()
    if before is None:
        config.unlink()
    else:
        config.write_bytes(before)


# Changing another machine


@pytest.fixture
def ssh(place: Place, network: SealedNetwork) -> Iterator[tuple[str, ...]]:
    """Another machine with a real ssh server; the flags that lead there."""
    for name in ("host", "user"):
        run(Local(), ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(place.folder / f"{name}-key")])
    folder = place.folder
    lines = [
        f"HostKey {folder}/host-key",
        f"ListenAddress {NODE}:2222",
        f"AuthorizedKeysFile {folder}/user-key.pub",
        f"SetEnv HOME={place.home}/there PATH={folder}/bin:/usr/bin:/bin",
        "PasswordAuthentication no",
        "StrictModes no",
        "UsePAM no",
        "PidFile none",
    ]
    (folder / "sshd_config").write_text("".join(f"{line}\n" for line in lines))
    host = (folder / "host-key.pub").read_text()
    (folder / "known_hosts").write_text(f"[{NODE}]:2222 {host}")
    options = f"-p 2222 -i {folder}/user-key -o UserKnownHostsFile={folder}/known_hosts"
    (place.home / "there").mkdir()
    run(network, ["mkdir", "-p", "/run/sshd"])
    server = Daemon(
        network, ["/usr/sbin/sshd", "-D", "-e", "-f", f"{folder}/sshd_config"], folder / "sshd.log"
    )
    server.wait_until(lambda: "Server listening" in (folder / "sshd.log").read_text())
    with running(server):
        yield (f"--ssh=root@{NODE}", f"--ssh-options={options}")
    (place.home / "there").rmdir()


def test_another_machine_is_changed_by_ssh_and_given_back(place: Place, ssh: tuple[str, ...]) -> None:
    place.config.write_text(HOST_EACH + LOGIN)
    flags = ("--username=me", f"--password-file={place.folder}/password")
    place.client("podman", "--apply", "--yes", *ssh, *flags)
    logins = place.home / "there/.config/containers/auth.json"
    assert json.loads(logins.read_text())["auths"][HUB] == {"auth": "bWU6aXQncyBhIHNlY3JldA=="}
    assert stat.S_IMODE(logins.stat().st_mode) == 0o600
    assert place.inside("/etc/containers/registries.conf.d/50-registry-proxy.conf").exists()
    place.client("podman", "--undo", "--yes", *ssh)
    assert not list((place.home / "there").iterdir())


def test_who_is_not_root_there_becomes_it_by_sudo(place: Place, ssh: tuple[str, ...]) -> None:
    (place.folder / "bin").mkdir()
    sudo = place.folder / "bin/sudo"
    sudo.write_text(f'#!/bin/sh\nprintf "%s\\\\n" "$*" >> {place.folder}/asked\nshift\nexec "$@"\n')
    sudo.chmod(0o755)
    place.client("podman", "--apply", "--yes", "--sudo", *ssh)
    place.client("podman", "--undo", "--yes", "--sudo", *ssh)
    assert set((place.folder / "asked").read_text().splitlines()) == {"-n sh"}


def test_a_machine_that_does_not_let_us_in_is_told(place: Place, ssh: tuple[str, ...]) -> None:
    (place.folder / "user-key.pub").write_text("")
    with pytest.raises(CommandError, match=r"root@node1.*Permission denied \(publickey"):
        place.client("docker", "--apply", "--yes", *ssh)


def test_a_server_for_this_machine_alone_is_not_told_to_others(place: Place, ssh: tuple[str, ...]) -> None:
    place.config.write_text("")
    with pytest.raises(CommandError, match="the server only listens on this machine"):
        place.client("docker", "--apply", "--yes", *ssh)
    place.config.write_text(PLAIN)
    assert "node1" in place.client("containerd", "--apply", "--yes", *ssh)
    place.client("containerd", "--undo", "--yes", *ssh)
