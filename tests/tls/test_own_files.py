"""The program with own certificates: on the real ports, replaced while it runs, refused when they are useless."""

from __future__ import annotations

import hashlib
import socket
import ssl
import subprocess
import time
from typing import TYPE_CHECKING

import pytest
from tests.e2e.program import PROGRAM
from tests.kit import images
from tests.kit.clients import Skopeo
from tests.kit.processes import Daemon, environment, run, running
from tests.kit.remote import Simulators
from tests.tls.issued import issue
from tests.tls.place import ADDRESS, GHCR, HUB, ONE, TlsServer

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.kit.certificates import Authority
    from tests.kit.sealed import SealedNetwork

    from registry_proxy.tls.certificates import CertificateFiles

LARGE = images.image(layers=1, layer_size=192 << 20)


@pytest.fixture(scope="module")
def upstreams(
    tmp_path_factory: pytest.TempPathFactory, network: SealedNetwork, authority: Authority
) -> Iterator[Simulators]:
    folder = tmp_path_factory.mktemp("upstreams")
    with Simulators(
        ["dockerhub", "ghcr"], folder, runner=network, authority=authority, real_names=True
    ) as running:
        yield running


def settings_of(*files: CertificateFiles) -> dict[str, str]:
    return {
        "tls_cert": ",".join(str(each.cert) for each in files),
        "tls_key": ",".join(str(each.key) for each in files),
        "dockerhub_hostname": HUB,
        "ghcr_hostname": GHCR,
    }


@pytest.fixture
def files(authority: Authority, tmp_path: Path) -> list[CertificateFiles]:
    """One through an intermediate authority, one wildcard."""
    intermediate = authority.ca.create_child_ca()
    return [issue(intermediate, tmp_path, HUB), issue(authority.ca, tmp_path, "*.example.com", HUB)]


@pytest.fixture
def server(
    network: SealedNetwork, tmp_path: Path, authority: Authority, files: list[CertificateFiles]
) -> Iterator[TlsServer]:
    with TlsServer(network, tmp_path, authority.pem.decode(), **settings_of(*files)) as server:
        yield server


def test_each_name_has_its_certificate_with_the_whole_chain(server: TlsServer) -> None:
    assert server.visit(HUB).names == [HUB]
    assert server.visit(GHCR).names == ["*.example.com", HUB]
    assert (server.visit(HUB).version, server.visit(HUB).alpn) == ("TLSv1.3", "http/1.1")
    with pytest.raises(ssl.SSLError, match="UNRECOGNIZED_NAME"):
        server.visit("registry.other.example")


@pytest.mark.parametrize(("version", "works"), [("1.0", False), ("1.1", False), ("1.2", True), ("1.3", True)])
def test_tls_1_2_and_1_3_are_spoken(
    version: str, works: bool, network: SealedNetwork, server: TlsServer
) -> None:
    curl = ["curl", "-sS", f"--tlsv{version}", "--tls-max", version, "--ciphers", "DEFAULT@SECLEVEL=0"]
    done = subprocess.run(
        network.command([*curl, f"https://{HUB}/v2/"]),
        env=environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode == 0) is works, done
    assert works or "protocol version" in done.stderr


def test_skopeo_pulls_by_each_hostname_with_nothing_but_the_authority(
    network: SealedNetwork, server: TlsServer, upstreams: Simulators
) -> None:
    image = images.image(layers=2, seed=1)
    upstreams["dockerhub"].push("library/alpine", image, "1")
    upstreams["ghcr"].push("acme/app", image, "1")
    with Skopeo(network) as skopeo:
        for reference in (f"{HUB}/library/alpine:1", f"{GHCR}/acme/app:1", f"{ONE}/ghcr.io/acme/app:1"):
            pulled = skopeo.copy(reference)
            assert (pulled / "manifest.json").read_bytes() == image.raw


def test_a_session_of_one_worker_is_good_for_the_others(network: SealedNetwork, server: TlsServer) -> None:
    context = server.trust
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    with context.wrap_socket(network.connect((ADDRESS, 443)), server_hostname=HUB) as first:
        session = first.session
    for _ in range(12):
        sock = network.connect((ADDRESS, 443))
        with context.wrap_socket(sock, server_hostname=HUB, session=session) as again:
            assert again.session_reused


