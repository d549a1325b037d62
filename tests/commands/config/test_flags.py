"""Without a terminal: every question has a flag, what no flag tells stays, and what can't be is refused."""

from __future__ import annotations

import datetime
import http.client
import json
import shutil
import socket
import stat
from ipaddress import ip_network
from typing import TYPE_CHECKING

import pytest
from tests.commands.config.conftest import PROGRAM
from tests.kit.certificates import Authority
from tests.kit.processes import Daemon, Local, running
from tests.kit.remote import Simulators
from tests.kit.users import ordinary_user

from registry_proxy.commands.changes.show import RunOptions
from registry_proxy.commands.client.planner import Login
from registry_proxy.commands.common import FailedError
from registry_proxy.commands.config.context import Flags
from registry_proxy.commands.config.htpasswd import users_of
from registry_proxy.commands.config.run import run
from registry_proxy.config import Address

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.commands.config.conftest import Desk
    from tests.kit.remote import RemoteUpstream

FIVE = ["dockerhub", "ghcr", "quay", "gcr", "k8s"]
FREE = ("--yes", "--no-check")


@pytest.fixture
def ghcr(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RemoteUpstream]:
    """ghcr.io, as far as the configuration knows, with a user."""
    with Simulators(["ghcr"], tmp_path_factory.mktemp("upstreams")) as upstreams:
        upstreams["ghcr"].admit("me", "it's $ecret")
        yield upstreams["ghcr"]


def issue(desk: Desk, name: str, identity: str = "registry.example.com") -> None:
    issued = Authority.create().ca.issue_cert(identity)
    (desk.folder / f"{name}.pem").write_bytes(issued.cert_chain_pems[0].bytes())
    (desk.folder / f"{name}.key").write_bytes(issued.private_key_pem.bytes())


def test_the_defaults_are_those_of_the_server(desk: Desk) -> None:
    done = desk("--yes")
    settings = desk.settings()
    assert list(settings.upstreams) == FIVE
    assert settings.server.listen == (Address("127.0.0.1", 5000),)
    assert (settings.tls, settings.access.htpasswd, settings.access.sources) == (None, None, ())
    assert settings.storage.max_size <= min(100 * 2**30, shutil.disk_usage(desk.folder).free)
    assert not desk.env.exists()
    assert "path" not in desk.document().get("storage", {})
    assert f"Next, run the server: {PROGRAM} serve, or install it: " in done.stdout


def test_a_second_run_writes_nothing(desk: Desk) -> None:
    desk("--yes", "--domain=registry.example.com", "--no-check")
    before = desk.everything()
    assert "Nothing to change." in desk(*FREE).stdout
    assert desk.everything() == before


def test_registries_are_chosen_and_others_turned_off(desk: Desk) -> None:
    desk(*FREE, "--registry=ghcr", "--registry=gitlab", "--registry=corp=registry.corp.example:5000")
    upstreams = desk.settings().upstreams
    assert {name: upstream.registry for name, upstream in upstreams.items()} == {
        "ghcr": "ghcr.io",
        "gitlab": "registry.gitlab.com",
        "corp": "registry.corp.example:5000",
    }
    desk(*FREE, "--registry=dockerhub", "--registry=corp")
    assert list(desk.settings().upstreams) == ["dockerhub", "corp"]
    assert desk.document()["upstreams"]["gitlab"] == {"enabled": False}


def test_each_registry_gets_a_host_name(desk: Desk) -> None:
    desk(*FREE, "--domain=registry.example.com", "--hostname=ghcr=github.example.com")
    upstreams = desk.settings().upstreams
    assert upstreams["dockerhub"].hostname == "dockerhub.registry.example.com"
    assert upstreams["ghcr"].hostname == "github.example.com"
    desk(*FREE, "--registry=dockerhub", "--registry=quay", "--registry=ghcr", "--domain=other.example.com")
    upstreams = desk.settings().upstreams
    assert upstreams["quay"].hostname == "quay.other.example.com"


