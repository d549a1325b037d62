"""`registry-proxy doctor` where the server runs, with real servers, upstreams and defects."""

from __future__ import annotations

import datetime
import http.server
import os
import socket
import tempfile
import threading
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from tests.commands.server import outage
from tests.kit import images
from tests.kit.certificates import Authority
from tests.kit.faults import Answer, Tamper
from tests.kit.users import ordinary_user

from registry_proxy.commands.doctor.findings import run_checks
from registry_proxy.commands.doctor.server import configuration_findings, server_checks
from registry_proxy.config import ConfigError, load
from registry_proxy.upstream.presets import PRESETS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.commands.server import Site
    from tests.kit.remote import RemoteUpstream

KNOWN = {preset.name: preset for preset in PRESETS}


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as sock:
        return int(sock.getsockname()[1])


def examine(site: Site, *, code: int = 0) -> list[dict[str, str]]:
    told: Any = site.json("doctor", code=code)
    assert told["sound"] is (code == 0)
    found: list[dict[str, str]] = told["findings"]
    assert all(each["verdict"] == "ok" or each["remedy"] for each in found)
    return found


def about(found: list[dict[str, str]], subject: str) -> list[tuple[str, str]]:
    """The verdicts and texts about something."""
    return [(each["verdict"], each["text"]) for each in found if each["subject"] == subject]


def failing(found: list[dict[str, str]]) -> dict[str, str]:
    return {each["subject"]: each["text"] for each in found if each["verdict"] == "fail"}


class TestServer:
    def test_of_a_healthy_one_all_is_well(self, site: Site, hub: RemoteUpstream) -> None:
        site.settings |= {"server_listen": f"127.0.0.1:{free_port()}", "storage_max_size": "1MB"}
        hub.push("library/hello-world", images.image(), "latest")
        with site.serving():
            found = examine(site)
            assert {each["verdict"] for each in found} == {"ok"}, found
            subjects = {each["subject"] for each in found}
            port = f"port {site.settings['server_listen']}"
            assert subjects == {
                "configuration",
                "server",
                port,
                "disk",
                "index",
                "upstream docker.io",
                "clock",
            }
            assert about(found, port) == [("ok", "the server responds")]
            shown = site.run("doctor").stdout
            assert "ok    server: running, with 1 worker" in shown
            assert "0 warnings, 0 failures." in shown

    def test_that_does_not_run_is_told_with_its_ports_free(self, site: Site) -> None:
        port = site.settings["server_listen"] = f"127.0.0.1:{free_port()}"
        found = examine(site, code=1)
        assert list(failing(found)) == ["server"]
        assert about(found, f"port {port}") == [("ok", "free for the server")]
        assert not site.store.exists()
        assert "fail  server: not running on this store\n      Start it" in site.run("doctor", code=1).stdout

    def test_that_listens_elsewhere_by_now_is_told(self, site: Site) -> None:
        with site.serving():
            port = site.settings["server_listen"] = f"127.0.0.1:{free_port()}"
            assert "does not listen here" in failing(examine(site, code=1))[f"port {port}"]

    def test_in_a_container_is_asked_there(self, site: Site) -> None:
        site.run("install", "compose", "--no-start", "--yes")
        found = examine(site)
        [(verdict, text)] = about(found, "server")
        assert (verdict, text.startswith("not checked: the server and its store are in a container")) == (
            "warn",
            True,
        )
        assert not {"disk", "index"} & {each["subject"] for each in found}
        remedies = {each["subject"]: each["remedy"] for each in found}
        file = site.folder / "docker-compose.yaml"
        assert f"--file {file} exec registry-proxy registry-proxy doctor" in remedies["server"]

    def test_behind_a_load_balancer_is_asked_as_by_it(self, site: Site) -> None:
        port = site.settings["server_listen"] = f"127.0.0.1:{free_port()}"
        site.settings["access_proxy_protocol"] = "true"
        site.settings["access_trusted_proxies"] = "127.0.0.1"
        with site.serving(asked=False) as server:
            server.until(lambda: about(examine(site), f"port {port}") == [("ok", "the server responds")])


class TestConfiguration:
    def test_problems_are_findings(self, site: Site) -> None:
        site.settings |= {"server_workers": "many", "dockerhub_uri": "x"}
        found = failing(examine(site, code=1))
        assert list(found) == ["configuration"]
        shown = site.run("doctor", code=1).stdout
        assert "server.workers" in shown
        assert "Did you mean REGISTRY_PROXY_DOCKERHUB_URL?" in shown

    def test_warnings_are_told(self, site: Site) -> None:
        file = site.folder / "registry-proxy.toml"
        file.write_text("[upstreams.dockerhub]\nusername = 'me'\npassword = 'hunter2'\n")
        file.chmod(0o644)
        found = examine(site, code=1)
        assert [verdict for verdict, _ in about(found, "configuration")] == ["ok", "warn"]
        assert "hunter2" not in str(found)


