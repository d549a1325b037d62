"""`install systemd` in a system that runs systemd: the service serves, is confined, and can be removed."""

from __future__ import annotations

import http.client
import json
import shutil
from base64 import b64encode
from contextlib import closing
from typing import TYPE_CHECKING

import bcrypt
import pytest
from tests.commands.install.booted import PROGRAM
from tests.kit import images
from tests.kit.clients import Skopeo
from tests.kit.processes import Daemon, running

if TYPE_CHECKING:
    from pathlib import Path

    from tests.commands.install.booted import BootedSystem
    from tests.kit.certificates import Authority
    from tests.kit.remote import Simulators

SERVICE = "registry-proxy"
UNIT = "/etc/systemd/system/registry-proxy.service"


def status(system: BootedSystem, name: str) -> str:
    return system.run("systemctl", "show", f"--property={name}", "--value", SERVICE).stdout.strip()


def log(system: BootedSystem) -> str:
    return system.run("journalctl", "--unit", SERVICE, "--output=cat").stdout


def get(system: BootedSystem, address: tuple[str, int] = ("127.0.0.1", 5000)) -> int:
    connection = http.client.HTTPConnection(*address)
    connection.sock = system.network.connect(address)
    with closing(connection):
        connection.request("GET", "/v2/")
        return connection.getresponse().status


def test_a_fresh_system_pulls_through_the_service_after_one_command(
    system: BootedSystem, upstreams: Simulators
) -> None:
    shutil.rmtree(system.path("/opt/registry-proxy"))
    image = images.image(layers=2, layer_size=2_000_000)
    hub = upstreams["dockerhub"]
    hub.push("library/app", image, "v1")
    done = system.program("install", "systemd", "--yes")
    assert "+Type=notify" in done.stdout
    assert "  create /opt/registry-proxy/ ...\n" in done.stderr
    assert "The server is http://127.0.0.1:5000 (docker.io, " in done.stdout
    assert done.stdout.endswith("Next, configure each client: registry-proxy client KIND\n")
    assert "127.0.0.1:5000" in system.run("registry-proxy", "client", "docker").stdout
    assert (status(system, "ActiveState"), status(system, "UnitFileState")) == ("active", "enabled")
    assert status(system, "StatusText").endswith("workers serve")
    with Skopeo(system.network) as skopeo:
        for _ in range(2):
            pulled = skopeo.copy("127.0.0.1:5000/library/app:v1", tls_verify=False)
            assert (pulled / image.layers[0].digest[7:]).read_bytes() == image.layers[0].raw
    assert hub.transfers(image.layers[0].digest) == 1
    # The journal has the time and the priority of each line, so the line has neither.
    listening = next(line for line in log(system).splitlines() if "listening on" in line)
    assert listening.startswith("INFO    registry_proxy.service.supervisor[")
    warnings = system.run("journalctl", "--unit", SERVICE, "--output=cat", "--priority=warning").stdout
    assert "listening on" not in warnings


def test_the_service_has_a_user_of_its_own_and_no_rights(system: BootedSystem) -> None:
    system.program("install", "systemd", "--yes")
    process = status(system, "MainPID")
    told = system.run("cat", f"/proc/{process}/status").stdout
    fields = dict(line.split(":\t", 1) for line in told.splitlines() if ":\t" in line)
    user = system.run("id", "-u", SERVICE).stdout.strip()
    assert fields["Uid"].split() == [user] * 4
    assert {fields[name] for name in ("CapEff", "CapPrm", "CapBnd", "CapAmb")} == {"0" * 16}
    assert (fields["NoNewPrivs"], fields["Seccomp"]) == ("1", "2")
    assert system.path("/var/lib/registry-proxy").stat().st_mode & 0o777 == 0o700


def test_a_second_installation_changes_nothing(system: BootedSystem) -> None:
    system.program("install", "systemd", "--yes")
    before, process = system.files(), status(system, "MainPID")
    done = system.program("install", "systemd", "--yes")
    assert done.stdout.startswith("Nothing to change.")
    assert (system.files(), status(system, "MainPID")) == (before, process)