@pytest.mark.parametrize(
    ("listen", "url"),
    [("127.0.0.1:5000", "https://one.example.com"), ("0.0.0.0:5000", "http://one.example.com:5000")],
)
def test_one_host_name_serves_all(listen: str, url: str, desk: Desk) -> None:
    desk(*FREE, "--hostname=one.example.com", f"--listen={listen}")
    assert desk.settings().server.public_url == url
    assert desk.settings().hostnames == ()
    before = desk.everything()
    desk(*FREE)
    assert desk.everything() == before
    desk(*FREE, "--certificates=letsencrypt", "--agree-tos")
    settings = desk.settings()
    assert settings.tls is not None
    assert (settings.tls.hostnames, settings.server.public_url) == (("one.example.com",), None)


# Credentials


def configure(desk: Desk, upstream: RemoteUpstream) -> None:
    desk.file.write_text(
        f"# mine\n[upstreams.ghcr]\nurl = '{upstream.url}'  # simulated\nrealms = ['127.0.0.1']\n"
    )


def test_right_credentials_are_kept_as_secrets(desk: Desk, ghcr: RemoteUpstream) -> None:
    configure(desk, ghcr)
    desk.env.write_text("# others\nOTHER=1\n")
    done = desk("--yes", "--username=ghcr=me", "--password-stdin=ghcr", text="it's $ecret\n")
    assert "ghcr.io accepts the credentials of me" in done.stderr
    upstream = desk.settings().upstreams["ghcr"]
    assert upstream.password is not None
    assert (upstream.username, upstream.password.get_secret_value()) == ("me", "it's $ecret")
    assert "ecret" not in desk.file.read_text() + done.stdout + done.stderr
    assert desk.env.read_text().startswith("# others\nOTHER=1\nREGISTRY_PROXY_GHCR_PASSWORD=")
    assert stat.S_IMODE(desk.env.stat().st_mode) == 0o600
    assert desk.file.read_text().startswith("# mine\n")
    assert "# simulated" in desk.file.read_text()


def test_wrong_credentials_are_refused_and_nothing_is_written(desk: Desk, ghcr: RemoteUpstream) -> None:
    configure(desk, ghcr)
    before = desk.everything()
    arguments = ("--username=ghcr=me", "--password-stdin=ghcr")
    done = desk("--yes", *arguments, code=1, text="wrong\n")
    assert "ghcr.io refuses the credentials of me" in done.stderr
    assert "--no-check" in done.stderr
    assert desk.everything() == before
    desk("--yes", "--no-check", *arguments, text="wrong\n")
    assert desk.settings().upstreams["ghcr"].username == "me"


def test_a_password_stays_in_its_file(desk: Desk, ghcr: RemoteUpstream) -> None:
    configure(desk, ghcr)
    (desk.folder / "ghcr.password").write_text("it's $ecret\n")
    desk("--yes", "--username=ghcr=me", "--password-file=ghcr=ghcr.password")
    assert desk.document()["upstreams"]["ghcr"]["password_file"] == "ghcr.password"
    assert not desk.env.exists()


def test_new_credentials_take_the_place_of_old_ones(desk: Desk) -> None:
    desk.file.write_text(
        "[upstreams.ghcr]\nusername = 'old'\npassword = 'in the file'\n[upstreams.quay]\ncredential_helper = 'q'\n"
    )
    flags = ("--username=ghcr=new", "--password-stdin=ghcr", "--username=quay=")
    desk(*FREE, *flags, text="fresh\n")
    assert desk.document()["upstreams"]["ghcr"] == {"username": "new"}
    assert desk.env.read_text() == "REGISTRY_PROXY_GHCR_PASSWORD=fresh\n"
    assert desk.document()["upstreams"].get("quay", {}) == {}
    desk(*FREE, "--username=ghcr=")
    assert desk.env.read_text() == ""
    assert desk.document()["upstreams"]["ghcr"] == {}


def test_credentials_that_no_flag_names_stay(desk: Desk) -> None:
    desk.file.write_text("[upstreams.ghcr]\nusername = 'me'\npassword = 'p'\n")
    desk.file.chmod(0o600)
    desk(*FREE, "--max-size=1TB")
    assert desk.document()["upstreams"]["ghcr"] == {"username": "me", "password": "p"}
    assert stat.S_IMODE(desk.file.stat().st_mode) == 0o600