def test_a_running_transfer_outlives_a_new_certificate(
    network: SealedNetwork,
    server: TlsServer,
    upstreams: Simulators,
    files: list[CertificateFiles],
    authority: Authority,
) -> None:
    upstreams["dockerhub"].push("library/large", LARGE, "1")
    layer = LARGE.layers[0]
    server.secure(HUB, "/v2/library/large/manifests/1")
    before = server.visit(HUB).certificate
    connection = server.trust.wrap_socket(network.connect((ADDRESS, 443)), server_hostname=HUB)
    connection.settimeout(60)
    digest, received = hashlib.sha256(), 0
    with connection, connection.makefile("rwb") as stream:
        stream.write(f"GET /v2/library/large/blobs/{layer.digest} HTTP/1.1\r\nHost: {HUB}\r\n\r\n".encode())
        stream.flush()
        while stream.readline().strip():
            pass
        digest.update(piece := stream.read(1 << 20))
        received += len(piece)
        issue(authority.ca, files[0].cert.parent, HUB, days=30)
        server.wait_until(lambda: server.visit(HUB).certificate != before)
        while received < layer.size:
            piece = stream.read(min(1 << 20, layer.size - received))
            assert piece
            digest.update(piece)
            received += len(piece)
        assert f"sha256:{digest.hexdigest()}" == layer.digest
        # The connection is good for more.
        stream.write(f"GET /v2/ HTTP/1.1\r\nHost: {HUB}\r\n\r\n".encode())
        stream.flush()
        assert stream.readline() == b"HTTP/1.1 200 OK\r\n"


@pytest.fixture
def small_buffers(network: SealedNetwork) -> Iterator[None]:
    """Sockets that hold next to nothing, so that it is the server that holds what a client has not read."""
    place = "/proc/sys/net/ipv4/tcp_wmem"
    before = run(network, ["cat", place]).strip()
    run(network, ["tee", place], text="4096 16384 65536")
    yield
    run(network, ["tee", place], text=before)


@pytest.mark.usefixtures("small_buffers")
def test_a_slow_client_gets_the_end_of_a_connection_that_is_closed(
    network: SealedNetwork, server: TlsServer, upstreams: Simulators
) -> None:
    image = images.image(layers=1, layer_size=2 << 20, seed=3)
    upstreams["dockerhub"].push("library/slow", image, "1")
    layer = image.layers[0]
    server.secure(HUB, "/v2/library/slow/manifests/1")
    sock = network.connect((ADDRESS, 443))
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 16)
    with server.trust.wrap_socket(sock, server_hostname=HUB) as connection:
        connection.settimeout(60)
        path = f"/v2/library/slow/blobs/{layer.digest}"
        connection.sendall(f"GET {path} HTTP/1.1\r\nHost: {HUB}\r\nConnection: close\r\n\r\n".encode())
        received = bytearray()
        while len(received) < 3 << 19:
            received += connection.recv(1 << 14)
        time.sleep(3)  # the server has let go of the last byte; it takes its time to arrive
        while piece := connection.recv(1 << 20):
            received += piece
    body = received.partition(b"\r\n\r\n")[2]
    assert f"sha256:{hashlib.sha256(body).hexdigest()}" == layer.digest


def test_a_useless_new_key_leaves_the_old_certificate_and_is_told(
    server: TlsServer, files: list[CertificateFiles], authority: Authority
) -> None:
    authority.ca.issue_cert(HUB).private_key_pem.write_to_path(files[0].key)
    server.wait_until(lambda: server.logged("does not match the certificate") > 0)
    assert server.visit(HUB).names == [HUB]
    assert server.logged("does not match the certificate") == 1


def test_an_idle_client_does_not_hold_up_the_end(network: SealedNetwork, server: TlsServer) -> None:
    connection = server.trust.wrap_socket(network.connect((ADDRESS, 443)), server_hostname=HUB)
    with connection, connection.makefile("rwb") as stream:
        stream.write(f"GET /v2/ HTTP/1.1\r\nHost: {HUB}\r\n\r\n".encode())
        stream.flush()
        assert stream.readline() == b"HTTP/1.1 200 OK\r\n"
        begin = time.monotonic()
        assert server.stop() == 0
        # Not the half minute that transfers have.
        assert time.monotonic() - begin < 15