class TestPorts:
    def test_taken_by_another_web_server_are_told(self, site: Site) -> None:
        server = http.server.HTTPServer(("127.0.0.1", 0), http.server.BaseHTTPRequestHandler)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            port = site.settings["server_listen"] = f"127.0.0.1:{server.server_port}"
            found = failing(examine(site, code=1))
            assert found[f"port {port}"].startswith("another server responds here: BaseHTTP")
        finally:
            server.shutdown()
            server.server_close()

    def test_taken_by_something_that_says_nothing_useful_are_told(self, site: Site) -> None:
        with talking(b"220 mail.example.com ESMTP\r\n\r\n") as port:
            site.settings["server_listen"] = f"127.0.0.1:{port}"
            assert "the response is not HTTP" in failing(examine(site, code=1))[f"port 127.0.0.1:{port}"]

    def test_of_another_machine_s_address_are_told(self, site: Site) -> None:
        site.settings["server_listen"] = "192.0.2.1:5000"
        found = failing(examine(site, code=1))
        assert "cannot listen here" in found["port 192.0.2.1:5000"]


@contextmanager
def talking(text: bytes) -> Iterator[int]:
    """A server that says the same to everyone; its port."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            while True:
                try:
                    connection, _ = listener.accept()
                except OSError:
                    return
                with connection:
                    connection.sendall(text)
                    connection.recv(1000)

        threading.Thread(target=serve, daemon=True).start()
        yield listener.getsockname()[1]
        listener.shutdown(socket.SHUT_RDWR)


class TestNames:
    def test_that_lead_nowhere_are_told(self, site: Site) -> None:
        site.settings["dockerhub_hostname"] = "hub.registry-proxy.invalid"
        found = failing(examine(site, code=1))
        assert found["name hub.registry-proxy.invalid"].startswith("does not resolve")

    def test_that_lead_only_this_machine_to_itself_are_told(self, site: Site) -> None:
        site.settings["dockerhub_hostname"] = "localhost"
        [(verdict, text)] = about(examine(site, code=1), "name localhost")
        assert (verdict, "which only this machine can reach" in text) == ("warn", True)


class TestCertificates:
    @pytest.fixture
    def tls(self, site: Site) -> Site:
        port = free_port()
        site.settings |= {
            "tls_listen": f"127.0.0.1:{port}",
            "tls_http": f"127.0.0.1:{free_port()}",
            "tls_hostnames": "localhost",
            "tls_cert": str(site.folder / "cert.pem"),
            "tls_key": str(site.folder / "cert.pem"),
        }
        return site

    def issue(self, site: Site, authority: Authority, *names: str, days: float = 100.0) -> None:
        now = datetime.datetime.now(datetime.UTC)
        start = now - datetime.timedelta(days=100)
        leaf = authority.ca.issue_cert(
            *names, not_before=start, not_after=now + datetime.timedelta(days=days)
        )
        leaf.private_key_and_cert_chain_pem.write_to_path(str(site.folder / "cert.pem"))

    def trust(self, site: Site, authority: Authority) -> None:
        (site.folder / "ca.pem").write_bytes(authority.pem)
        site.trusted = site.folder / "ca.pem"

    def test_tell_their_days_and_that_they_are_trusted(self, tls: Site, authority: Authority) -> None:
        self.issue(tls, authority, "localhost")
        self.trust(tls, authority)
        with tls.serving():
            found = examine(tls)
        days, trusted = about(found, "certificate localhost")
        assert days == ("ok", "100 days left, from registry-proxy tests")
        assert trusted == ("ok", "trusted, with its chain")
        assert about(found, f"port {tls.settings['tls_listen']}") == [("ok", "the server responds")]
        assert "redirects requests to HTTPS" in about(found, f"port {tls.settings['tls_http']}")[0][1]

    def test_of_other_names_than_localhost_do_not_disturb_the_check_of_the_ports(
        self, tls: Site, authority: Authority
    ) -> None:
        tls.settings["tls_hostnames"] = "registry.example.com"
        self.issue(tls, authority, "registry.example.com")
        self.trust(tls, authority)
        with tls.serving():
            found = examine(tls, code=1)  # the name does not resolve
        assert about(found, f"port {tls.settings['tls_listen']}") == [("ok", "the server responds")]
        assert "redirects requests" in about(found, f"port {tls.settings['tls_http']}")[0][1]
        assert [verdict for verdict, _ in about(found, "certificate registry.example.com")] == ["ok", "ok"]

    def test_without_a_host_name_do_not_disturb_it_either(self, tls: Site, authority: Authority) -> None:
        tls.settings["tls_hostnames"] = ""
        self.issue(tls, authority, "registry.example.com")
        with tls.serving():
            found = examine(tls)
        assert about(found, f"port {tls.settings['tls_listen']}") == [("ok", "the server responds")]

    def test_of_a_private_authority_that_the_configuration_names_are_trusted(
        self, tls: Site, authority: Authority
    ) -> None:
        self.issue(tls, authority, "localhost")
        (tls.folder / "root.pem").write_bytes(authority.pem)
        (tls.folder / "other.pem").write_bytes(Authority.create().pem)
        with tls.serving():
            tls.settings["tls_ca_root"] = str(tls.folder / "root.pem")
            assert about(examine(tls), "certificate localhost")[1] == ("ok", "trusted, with its chain")
            tls.settings["tls_ca_root"] = str(tls.folder / "other.pem")
            _, (verdict, text) = about(examine(tls), "certificate localhost")
        assert (verdict, text.startswith("not issued by the CA in tls.ca_root")) == ("warn", True)

    def test_that_are_not_trusted_here_are_told(self, tls: Site, authority: Authority) -> None:
        self.issue(tls, authority, "localhost")
        with tls.serving():
            _, (verdict, text) = about(examine(tls), "certificate localhost")
        assert (verdict, "does not trust it" in text) == ("warn", True)

    def test_that_should_have_been_renewed_are_told(self, tls: Site, authority: Authority) -> None:
        self.issue(tls, authority, "localhost", days=5.2)
        with tls.serving():
            (verdict, text), _ = about(examine(tls), "certificate localhost")
        assert (verdict, text) == ("warn", "5 days left; it should have been renewed")

    def test_that_have_expired_fail(self, tls: Site, authority: Authority) -> None:
        self.issue(tls, authority, "localhost", days=-1)
        # The server doesn't start with nothing but one that has expired.
        valid = authority.ca.issue_cert("other.example").private_key_and_cert_chain_pem
        valid.write_to_path(str(tls.folder / "valid.pem"))
        for key in ("tls_cert", "tls_key"):
            tls.settings[key] = f"{tls.settings[key]},{tls.folder / 'valid.pem'}"
        with tls.serving():
            assert failing(examine(tls, code=1))["certificate localhost"].startswith("expired on")

    def test_of_other_names_are_none(self, tls: Site, authority: Authority) -> None:
        self.issue(tls, authority, "other.example")
        with tls.serving():
            assert "the server sends none" in failing(examine(tls, code=1))["certificate localhost"]

    def test_cannot_be_seen_without_the_server(self, tls: Site, authority: Authority) -> None:
        self.issue(tls, authority, "localhost")
        found = failing(examine(tls, code=1))
        assert found["certificate localhost"] == "there is no connection to the server: Connection refused"


class TestStore:
    def test_a_damaged_index_is_told_and_left(self, site: Site) -> None:
        with site.serving():
            pass
        index = site.store / "index.db"
        index.write_bytes(b"garbage" * 1000)
        assert "file is not a database" in failing(examine(site, code=1))["index"]
        assert index.read_bytes() == b"garbage" * 1000

    def test_an_index_that_was_replaced_is_told(self, site: Site) -> None:
        with site.serving():
            pass
        (site.store / "index.db").write_bytes(b"garbage" * 1000)
        with site.serving():
            found = about(examine(site, code=0 if site.settings.get("server_listen") else 1), "index")
        assert [verdict for verdict, _ in found] == ["warn", "ok"]
        assert found[0][1].startswith("index.db.damaged-1 ")

    def test_what_another_user_owns_is_told(self, site: Site) -> None:
        with site.serving():
            pass
        owner = 12345 if os.geteuid() == 0 else os.geteuid()
        for path in (site.store, *site.store.iterdir()):
            if path.name != "index.db":
                os.chown(path, owner, -1)
        found = failing(examine(site, code=1))
        assert ("belong to another user" in found.get("disk", "")) is (os.geteuid() == 0)

    def test_a_budget_that_the_disk_cannot_hold_is_told(self, site: Site) -> None:
        site.settings["storage_max_size"] = "900TB"
        texts = [text for verdict, text in about(examine(site, code=1), "disk") if verdict == "warn"]
        assert texts
        assert texts[0].startswith("max_size is 900.0 TB, but there is room for")

    def test_a_folder_that_cannot_be_made_is_told(self, site: Site) -> None:
        (site.folder / "file").write_text("in the way")
        site.settings["storage_path"] = str(site.folder / "file/store")
        assert "disk" in {each["subject"] for each in examine(site, code=1)}


class TestOtherUsers:
    """Who may not see the server's files is told so, and nothing that isn't true."""

    async def test_are_told_what_they_cannot_check(self, site: Site) -> None:
        with tempfile.TemporaryDirectory() as folder:
            Path(folder).chmod(0o755)
            store = Path(folder) / "store"
            site.settings["storage_path"] = str(store)
            with site.serving():
                pass
            os.chown(store, 12345, -1)
            for mode in (0o700, 0o755):
                store.chmod(mode)
                with ordinary_user():
                    found = await run_checks(server_checks(load(None, site.env, KNOWN), None))
                for subject in ("server", "disk", "index"):
                    [finding] = [each for each in found if each.subject == subject]
                    assert finding.severity.value == "warn"
                    assert finding.text == f"not checked: user 65534 can't read {store}"

    def test_are_not_told_to_open_a_secret_to_everyone(self) -> None:
        with ordinary_user() as folder:
            secret = folder / "password"
            secret.write_text("secret")
            secret.chmod(0)
            source = {"dockerhub_username": "me", "dockerhub_password_file": str(secret)}
            environ = {f"REGISTRY_PROXY_{name.upper()}": text for name, text in source.items()}
            with pytest.raises(ConfigError) as caught:
                load(None, environ, KNOWN)
            [finding] = configuration_findings(caught.value)
        assert finding.remedy == "Run this as root, or as the server's user."


class TestUpstreams:
    def test_that_cannot_be_reached_are_told(self, site: Site, hub: RemoteUpstream) -> None:
        with outage(hub):
            found = failing(examine(site, code=1))
        assert "Connection refused" in found["upstream docker.io"]
        assert "clock" not in found

    def test_that_fail_are_told(self, site: Site, hub: RemoteUpstream) -> None:
        hub.arm("ping", Answer(status=503), times=None)
        assert ("warn", "returns 503") in about(examine(site, code=1), "upstream docker.io")

    @pytest.mark.parametrize(("password", "verdict"), [("right", "ok"), ("wrong", "fail")])
    def test_are_tried_with_the_credentials(
        self, site: Site, hub: RemoteUpstream, password: str, verdict: str
    ) -> None:
        hub.admit("me", "right")
        site.settings |= {"dockerhub_username": "me", "dockerhub_password": password}
        told = about(examine(site, code=1), "upstream docker.io")
        assert [found for found, text in told if "credentials of me" in text] == [verdict]

    def test_a_program_that_gets_no_password_is_told(self, site: Site) -> None:
        file = site.folder / "registry-proxy.toml"
        file.write_text("[upstreams.dockerhub]\nusername = 'me'\npassword_command = ['false']\n")
        assert "there are no credentials" in failing(examine(site, code=1))["upstream docker.io"]

    @pytest.mark.parametrize(("left", "verdict"), [(50, "ok"), (5, "warn"), (0, "fail")])
    def test_the_pulls_that_are_left_are_told(
        self, site: Site, hub: RemoteUpstream, left: int, verdict: str
    ) -> None:
        hub.push("library/hello-world", images.image(), "latest")
        hub.arm("manifest", Tamper(headers={"ratelimit-remaining": f"{left};w=21600"}), times=None)
        told = about(examine(site, code=1), "upstream docker.io")
        assert (verdict, f"{left} of 100 pulls in 6 h are left") in told
        assert hub.count("GET", "manifest") == 0

    def test_no_pull_is_left_after_a_refusal(self, site: Site, hub: RemoteUpstream) -> None:
        hub.arm("manifest", Answer(status=429, code="TOOMANYREQUESTS"), times=None)
        assert "no pull is left" in failing(examine(site, code=1))["upstream docker.io"]

    @pytest.mark.parametrize(("seconds", "verdict"), [(-60, "warn"), (3600, "fail")])
    def test_tell_that_the_clock_is_wrong(
        self, site: Site, hub: RemoteUpstream, seconds: int, verdict: str
    ) -> None:
        moment = datetime.datetime.now(datetime.UTC) + datetime.timedelta(seconds=seconds)
        hub.arm("ping", Tamper(headers={"Date": moment.strftime("%a, %d %b %Y %H:%M:%S GMT")}), times=None)
        [(found, text)] = about(examine(site, code=1), "clock")
        assert (found, ("behind" if seconds > 0 else "ahead of") in text) == (verdict, True)


def test_wrong_usage_is_told(site: Site) -> None:
    assert "--server requires --client" in site.run("doctor", "--server", "http://x", code=2).stderr
