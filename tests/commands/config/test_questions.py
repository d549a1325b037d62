"""The dialogue, at a real terminal."""

from __future__ import annotations

import stat
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from tests.commands.config.conftest import PROGRAM
from tests.kit.certificates import Authority
from tests.kit.remote import Simulators

from registry_proxy.commands.config.htpasswd import users_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.commands.config.conftest import Desk, Terminal
    from tests.kit.remote import RemoteUpstream

REGISTRIES = "Which registries to cache?"
NAMES = "Host names of the cache?"
CREDENTIALS = "Credentials for which registries?"
CERTIFICATES = "Certificates?"
LISTEN = "Where to listen without TLS?"
ACCESS = "Who may pull?"
PATH = "Where to store the content?"
SIZE = "How much space may it use?"
WRITE = "Apply these changes?"
DOWN, SPACE, CTRL_C, CLEAR = "\x1b[B", " ", "\x03", "\x15"
# `<i>` inverts what is selected.
INVERT = "i"


@pytest.fixture
def ghcr(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RemoteUpstream]:
    with Simulators(["ghcr"], tmp_path_factory.mktemp("upstreams")) as upstreams:
        upstreams["ghcr"].admit("me", "right")
        yield upstreams["ghcr"]


def go_on(terminal: Terminal, *questions: str) -> None:
    """Take what is proposed."""
    for question in questions:
        terminal.answer(question)


def test_a_first_run_from_end_to_end(desk: Desk) -> None:
    with desk.terminal("--runner=serve") as terminal:
        go_on(terminal, REGISTRIES, NAMES)
        terminal.answer("Their domain", "registry.example.com")
        go_on(terminal, *(f"Host name for {name}:" for name in ("dockerhub", "ghcr", "quay", "gcr")))
        terminal.answer("Host name for k8s:", f"{CLEAR}gcr.registry.example.com")
        terminal.see("gcr.registry.example.com is already the host name of gcr.")
        terminal.child.send(f"{CLEAR}kubernetes.example.com\r")
        terminal.see("Cannot resolve dockerhub.registry.example.com, ")
        terminal.confirm("Keep it anyway?", "y")
        go_on(terminal, CREDENTIALS, CERTIFICATES)
        terminal.confirm("Do you agree to Let's Encrypt's terms of service", "y")
        terminal.answer(ACCESS, SPACE)
        go_on(terminal, "The file with the users:")
        terminal.answer("User name:", "me")
        terminal.answer("Password of me:", "secret")
        terminal.answer("Repeat it:", "secre")
        terminal.see("The passwords differ.")
        terminal.child.send("t\r")
        go_on(terminal, "Another user (empty: no more):")
        terminal.answer(PATH, f"{CLEAR}{desk.folder}/store")
        terminal.answer(SIZE, f"{CLEAR}much")
        terminal.see("This is not a size")
        terminal.child.send(f"{CLEAR}1GiB\r")
        terminal.see("docker.io as dockerhub.registry.example.com")
        terminal.see(
            "listening on 127.0.0.1:5000 (without TLS); [::]:443 (TLS, certificates from letsencrypt); "
        )
        terminal.see("[::]:80 (redirects to HTTPS)")
        terminal.answer(WRITE)
        shown = terminal.end()
    assert "Next, run the server: " in shown
    settings = desk.settings()
    assert settings.upstreams["k8s"].hostname == "kubernetes.example.com"
    assert settings.tls is not None
    assert (settings.tls.acme, settings.tls.agree_tos) == ("letsencrypt", True)
    assert users_of((desk.folder / "htpasswd").read_text()) == ["me"]
    assert settings.storage.max_size == 2**30
    assert sorted(path.name for path in desk.folder.iterdir()) == ["htpasswd", "registry-proxy.toml"]


def test_earlier_answers_are_proposed(desk: Desk) -> None:
    desk.file.write_text(
        "# mine\n[server]\nlisten = ['127.0.0.1:7000']\n[upstreams.quay]\nenabled = false\n"
        "[upstreams.ghcr]\nusername = 'me'\npassword = 'p'\n[access]\nsources = ['10.0.0.0/8']\n"
        "trusted_proxies = ['10.0.0.1']\n"
    )
    before = desk.everything()
    with desk.terminal("--runner=serve") as terminal:
        go_on(terminal, REGISTRIES, NAMES, CREDENTIALS, "User name at ghcr:")
        go_on(terminal, "Password or access token (empty: keep the current one):", CERTIFICATES, LISTEN)
        go_on(terminal, ACCESS, "Their networks", PATH, SIZE)
        assert "Nothing to change." in terminal.end()
    assert desk.everything() == before


