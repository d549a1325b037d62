"""`config` for an installed service: it keeps running, with the new settings or with the old ones."""

from __future__ import annotations

import http.client
from contextlib import closing
from typing import TYPE_CHECKING

import pexpect
import pytest
from tests.commands.install.booted import PROGRAM

if TYPE_CHECKING:
    from tests.commands.install.booted import BootedSystem

SERVICE = "registry-proxy"
FILE = "/etc/registry-proxy/registry-proxy.toml"
FLAGS = ("config", "--yes", "--no-check", "--config", FILE)


def status(system: BootedSystem, name: str) -> str:
    return system.run("systemctl", "show", f"--property={name}", "--value", SERVICE).stdout.strip()


def get(system: BootedSystem, port: int = 5000) -> int:
    connection = http.client.HTTPConnection("127.0.0.1", port)
    connection.sock = system.network.connect(("127.0.0.1", port))
    with closing(connection):
        connection.request("GET", "/v2/")
        return connection.getresponse().status


@pytest.fixture
def service(system: BootedSystem) -> BootedSystem:
    system.program("install", "systemd", "--yes")
    return system


def contents(system: BootedSystem) -> dict[str, tuple[str, int]]:
    paths = [
        *system.path("/etc/registry-proxy").iterdir(),
        system.path("/etc/systemd/system/registry-proxy.service"),
    ]
    return {path.name: (path.read_text(), path.stat().st_mode) for path in paths}


def test_a_password_is_for_the_service_too_and_a_reload_applies_it(service: BootedSystem) -> None:
    process = status(service, "MainPID")
    flags = " ".join([*FLAGS, "--apply", "--username=ghcr=me", "--password-stdin=ghcr"])
    done = service.run("sh", "-c", f"echo hunter2 | {PROGRAM} {flags}")
    assert "The service uses the new configuration." in done.stdout
    env = service.path("/etc/registry-proxy/.env").stat()
    group = int(service.run("id", "-g", SERVICE).stdout)
    assert (env.st_mode & 0o777, env.st_uid, env.st_gid) == (0o640, 0, group)
    assert status(service, "MainPID") == process
    service.run("systemctl", "restart", SERVICE)
    assert get(service) == 200


def test_another_port_is_applied_by_a_restart_with_the_capability_for_it(service: BootedSystem) -> None:
    done = service.program(*FLAGS, "--listen=127.0.0.1:81")
    assert "The service requires a restart for server.listen, its unit." in done.stderr
    assert "To apply the new one, run: systemctl restart registry-proxy" in done.stdout
    assert get(service) == 200
    service.run("systemctl", "restart", SERVICE)
    assert get(service, 81) == 200
    done = service.program(*FLAGS, "--listen=127.0.0.1:82", "--apply")
    assert "The service uses the new configuration." in done.stdout
    assert get(service, 82) == 200


def test_a_change_by_hand_that_the_unit_does_not_allow_is_told_before_a_restart(
    service: BootedSystem,
) -> None:
    service.path(FILE).write_text("[server]\nlisten = ['127.0.0.1:81']\n[storage]\npath = '/srv/images'\n")
    told = "the installed unit does not allow ports below 1024 and writing to /srv/images. Run: registry-proxy install"
    assert told in service.run("registry-proxy", "check-config", "--config", FILE).stderr
    service.run("systemctl", "reload", SERVICE)
    log = service.run("journalctl", "--unit", SERVICE, "--output=cat").stdout
    assert told in log
    assert status(service, "StatusText").endswith("a restart is required for server.listen, storage.path")
    service.run("registry-proxy", "install", "systemd", "--yes")
    assert told not in service.run("registry-proxy", "check-config", "--config", FILE).stderr
    assert get(service, 81) == 200


@pytest.mark.parametrize("key", ["y", "n"])
def test_the_dialogue_offers_to_apply_the_changes(key: str, service: BootedSystem) -> None:
    flags = (
        "--registry=ghcr",
        "--hostname=localhost",
        "--certificates=none",
        "--access=anyone",
        "--max-size=1GiB",
    )
    terminal = ("env", "--chdir=/", "TERM=xterm", "PROMPT_TOOLKIT_NO_CPR=1", PROGRAM, *FLAGS[:1], *FLAGS[2:])
    command = service.terminal(*map(str, terminal), *flags, "--listen=127.0.0.1:5001", "--username=ghcr=")
    child: pexpect.spawn[str] = pexpect.spawn(
        command[0], command[1:], encoding="utf-8", timeout=60, dimensions=(60, 200)
    )
    child.expect_exact("Where to store the content?")
    child.send("\r")
    child.expect_exact(
        "The service requires a restart for server.listen, server.public_url, storage.max_size."
    )
    child.expect_exact("Restart the service with the changes?")
    child.send(key)
    child.expect_exact("Apply these changes?")
    child.send("y")
    child.expect(pexpect.EOF)
    child.close()
    assert child.exitstatus == 0, child.before
    assert get(service, 5001 if key == "y" else 5000) == 200
    assert ("To apply the new one, run: systemctl restart" in str(child.before)) is (key == "n")


@pytest.mark.parametrize(
    ("flags", "told"),
    [
        # Another program's port.
        (("--listen=127.0.0.1:53999",), "Address already in use"),
        # A file of root alone.
        (("--access=basic", "--htpasswd=/srv/users"), "Permission denied"),
        (("--path=/home/me/images",), "The service can't write to /home/me/images"),
    ],
)
def test_what_the_service_could_not_use_leaves_it_as_it_runs(
    flags: tuple[str, ...], told: str, service: BootedSystem
) -> None:
    service.write("/srv/users", "me:$2b$04$abcdefghijklmnopqrstuv\n", mode=0o600)
    before, process = contents(service), status(service, "MainPID")
    taken = "import socket, time; s = socket.create_server(('127.0.0.1', 53999)); time.sleep(1000)"
    service.run("systemd-run", "--unit=taken", "--property=Type=exec", "python3", "-c", taken)
    service.wait_until(lambda: "53999" in service.run("ss", "--listening", "--tcp", "--numeric").stdout)
    try:
        done = service.program(*FLAGS, *flags, "--apply", code=2 if "The service" in told else 1)
    finally:
        service.run("systemctl", "stop", "taken")
        service.path("/srv/users").unlink()
    assert told in done.stderr
    assert contents(service) == before
    assert (status(service, "ActiveState"), get(service)) == ("active", 200)
    if "listen" not in flags[0]:
        assert status(service, "MainPID") == process