def test_http_is_sent_on_and_serves_nothing(server: TlsServer) -> None:
    answer = server.plain(GHCR, "/v2/acme/app/manifests/1")
    assert (answer.status, answer.headers["Location"]) == (308, f"https://{GHCR}/v2/acme/app/manifests/1")
    assert server.plain("bad!host").status == 400


def start(
    network: SealedNetwork, tmp_path: Path, settings: dict[str, str]
) -> subprocess.CompletedProcess[str]:
    """Start the program and wait for its end."""
    wanted = settings | {
        "storage_path": str(tmp_path / "store"),
        "tls_listen": f"{ADDRESS}:443",
        "tls_http": f"{ADDRESS}:80",
    }
    env = environment({f"REGISTRY_PROXY_{name.upper()}": value for name, value in wanted.items()})
    command = network.command([str(PROGRAM), "serve"])
    return subprocess.run(command, env=env, capture_output=True, text=True, timeout=30, check=False)


@pytest.mark.parametrize(
    ("damage", "text"),
    [
        (lambda files: files.key.unlink(), "can't read the key"),
        (lambda files: files.cert.write_text("x"), "contains no readable certificate"),
        (lambda files: files.cert.write_bytes(files.key.read_bytes()), "contains no readable certificate"),
    ],
)
def test_useless_files_are_told_and_nothing_is_started(
    damage: object, text: str, network: SealedNetwork, tmp_path: Path, files: list[CertificateFiles]
) -> None:
    assert callable(damage)
    damage(files[1])
    done = start(network, tmp_path, settings_of(*files))
    assert done.returncode == 1
    assert text in done.stderr
    assert not (tmp_path / "store").exists()


def test_a_server_with_expired_certificates_only_is_not_started(
    network: SealedNetwork, tmp_path: Path, authority: Authority
) -> None:
    expired = issue(authority.ca, tmp_path, HUB, days=-1, age=30)
    done = start(network, tmp_path, settings_of(expired))
    assert done.returncode == 1
    assert f"all certificates have expired: the certificate for {HUB}" in done.stderr


def test_an_expired_certificate_keeps_no_other_one_from_being_served(
    network: SealedNetwork, tmp_path: Path, authority: Authority
) -> None:
    expired = issue(authority.ca, tmp_path, HUB, days=-1, age=30)
    good = issue(authority.ca, tmp_path, GHCR)
    with TlsServer(network, tmp_path, authority.pem.decode(), **settings_of(expired, good)) as server:
        assert server.visit(GHCR).names == [GHCR]
        assert server.logged(f"{HUB}, valid until") == server.logged("has expired: clients reject it") == 1
        with pytest.raises(ssl.SSLError, match="expired"):
            server.visit(HUB)


def test_a_port_that_is_taken_is_told_with_its_key(
    network: SealedNetwork, tmp_path: Path, server: TlsServer, files: list[CertificateFiles]
) -> None:
    done = start(network, tmp_path, {**settings_of(*files), "server_listen": "127.0.0.1:0"})
    assert done.returncode == 1
    assert f"cannot listen on {ADDRESS}:443" in done.stderr
    assert "tls.listen" in done.stderr


def test_tls_alone_can_be_served(network: SealedNetwork, tmp_path: Path, authority: Authority) -> None:
    files = issue(authority.ca, tmp_path, HUB)
    config = tmp_path / "registry-proxy.toml"
    config.write_text(f"""\
[server]
listen = []
[storage]
path = "store"
[tls]
listen = ["{ADDRESS}:443"]
http = []
cert = "{files.cert.name}"
key = "{files.key.name}"
""")
    command = [str(PROGRAM), "serve", "--config", str(config)]
    with running(Daemon(network, command, tmp_path / "log")) as daemon:
        daemon.wait_until(lambda: "listening on" in (tmp_path / "log").read_text())
        listening = run(network, ["ss", "-ltnHp"])
        own = {line.split()[3] for line in listening.splitlines() if "registry-proxy" in line}
        assert own == {f"{ADDRESS}:443"}