def test_registries_are_selected_and_another_one_is_described(desk: Desk) -> None:
    with desk.terminal("--runner=serve") as terminal:
        # None of the five, but all others.
        terminal.answer(REGISTRIES, INVERT)
        terminal.answer("Its host in image names", "Registry.Corp.Example:5000")
        terminal.answer("A short name for it:")
        terminal.answer(NAMES, DOWN + DOWN)
        go_on(terminal, CREDENTIALS, CERTIFICATES, LISTEN, ACCESS, PATH, SIZE, WRITE)
        terminal.end()
    upstreams = desk.settings().upstreams
    assert set(upstreams) == {"gitlab", "ecr-public", "lscr", "codeberg", "mcr", "nvcr", "corp"}
    assert upstreams["corp"].registry == "registry.corp.example:5000"


def test_nothing_selected_is_asked_again(desk: Desk) -> None:
    with desk.terminal("--runner=serve", "--registry=ghcr") as terminal:
        terminal.answer(NAMES, DOWN + DOWN)
        terminal.see(CREDENTIALS)
        terminal.child.send(CTRL_C)
        terminal.end(130)
    with desk.terminal("--runner=serve") as terminal:
        terminal.answer(REGISTRIES, SPACE + "".join(DOWN + SPACE for _ in range(4)))
        terminal.see("Select at least one: space selects, enter continues.")
        terminal.answer(REGISTRIES, SPACE)
        terminal.answer(NAMES, DOWN + DOWN)
        terminal.see("docker.io")
        terminal.child.send(CTRL_C)
        terminal.end(130)


def test_credentials_are_tried_at_once(desk: Desk, ghcr: RemoteUpstream) -> None:
    desk.file.write_text(f"[upstreams.ghcr]\nurl = '{ghcr.url}'\nrealms = ['127.0.0.1']\n")
    with desk.terminal("--runner=serve", "--registry=ghcr") as terminal:
        go_on(terminal, NAMES)
        terminal.answer(CREDENTIALS, SPACE)
        terminal.answer("User name at ghcr:", "me")
        terminal.answer("Password or access token:", "wrong")
        terminal.see("ghcr.io refuses the credentials of me: ")
        terminal.confirm("Keep it anyway?", "n")
        terminal.answer("User name at ghcr:")
        terminal.answer("Password or access token:", "right")
        terminal.see("ghcr.io accepts the credentials of me.")
        go_on(terminal, CERTIFICATES, LISTEN, ACCESS, PATH, SIZE)
        terminal.see("REGISTRY_PROXY_GHCR_PASSWORD=********")
        terminal.answer(WRITE)
        terminal.end()
    password = desk.settings().upstreams["ghcr"].password
    assert password is not None
    assert password.get_secret_value() == "right"
    assert stat.S_IMODE(desk.env.stat().st_mode) == 0o600
    # Deselected, they are gone.
    with desk.terminal("--runner=serve", "--registry=ghcr") as terminal:
        go_on(terminal, NAMES)
        terminal.answer(CREDENTIALS, SPACE)
        go_on(terminal, CERTIFICATES, LISTEN, ACCESS, PATH, SIZE, WRITE)
        terminal.end()
    assert desk.settings().upstreams["ghcr"].username is None
    assert desk.env.read_text() == ""


