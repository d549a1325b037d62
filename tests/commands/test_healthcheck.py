from __future__ import annotations

import socket
import subprocess
import sys
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from tests.kit.certificates import Authority
from tests.kit.processes import Daemon, Local, environment, running

from registry_proxy.service.site import hold_preparation
from registry_proxy.storage.locks import FileLocks

if TYPE_CHECKING:
    from collections.abc import Iterator

PROGRAM = Path(sys.executable).with_name("registry-proxy")


def healthcheck(config: Path) -> subprocess.CompletedProcess[str]:
    command = [str(PROGRAM), "healthcheck", "--config", str(config)]
    return subprocess.run(command, env=environment(), capture_output=True, text=True, check=False)


@contextmanager
def serving(folder: Path, text: str) -> Iterator[Path]:
    """A server with this configuration on a free port, which stands for PORT."""
    probe = folder / "probe.toml"
    probe.write_text(f"[storage]\npath = 'store'\n{text.replace('PORT', '0')}")
    with running(Daemon(Local(), [str(PROGRAM), "serve", "--config", str(probe)], folder / "log")) as daemon:
        daemon.wait_until(lambda: "listening on" in daemon.log.read_text())
        port = daemon.log.read_text().split("127.0.0.1:")[1].split()[0].rstrip(",")
        config = folder / "registry-proxy.toml"
        config.write_text(probe.read_text().replace(":0'", f":{port}'"))
        yield config


def check(config: Path) -> None:
    done = healthcheck(config)
    assert (done.returncode, done.stdout + done.stderr) == (0, "")


PLAIN = "[server]\nlisten = ['127.0.0.1:PORT']\n"


@pytest.mark.parametrize(
    "access", ["", "[access]\nsources = ['192.0.2.1']\n", "[access]\nproxy_protocol = true\n"]
)
def test_a_server_that_answers_is_healthy_whoever_may_pull(tmp_path: Path, access: str) -> None:
    with serving(tmp_path, PLAIN + access) as config:
        check(config)


def test_a_server_with_tls_alone_is_healthy_whatever_its_certificate(tmp_path: Path) -> None:
    certificate = Authority.create().ca.issue_cert("registry.example.com")
    certificate.private_key_and_cert_chain_pem.write_to_path(tmp_path / "both.pem")
    tls = "[tls]\nlisten = ['127.0.0.1:PORT']\nhttp = []\ncert = 'both.pem'\nkey = 'both.pem'\n"
    with serving(tmp_path, f"[server]\nlisten = []\n{tls}") as config:
        check(config)


def test_a_server_that_is_not_there_is_not_healthy(tmp_path: Path) -> None:
    with serving(tmp_path, PLAIN) as config:
        pass
    done = healthcheck(config)
    assert done.returncode == 1
    assert "does not respond: Connection refused" in done.stderr


def test_a_server_that_counts_its_content_again_says_so(tmp_path: Path) -> None:
    config = tmp_path / "registry-proxy.toml"
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
    config.write_text(f"[storage]\npath = 'store'\n[server]\nlisten = ['127.0.0.1:{port}']\n")
    (tmp_path / "store").mkdir()
    locks = FileLocks(tmp_path / "store" / "locks")
    with closing(locks):
        assert "prepares" not in healthcheck(config).stderr
        hold_preparation(locks)
        done = healthcheck(config)
    assert done.returncode == 1
    assert "The server prepares its store" in done.stderr