def test_the_installed_copy_installs_itself(system: BootedSystem) -> None:
    system.program("install", "systemd", "--yes")
    copy = "/opt/registry-proxy/bin/registry-proxy"
    assert system.run(copy, "install", "systemd", "--yes").stdout.startswith("Nothing to change.")
    system.path("/etc/registry-proxy/registry-proxy.toml").write_text("[server]\nlisten = ['127.0.0.1:81']\n")
    changed = system.run(copy, "install", "systemd", "--yes").stdout
    assert "+AmbientCapabilities=CAP_NET_BIND_SERVICE" in changed
    assert "change  /opt/registry-proxy/" not in changed
    assert get(system, ("127.0.0.1", 81)) == 200
    # A copy of the copy, for another system.
    system.run("mkdir", "-p", "/srv/image/etc")
    system.run(copy, "install", "systemd", "--yes", "--root", "/srv/image")
    system.run(
        "/srv/image/opt/registry-proxy/bin/python", "-I", "-c", "import registry_proxy.commands, aiohttp"
    )
    shutil.rmtree(system.path("/srv/image"))


def test_a_service_that_was_stopped_is_started_again(system: BootedSystem) -> None:
    system.program("install", "systemd", "--yes")
    system.run("systemctl", "stop", SERVICE)
    system.program("install", "systemd", "--yes")
    assert status(system, "ActiveState") == "active"


def test_what_would_change_is_told_without_changing_it(system: BootedSystem) -> None:
    before = system.files()
    shown = system.program("install", "systemd", "--dry-run").stdout
    told = json.loads(system.program("install", "systemd", "--dry-run", "--json").stdout)
    assert system.files() == before
    subjects = [change["subject"] for change in told["changes"]]
    assert subjects[:3] == [
        "/etc/sysusers.d/registry-proxy.conf",
        "user registry-proxy",
        "/etc/registry-proxy/",
    ]
    assert subjects[-1] == "systemctl restart registry-proxy.service"
    assert told["done"] is False
    assert all(subject in shown for subject in subjects)


def test_nothing_is_done_unasked(system: BootedSystem) -> None:
    before = system.files()
    done = system.program("install", "systemd", code=2)
    assert "--yes" in done.stderr
    assert system.files() == before


def test_the_configuration_comes_along_with_its_files_and_is_for_the_service_alone(
    system: BootedSystem,
) -> None:
    system.write(
        "/var/setup/registry-proxy.toml", "[upstreams.ghcr]\nusername = 'me'\npassword_file = 'secret/ghcr'\n"
    )
    system.write("/var/setup/secret/ghcr", "hunter2\n", mode=0o600)
    system.write(
        "/var/setup/.env", "REGISTRY_PROXY_QUAY_USERNAME=you\nREGISTRY_PROXY_QUAY_PASSWORD=correct-horse\n"
    )
    done = system.program("install", "systemd", "--yes")
    assert not any(secret in done.stdout + done.stderr for secret in ("hunter2", "correct-horse"))
    group = int(system.run("id", "-g", SERVICE).stdout)
    for name in ("registry-proxy.toml", ".env", "secret/ghcr"):
        stat = system.path(f"/etc/registry-proxy/{name}").stat()
        assert (stat.st_mode & 0o777, stat.st_uid, stat.st_gid) == (0o640, 0, group)
    check = ("/opt/registry-proxy/bin/registry-proxy", "check-config", "--json", "--config")
    settings = json.loads(system.run(*check, "/etc/registry-proxy/registry-proxy.toml").stdout)
    assert {settings["upstreams"][name]["username"] for name in ("ghcr", "quay")} == {"me", "you"}
    assert "nothing to change" in system.program("install", "systemd", "--yes").stdout.lower()


def test_a_configuration_in_place_is_kept(system: BootedSystem) -> None:
    text = "[cache]\ntag_ttl = '5m'  # mine\n"
    system.write("/etc/registry-proxy/registry-proxy.toml", text)
    system.program("install", "systemd", "--yes")
    assert system.path("/etc/registry-proxy/registry-proxy.toml").read_text() == text


def test_low_ports_tls_and_logins_work_in_the_confinement(system: BootedSystem, authority: Authority) -> None:
    certificate = authority.ca.issue_cert("registry.example.com")
    system.write(
        "/var/setup/cert.pem", b"".join(each.bytes() for each in certificate.cert_chain_pems).decode()
    )
    system.write("/var/setup/key.pem", certificate.private_key_pem.bytes().decode(), mode=0o600)
    system.write("/var/setup/htpasswd", f"me:{bcrypt.hashpw(b'hunter2', bcrypt.gensalt(4)).decode()}\n")
    system.write(
        "/var/setup/registry-proxy.toml",
        "[server]\nlisten = []\n[access]\nhtpasswd = 'htpasswd'\n"
        "[tls]\nlisten = ['127.20.0.1:443']\nhttp = ['127.20.0.1:80']\n"
        "hostnames = ['registry.example.com']\ncert = 'cert.pem'\nkey = 'key.pem'\n",
    )
    system.program("install", "systemd", "--yes")
    statuses = []
    for header in ({}, {"Authorization": f"Basic {b64encode(b'me:hunter2').decode()}"}):
        connection = http.client.HTTPSConnection("registry.example.com")
        raw = system.network.connect(("127.20.0.1", 443))
        connection.sock = authority.client_context().wrap_socket(raw, server_hostname="registry.example.com")
        with closing(connection):
            connection.request("GET", "/v2/", headers=header)
            statuses.append(connection.getresponse().status)
    assert statuses == [401, 200]
    assert get(system, ("127.20.0.1", 80)) == 308
    process = status(system, "MainPID")
    assert "CapEff:\t0000000000000400\n" in system.run("cat", f"/proc/{process}/status").stdout