def test_an_acme_server_is_asked_for_all_it_takes(desk: Desk) -> None:
    (desk.folder / "root.pem").write_text("-----BEGIN CERTIFICATE-----\n")
    with desk.terminal("--runner=serve", "--no-check", "--hostname=localhost", "--registry=ghcr") as terminal:
        go_on(terminal, CREDENTIALS)
        terminal.answer(CERTIFICATES, DOWN + DOWN)
        terminal.answer("The URL of its directory", "https://ca.example.com/directory")
        terminal.answer("A file with the CA's root certificate", "root.pem")
        terminal.answer("An e-mail address for the account", "admin@example.com")
        terminal.answer("The key identifier of an external account", "kid")
        terminal.answer("Its HMAC key:", "c2VjcmV0")
        terminal.confirm("Do you agree to its terms of service", "y")
        go_on(terminal, ACCESS, PATH, SIZE)
        terminal.see("REGISTRY_PROXY_TLS_EAB_HMAC_KEY=********")
        terminal.answer(WRITE)
        terminal.end()
    tls = desk.settings().tls
    assert tls is not None
    assert tls.eab_hmac_key is not None
    assert (tls.eab_hmac_key.get_secret_value(), tls.ca_root) == ("c2VjcmV0", desk.folder / "root.pem")
    before = desk.everything()
    with desk.terminal("--runner=serve", "--no-check", "--hostname=localhost", "--registry=ghcr") as terminal:
        go_on(terminal, CREDENTIALS, CERTIFICATES, "The URL of its directory")
        go_on(terminal, "A file with the CA's root certificate", "An e-mail address for the account")
        go_on(terminal, "The key identifier of an external account", "Keep its key?")
        go_on(terminal, "Do you agree to its terms of service", ACCESS, PATH, SIZE)
        assert "Nothing to change." in terminal.end()
    assert desk.everything() == before


@pytest.mark.parametrize("depth", range(5))
def test_ctrl_c_leaves_nothing(depth: int, desk: Desk) -> None:
    desk.file.write_text("# mine\n")
    before = desk.everything()
    questions = [CREDENTIALS, CERTIFICATES, LISTEN, PATH, WRITE]
    with desk.terminal(
        "--runner=serve",
        "--registry=ghcr",
        "--hostname=localhost",
        "--source=10.0.0.0/8",
        "--max-size=1GiB",
    ) as terminal:
        for question in questions[:depth]:
            terminal.answer(question)
        terminal.see(questions[depth])
        terminal.child.send(CTRL_C)
        shown = terminal.end(130)
    assert "Nothing was changed." in shown
    assert desk.everything() == before


def test_no_leaves_nothing(desk: Desk) -> None:
    flags = (
        "--runner=serve",
        "--registry=ghcr",
        "--hostname=localhost",
        "--certificates=none",
        "--listen=127.0.0.1:5000",
    )
    with desk.terminal(*flags, "--access=anyone", "--max-size=1GiB", f"--path={desk.folder}") as terminal:
        go_on(terminal, CREDENTIALS)
        terminal.answer(WRITE, "n")
        assert "nothing was changed" in terminal.end(1)
    assert desk.everything() == {}


def test_no_to_the_terms_leads_back_to_the_sources_of_certificates(desk: Desk) -> None:
    with desk.terminal("--runner=serve", "--hostname=localhost", "--registry=ghcr") as terminal:
        go_on(terminal, CREDENTIALS, CERTIFICATES)
        terminal.confirm("Do you agree to Let's Encrypt's terms of service", "n")
        terminal.see("Choose another source of certificates, or agree.")
        terminal.answer(CERTIFICATES, DOWN * 4)
        go_on(terminal, LISTEN, ACCESS, PATH, SIZE, WRITE)
        terminal.end()
    assert desk.settings().tls is None


def test_a_service_gets_a_store_that_it_can_write_to(desk: Desk) -> None:
    with desk.terminal("--registry=ghcr", "--max-size=1GiB") as terminal:
        terminal.child.expect_exact("How will the server run?")
        # The first choice, from any default.
        terminal.child.send("\x1b[A" * 2 + "\r" if not Path("/run/systemd/system").is_dir() else "\r")
        terminal.answer(NAMES, DOWN + DOWN)
        go_on(terminal, CREDENTIALS, CERTIFICATES, LISTEN, ACCESS)
        terminal.answer(PATH, f"{CLEAR}{desk.folder}/store")
        terminal.see(f"The service can't write to {desk.folder}/store.")
        terminal.child.send(f"{CLEAR}/var/lib/registry-proxy\r")
        terminal.see("store: /var/lib/registry-proxy, 1GiB")
        terminal.answer(WRITE)
        assert f"Next, install the service: {PROGRAM} install systemd" in terminal.end()
    # Who runs it from here has another default.
    assert "path" not in desk.document()["storage"]