# Certificates


def test_own_files(desk: Desk) -> None:
    issue(desk, "tls")
    desk("--yes", "--certificates=files", "--cert=tls.pem", "--key=tls.key", "--listen=0.0.0.0:8443")
    tls = desk.settings().tls
    assert tls is not None
    assert (tls.cert, tls.key) == ((desk.folder / "tls.pem",), (desk.folder / "tls.key",))
    assert tls.listen == (Address("0.0.0.0", 8443),)
    assert desk.document()["tls"]["cert"] == ["tls.pem"]
    desk("--yes", "--certificates=none")
    assert "tls" not in desk.document()


def test_an_acme_server_of_ones_own_with_an_external_account(desk: Desk) -> None:
    issue(desk, "root")
    (desk.folder / "hmac").write_text("c2VjcmV0\n")
    directory = "https://ca.example.com/acme/acme/directory"
    desk(
        *FREE,
        "--hostname=one.example.com",
        f"--certificates={directory}",
        "--acme-root=root.pem",
        "--email=admin@example.com",
        "--eab-kid=kid",
        "--eab-key-file=hmac",
    )
    assert desk.document()["tls"] == {
        "acme": directory,
        "ca_root": "root.pem",
        "email": "admin@example.com",
        "eab_kid": "kid",
        "eab_hmac_key_file": "hmac",
        "hostnames": ["one.example.com"],
    }
    before = desk.everything()
    desk(*FREE)
    assert desk.everything() == before
    desk(*FREE, "--certificates=letsencrypt-staging", "--agree-tos")
    assert desk.document()["tls"] == {
        "acme": "letsencrypt-staging",
        "agree_tos": True,
        "hostnames": ["one.example.com"],
    }


# Who may pull


def test_users_are_added_to_a_file(desk: Desk) -> None:
    (desk.folder / "one").write_text("first\n")
    desk("--yes", "--user=one=one")
    assert desk.document()["access"]["htpasswd"] == "htpasswd"
    done = desk("--yes", "--access=basic", "--user=two=one")
    assert users_of((desk.folder / "htpasswd").read_text()) == ["one", "two"]
    assert "$2b$" not in done.stdout
    assert "+two (a new password)" in done.stdout
    desk("--yes", "--access=anyone")
    assert desk.settings().access.htpasswd is None


def test_sources_and_the_proxy_in_front(desk: Desk) -> None:
    desk("--yes", "--source=10.0.0.0/8", "--source=2001:db8::1")
    access = desk.settings().access
    assert access.sources == (ip_network("10.0.0.0/8"), ip_network("2001:db8::1"))
    assert access.trusted_proxies == (ip_network("127.0.0.0/8"), ip_network("::1"))
    desk("--yes", "--trusted-proxy=10.0.0.1")
    assert desk.settings().access.trusted_proxies == (ip_network("10.0.0.1"),)


def test_client_certificates(desk: Desk) -> None:
    issue(desk, "tls")
    tls = ("--certificates=files", "--cert=tls.pem", "--key=tls.key")
    desk("--yes", *tls, "--client-ca=tls.pem", "--client-name=*.nodes.example.com")
    assert desk.settings().access.client_names == ("*.nodes.example.com",)
    assert desk.document()["access"]["client_ca"] == "tls.pem"


# An earlier file


def test_comments_and_unknown_answers_stay(desk: Desk) -> None:
    text = """\
# all of this is mine
[cache]
tag_ttl = "5m"   # five

[storage]
max_size = "1TB"  # the budget
path = "/srv/cache"
[upstreams.ghcr]
access_sources = ["10.1.0.0/16"]  # a few
"""
    desk.file.write_text(text)
    desk(*FREE, "--max-size=2TB", "--hostname=ghcr=ghcr.example.com", "--registry=ghcr")
    changed = text.replace('"1TB"', '"2TB"').replace("# a few\n", '# a few\nhostname = "ghcr.example.com"\n')
    assert desk.file.read_text().startswith(changed)