def test_a_reload_takes_over_what_is_right_and_survives_what_is_wrong(system: BootedSystem) -> None:
    system.program("install", "systemd", "--yes")
    config = "/etc/registry-proxy/registry-proxy.toml"
    system.path(config).write_text("[upstreams.ghcr]\nenabled = false\n")
    system.run("systemctl", "reload", SERVICE)
    system.wait_until(lambda: "access rules were reloaded" in log(system))
    system.path(config).write_text("[upstreams.ghcr]\nenabld = false\n")
    system.run("systemctl", "reload", SERVICE, code=1)
    system.wait_until(lambda: "Did you mean enabled?" in log(system))
    assert (status(system, "ActiveState"), get(system)) == ("active", 200)


def test_a_reload_fails_if_the_next_start_would(system: BootedSystem) -> None:
    system.program("install", "systemd", "--yes")
    system.write("/etc/registry-proxy/.env", "REGISTRY_PROXY_LOG_LEVEL=debug\n", mode=0o600)
    system.run("systemctl", "reload", SERVICE, code=1)
    system.wait_until(lambda: "can't read the environment file: Permission denied" in log(system))
    assert (status(system, "ActiveState"), get(system)) == ("active", 200)
    system.path("/etc/registry-proxy/.env").chmod(0o644)
    system.run("systemctl", "reload", SERVICE)
    system.wait_until(lambda: status(system, "StatusText").endswith("a restart is required for log.level"))


def test_a_first_start_that_fails_leaves_nothing_behind(system: BootedSystem) -> None:
    before = system.files()
    system.write(
        "/var/setup/registry-proxy.toml",
        "[tls]\nlisten = ['127.20.0.1:443']\nhttp = []\ncert = 'cert.pem'\nkey = 'key.pem'\n",
    )
    for name in ("cert.pem", "key.pem"):
        system.write(f"/var/setup/{name}", "-----BEGIN NONSENSE-----\n")
    done = system.program("install", "systemd", "--yes", code=1)
    assert "cert.pem" in done.stderr
    assert "the completed steps were undone" in done.stderr
    assert system.files() == before
    assert not system.path("/var/lib/registry-proxy").exists()
    system.run("id", SERVICE, code=1)


def test_an_update_that_fails_leaves_the_service_as_it_ran(system: BootedSystem) -> None:
    system.write("/var/setup/registry-proxy.toml", "[cache]\ntag_ttl = '5m'\n")
    system.program("install", "systemd", "--yes")
    before = {name: system.path(name).read_bytes() for name in system.files()}
    system.write("/var/setup/registry-proxy.toml", "[access]\nhtpasswd = '/etc/none'\n")
    done = system.program("install", "systemd", "--yes", code=1)
    assert "/etc/none" in done.stderr
    assert {name: system.path(name).read_bytes() for name in system.files()} == before
    assert status(system, "ActiveState") == "active"
    assert get(system) == 200


def test_uninstalling_keeps_what_is_cached(system: BootedSystem) -> None:
    system.write("/var/setup/registry-proxy.toml", "[cache]\ntag_ttl = '5m'\n")
    system.program("install", "systemd", "--yes")
    done = system.program("uninstall", "systemd", "--yes")
    assert "--purge" in done.stdout
    assert not system.path(UNIT).exists()
    assert not system.path("/opt/registry-proxy").exists()
    assert status(system, "LoadState") == "not-found"
    assert system.path("/var/lib/registry-proxy/index.db").stat().st_uid == int(
        system.run("id", "-u", SERVICE).stdout
    )
    assert "5m" in system.path("/etc/registry-proxy/registry-proxy.toml").read_text()