def test_a_server_for_all_networks_is_asked_for_its_address(desk: Desk) -> None:
    flags = ("--runner=serve", "--registry=ghcr", "--access=anyone", "--max-size=1GiB")
    with desk.terminal(*flags) as terminal:
        terminal.answer(NAMES, DOWN + DOWN)
        go_on(terminal, CREDENTIALS, CERTIFICATES)
        terminal.answer(LISTEN, f"{CLEAR}[::]:5000, 127.0.0.1:5000")
        terminal.see("[::]:5000 and 127.0.0.1:5000 overlap.")
        terminal.child.send(f"{CLEAR}[::]:5000\r")
        terminal.answer("The URL of the server for its clients", f"{CLEAR}http://192.0.2.7:5000")
        go_on(terminal, PATH)
        terminal.see("address for clients: http://192.0.2.7:5000")
        terminal.answer(WRITE)
        terminal.end()
    assert desk.settings().server.public_url == "http://192.0.2.7:5000"


def test_addresses_without_tls_make_room_for_those_with_tls(desk: Desk) -> None:
    desk.file.write_text("[server]\nlisten = ['[::]:80']\n")
    issue(desk.folder, "localhost")
    flags = (
        "--runner=serve",
        "--registry=ghcr",
        "--hostname=localhost",
        "--certificates=files",
        "--access=anyone",
    )
    with desk.terminal(*flags, "--cert=tls.pem", "--key=tls.key", "--max-size=1GiB") as terminal:
        go_on(terminal, CREDENTIALS)
        terminal.answer("Where to listen without TLS, next to TLS?", f"{CLEAR}[::]:443")
        terminal.see("[::]:443 and [::]:443 overlap.")
        terminal.child.send(f"{CLEAR}127.0.0.1:5000\r")
        go_on(terminal, PATH, WRITE)
        terminal.end()
    assert list(map(str, desk.settings().server.listen)) == ["127.0.0.1:5000"]


def test_a_refused_host_name_is_asked_for_again_and_the_new_one_counts(desk: Desk) -> None:
    flags = ("--runner=serve", "--registry=ghcr", "--access=anyone", "--max-size=1GiB", "--agree-tos")
    with desk.terminal(*flags) as terminal:
        terminal.answer(NAMES, DOWN)
        terminal.answer("The host name:", "cache.invalid")
        terminal.see("Cannot resolve cache.invalid.")
        terminal.confirm("Keep it anyway?", "n")
        go_on(terminal, NAMES)
        terminal.see("cache.invalid")
        terminal.child.send(f"{CLEAR}localhost\r")
        go_on(terminal, CREDENTIALS, CERTIFICATES, PATH, WRITE)
        terminal.end()
    tls = desk.settings().tls
    assert tls is not None
    assert tls.hostnames == ("localhost",)


def test_refused_certificate_files_stay_proposed(desk: Desk) -> None:
    issue(desk.folder, "localhost")
    (desk.folder / "other.key").write_bytes((desk.folder / "tls.key").read_bytes())
    issue(desk.folder, "localhost")
    flags = (
        "--runner=serve",
        "--registry=ghcr",
        "--hostname=localhost",
        "--access=anyone",
        "--max-size=1GiB",
    )
    with desk.terminal(*flags, "--certificates=files", "--cert=tls.pem", "--key=other.key") as terminal:
        go_on(terminal, CREDENTIALS)
        terminal.see("are not a certificate and its unencrypted key")
        terminal.confirm("Keep it anyway?", "n")
        go_on(terminal, "Certificate files, with their intermediates:")
        terminal.answer("Their key files, in the same order:", f"{CLEAR}tls.key")
        go_on(terminal, PATH, WRITE)
        terminal.end()
    tls = desk.settings().tls
    assert tls is not None
    assert (tls.cert, tls.key) == ((desk.folder / "tls.pem",), (desk.folder / "tls.key",))


def issue(folder: Path, name: str) -> None:
    issued = Authority.create().ca.issue_cert(name)
    (folder / "tls.pem").write_bytes(issued.cert_chain_pems[0].bytes())
    (folder / "tls.key").write_bytes(issued.private_key_pem.bytes())