def test_a_variable_does_not_override_the_answer(desk: Desk) -> None:
    desk("--yes")
    desk.env.write_text("REGISTRY_PROXY_STORAGE_MAX_SIZE=1TB\nREGISTRY_PROXY_LOG_LEVEL=debug\n")
    desk("--yes", "--max-size=2TB")
    assert desk.settings().storage.max_size == 2 * 10**12
    assert desk.env.read_text() == "REGISTRY_PROXY_LOG_LEVEL=debug\n"


def test_json_shows_what_would_be_written_without_secrets(desk: Desk) -> None:
    desk.file.write_text("[upstreams.quay]\nusername = 'q'\npassword = 'hunter2'\n")
    before = desk.everything()
    flags = ("--no-check", "--username=ghcr=me", "--password-stdin=ghcr", "--user=one=password")
    (desk.folder / "password").write_text("hunter2\n")
    before = desk.everything()
    done = desk("--json", *flags, text="hunter2\n")
    document = json.loads(done.stdout)
    files = {file["path"]: file for file in document["files"]}
    assert files[str(desk.env)]["content"] == "REGISTRY_PROXY_GHCR_PASSWORD=********\n"
    assert files[str(desk.env)]["mode"] == "600"
    assert files[str(desk.folder / "htpasswd")]["content"] == "one (a new password)\n"
    assert 'username = "me"' in files[str(desk.file)]["content"]
    assert document["settings"]["upstreams"]["ghcr"]["username"] == "me"
    assert "hunter2" not in done.stdout + done.stderr
    assert desk.everything() == before


# What can't be


@pytest.mark.parametrize(
    ("flags", "code", "text"),
    [
        ([], 2, "cannot ask without a terminal. Use options instead of the questions, and add --yes"),
        (["--yes", "--registry=gchr"], 2, "--registry gchr is unknown"),
        (["--yes", "--registry=a=not a registry"], 2, "--registry a=not a registry: This is not a registry"),
        (["--yes", "--registry=A=a.example"], 2, "Use lower-case letters"),
        (["--yes", "--hostname=ghcr"], 1, "Cannot resolve ghcr"),
        (["--yes", "--domain=no.such.host.invalid"], 1, "Cannot resolve dockerhub.no.such.host.invalid"),
        (["--yes", "--no-check", "--hostname=ghcr=a.example", "--hostname=quay=a.example", "--domain=b.example"],
         2, "a.example is already the host name of ghcr"),
        (["--yes", "--hostname=nope=a.example"], 2, "nope is not among the registries to cache"),
        (["--yes", "--hostname=a.example", "--hostname=b.example"], 2, "only one host name serves all registries"),
        (["--yes", "--no-check", "--domain=not_a_host"], 2, "is not a host name"),
        (["--yes", "--hostname=ghcr=localhost"], 2, "--domain is missing"),
        (["--yes", "--certificates=letsencrypt", "--agree-tos"], 2, "set --domain or --hostname"),
        (["--yes", "--hostname=localhost", "--certificates=letsencrypt"], 2, "--agree-tos"),
        (["--yes", "--hostname=localhost", "--certificates=http://ca"], 2, "is not an ACME server"),
        (["--yes", "--certificates=files"], 2, "--cert is missing"),
        (["--yes", "--certificates=files", "--cert=a", "--key=b"], 1, "are not a certificate and its unencrypted key"),
        (["--yes", "--listen=nowhere"], 2, "is not an address to listen on"),
        (["--yes", "--access=everyone"], 2, "--access everyone: write anyone, basic"),
        (["--yes", "--access=anyone", "--access=basic"], 2, "excludes the other methods"),
        (["--yes", "--access=basic"], 2, "has no user. Add one with --user NAME=PASSWORD-FILE"),
        (["--yes", "--access=sources"], 2, "--source is missing"),
        (["--yes", "--source=10.0.0.0/99"], 2, "--source 10.0.0.0/99"),
        (["--yes", "--access=certificates"], 2, "--client-ca is missing"),
        (["--yes", "--client-ca=missing"], 2, "missing: No such file"),
        (["--yes", "--user=me=missing"], 1, "can't read"),
        (["--yes", "--user=me"], 2, "write it as NAME=VALUE"),
        (["--yes", "--username=ghcr=me"], 2, "--password-file ghcr=FILE or --password-stdin ghcr is missing"),
        (["--yes", "--password-stdin=ghcr"], 2, "--username ghcr=USER is missing"),
        (["--yes", "--registry=quay", "--username=ghcr=me"], 2, "ghcr, which is not among the registries to cache"),
        (["--yes", "--username=ghcr=me", "--password-stdin=ghcr"], 1, "standard input is not a password"),
        (["--yes", "--max-size=much"], 2, "--max-size much: This is not a size"),
        (["--yes", "--path=relative"], 2, "--path relative: The path must begin with a slash"),
        (["--yes", "--path=/etc/passwd/below"], 2, "/etc/passwd is not a directory"),
    ],
)  # fmt: skip
def test_what_cannot_be_is_told_and_nothing_is_written(
    flags: list[str], code: int, text: str, desk: Desk
) -> None:
    done = desk(*flags, code=code)
    assert text in done.stderr
    assert desk.everything() == {}