def test_purging_removes_all_of_it(system: BootedSystem) -> None:
    before = {name: file for name, file in system.files().items() if not name.startswith("opt/")}
    system.program("install", "systemd", "--yes")
    system.program("uninstall", "systemd", "--purge", "--yes")
    assert system.files() == before
    assert not system.path("/etc/registry-proxy").exists()
    assert not system.path("/var/lib/registry-proxy").exists()
    system.run("test", "-e", "/usr/local/bin/registry-proxy", code=1)
    system.run("id", SERVICE, code=1)
    assert "Nothing to change." in system.program("uninstall", "systemd", "--purge", "--yes").stdout


def test_a_store_elsewhere_is_handed_to_the_service_and_only_it_is_purged(system: BootedSystem) -> None:
    system.write("/var/setup/registry-proxy.toml", "[storage]\npath = '/srv/images'\n")
    old = system.write("/srv/images/blobs/sha256/old", "of root")
    system.program("install", "systemd", "--yes")
    assert get(system) == 200
    assert old.stat().st_uid == int(system.run("id", "-u", SERVICE).stdout)
    mine = system.write("/srv/images/mine", "not the service's")
    system.program("uninstall", "systemd", "--purge", "--yes")
    assert [path.name for path in system.path("/srv/images").iterdir()] == ["mine"]
    mine.unlink()
    mine.parent.rmdir()


def test_a_port_that_is_taken_is_told_before_anything_changes(system: BootedSystem, tmp_path: Path) -> None:
    before = system.files()
    script = "import signal, socket; s = socket.create_server(('127.0.0.1', 5000)); print(flush=True); signal.pause()"
    output = tmp_path / "log"
    with running(Daemon(system.network, ["python3", "-c", script], output)) as taken:
        taken.wait_until(lambda: output.read_text() == "\n")
        done = system.program("install", "systemd", "--yes", code=1)
    assert "server.listen: can't listen on 127.0.0.1:5000: Address already in use" in done.stderr
    assert system.files() == before


@pytest.mark.parametrize(
    ("config", "code", "told"),
    [
        ("[server]\nlisen = []\n", 2, "Did you mean listen?"),
        (
            "[storage]\npath = '/home/me/images'\n",
            1,
            "storage.path is /home/me/images, which the service can't see",
        ),
        (
            "[storage]\npath = 'store'\n",
            1,
            "in the directory of the configuration, where the service can't write",
        ),
        ("[access]\nhtpasswd = '/tmp/htpasswd'\n", 1, "access.htpasswd is /tmp/htpasswd"),
        ("[upstreams.ghcr]\nusername = 'me'\npassword_file = 'none'\n", 2, "/var/setup/none: No such file"),
    ],
)
def test_a_configuration_that_the_service_could_not_use_is_told_before_anything_changes(
    system: BootedSystem, config: str, code: int, told: str
) -> None:
    before = system.files()
    system.write("/var/setup/registry-proxy.toml", config)
    done = system.program("install", "systemd", "--yes", code=code)
    assert told in done.stderr
    assert system.files() == before


def test_others_than_root_are_told_what_it_takes(system: BootedSystem) -> None:
    system.program("install", "systemd", "--yes")
    nobody = ("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups")
    for command in ("install", "uninstall"):
        done = system.run(
            *nobody, "/opt/registry-proxy/bin/registry-proxy", command, "systemd", "--yes", code=1
        )
        assert "sudo" in done.stderr
    done = system.run(*nobody, "/opt/registry-proxy/bin/registry-proxy", "check-config", code=2)
    assert "can't read the configuration file: Permission denied" in done.stderr


def test_a_python_that_the_service_could_not_run_is_refused(system: BootedSystem) -> None:
    system.run("cp", "/usr/bin/python3", "/home/python3")
    done = system.program("install", "systemd", "--yes", "--python", "/home/python3", code=1)
    assert "/home/python3 is not usable" in done.stderr


def test_systemd_finds_nothing_to_complain_of_and_little_exposure(system: BootedSystem) -> None:
    system.program("install", "systemd", "--yes")
    checked = system.run("systemd-analyze", "verify", UNIT)
    assert checked.stdout + checked.stderr == ""
    # Of 100; 11 is "1.1 OK", and what is left is that it has a network and sockets.
    system.run("systemd-analyze", "security", "--offline=true", "--threshold=12", UNIT)


def test_the_help_names_an_example(system: BootedSystem) -> None:
    for command in ("install", "uninstall"):
        last = system.run(PROGRAM, command, "systemd", "--help").stdout.strip().splitlines()[-1]
        assert last.strip() == f"Example: registry-proxy {command} systemd --dry-run"