def test_an_expired_certificate_is_told(desk: Desk) -> None:
    past = datetime.datetime(2020, 1, 1, tzinfo=datetime.UTC)
    issued = Authority.create().ca.issue_cert("a.example", not_before=past, not_after=past)
    (desk.folder / "old.pem").write_bytes(issued.private_key_and_cert_chain_pem.bytes())
    done = desk("--yes", "--certificates=files", "--cert=old.pem", "--key=old.pem", code=1)
    assert "expired on 2020-01-01" in done.stderr
    assert not desk.file.exists()


def test_a_broken_file_is_told_and_left(desk: Desk) -> None:
    desk.file.write_text("[server]\nlisen = 1\n")
    done = desk("--yes", code=2)
    assert "server.lisen: is not a known key. Did you mean listen?" in done.stderr
    assert desk.file.read_text() == "[server]\nlisen = 1\n"


def test_a_variable_that_makes_the_result_unusable_is_told(desk: Desk) -> None:
    desk.env.write_text("REGISTRY_PROXY_SERVER_LISEN=1\n")
    assert "REGISTRY_PROXY_SERVER_LISTEN" in desk("--yes", code=2).stderr
    assert not desk.file.exists()


def test_a_folder_that_is_not_ours_is_told() -> None:
    with ordinary_user() as folder:
        folder.chmod(0o555)
        with pytest.raises(FailedError, match="can't write into"):
            run(folder / "registry-proxy.toml", Flags(), RunOptions(yes=True), activate=False)
        assert list(folder.iterdir()) == []


def test_variables_that_win_are_told(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("REGISTRY_PROXY_LOG_LEVEL", "debug")
    run(desk.file, Flags(path=desk.folder / "store"), RunOptions(yes=True), activate=False)
    assert "REGISTRY_PROXY_LOG_LEVEL overrides the file" in capsys.readouterr().err


def test_the_help_ends_with_examples(desk: Desk) -> None:
    lines = desk("--help").stdout.strip().splitlines()
    assert lines[-1].strip() == "registry-proxy config --json --registry ghcr --listen '[::]:5000'"


def test_the_server_runs_with_what_was_written(desk: Desk) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    (desk.folder / "password").write_text("p\n")
    flags = (f"--listen=127.0.0.1:{port}", f"--path={desk.folder}/store", "--registry=ghcr")
    desk("--yes", *flags, "--user=me=password")
    command = [str(PROGRAM), "serve", "--config", str(desk.file)]
    with running(Daemon(Local(), command, desk.folder / "log")) as server:
        server.wait_until(lambda: status(port) == 401)
        assert status(port, Authorization=f"Basic {Login('me', 'p').basic}") == 200


def status(port: int, **headers: str) -> int:
    """The answer to a ping; 0 while there is none."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        connection.request("GET", "/v2/", headers=headers)
        return connection.getresponse().status
    except OSError:
        return 0
    finally:
        connection.close()
