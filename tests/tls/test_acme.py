"""Certificates from a real ACME server, under real names and on the real ports."""

from __future__ import annotations

import json
import os
import re
import signal
import ssl
import stat
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from tests.e2e.program import PROGRAM
from tests.kit.certificates import Authority
from tests.kit.processes import Daemon, run, running
from tests.tls.pebble import DIRECTORY, HMAC_KEY, KEY_IDENTIFIER, LIMITED_DIRECTORY, Pebble, limited
from tests.tls.place import ADDRESS, ASTRAY, GHCR, HUB, ONE, TlsServer

if TYPE_CHECKING:
    from tests.kit.sealed import SealedNetwork

ACME = {"tls_acme": DIRECTORY, "tls_agree_tos": "true", "tls_email": "admin@example.com"}


@pytest.mark.parametrize("challenge", ["tls-alpn-01", "http-01"])
def test_each_hostname_gets_a_certificate_of_its_own(
    challenge: str, network: SealedNetwork, tmp_path: Path, authority: Authority
) -> None:
    names = {"dockerhub_hostname": HUB, "ghcr_hostname": GHCR, "tls_hostnames": ONE}
    with (
        Pebble(network, tmp_path, authority) as pebble,
        TlsServer(network, tmp_path, pebble.root, **ACME, **names, tls_challenges=challenge) as server,
    ):
        for hostname in (HUB, GHCR, ONE):
            server.wait_for(hostname)
            assert server.visit(hostname).names == [hostname]
        # Two workers, but one of them is in charge.
        assert server.logged(f"({challenge})") == pebble.orders == 3
        # Answers are gone once they have been given, and what is kept is nobody else's.
        assert not list((server.store / "tls" / "challenges" / challenge).iterdir())
        for kept in (server.store / "tls").rglob("*"):
            assert kept.is_dir() or stat.S_IMODE(kept.stat().st_mode) == 0o600


def test_a_restart_keeps_certificates_and_account(
    network: SealedNetwork, tmp_path: Path, authority: Authority
) -> None:
    with Pebble(network, tmp_path, authority) as pebble:
        server = TlsServer(network, tmp_path, pebble.root, **ACME, tls_hostnames=ONE)
        with server:
            server.wait_for(ONE)
            certificate = server.visit(ONE).certificate
            assert server.stop() == 0
        with server:
            assert server.visit(ONE).certificate == certificate
            server.reload()
            server.wait_until(lambda: server.logged("were reloaded") == 2)
            assert pebble.orders == 1
        with TlsServer(network, tmp_path, pebble.root, **ACME, tls_hostnames=f"{ONE},{HUB}") as server:
            server.wait_for(HUB)
        assert (pebble.orders, pebble.accounts) == (2, 1)


def test_a_reload_gets_certificates_for_new_hostnames(
    network: SealedNetwork, tmp_path: Path, authority: Authority
) -> None:
    config = tmp_path / "registry-proxy.toml"

    def configure(*hostnames: str) -> None:
        config.write_text(f"""\
[storage]
path = "store"
[tls]
acme = "{DIRECTORY}"
agree_tos = true
hostnames = {list(hostnames)}
listen = ["{ADDRESS}:443"]
http = []
""")

    configure(ONE)
    with Pebble(network, tmp_path, authority) as pebble:
        server = TlsServer(network, tmp_path, pebble.root)
        command = [str(PROGRAM), "serve", "--config", str(config)]
        with running(Daemon(network, command, tmp_path / "log")) as daemon:
            daemon.wait_until(lambda: server.serves(ONE))
            configure(ONE, HUB)
            daemon.process.send_signal(signal.SIGHUP)
            daemon.wait_until(lambda: server.serves(HUB))
            # A worker that is started later knows them as well.
            for worker in workers_of(daemon.process.pid):
                os.kill(worker, signal.SIGKILL)
            for _ in range(10):
                assert server.visit(HUB).names == [HUB]


def workers_of(supervisor: int) -> list[int]:
    return [int(each) for each in Path(f"/proc/{supervisor}/task/{supervisor}/children").read_text().split()]


def test_an_account_that_the_authority_has_forgotten_is_made_anew(
    network: SealedNetwork, tmp_path: Path, authority: Authority
) -> None:
    for hostname in (ONE, HUB):
        with (
            Pebble(network, tmp_path, authority) as pebble,
            TlsServer(network, tmp_path, pebble.root, **ACME, tls_hostnames=hostname) as server,
        ):
            server.wait_for(hostname)


def test_short_lived_certificates_are_renewed_also_when_the_worker_in_charge_dies(
    network: SealedNetwork, tmp_path: Path, authority: Authority
) -> None:
    with (
        Pebble(network, tmp_path, authority, lifetime=12) as pebble,
        TlsServer(network, tmp_path, pebble.root, **ACME, tls_hostnames=ONE) as server,
    ):

        def in_charge() -> set[int]:
            return {int(each) for each in re.findall(r"manager\[(\d+)\]: obtained", server.log.read_text())}

        server.wait_for(ONE)
        first = server.visit(ONE).certificate
        server.wait_until(lambda: server.shown(ONE) not in {None, first})
        (process,) = in_charge()
        os.kill(process, signal.SIGKILL)
        server.wait_until(lambda: len(in_charge()) == 2)
        server.wait_for(ONE)
        assert "no certificate for" not in server.log.read_text()


def test_a_hostname_that_fails_is_explained_and_keeps_no_other_one_waiting(
    network: SealedNetwork, tmp_path: Path, authority: Authority
) -> None:
    with (
        Pebble(network, tmp_path, authority) as pebble,
        TlsServer(network, tmp_path, pebble.root, **ACME, tls_hostnames=f"{ASTRAY},{HUB}") as server,
    ):
        server.wait_for(HUB)
        server.wait_until(lambda: server.logged("attempt 1") == 1)
        line = next(line for line in server.log.read_text().splitlines() if "attempt 1" in line)
        assert f"no certificate for {ASTRAY} from {DIRECTORY} (tls-alpn-01, attempt 1): " in line
        # The CA's error message, and a fix.
        assert '"Failed to connect to 127.20.0.9:443' in line
        assert (
            "Check that the A and AAAA records resolve to this machine, and that no other server uses port 443."
            in line
        )
        with pytest.raises(ssl.SSLError, match="UNRECOGNIZED_NAME"):
            server.visit(ASTRAY)
        # A reload tries at once, and the other way.
        server.reload()
        server.wait_until(lambda: server.logged("attempt 2") == 1)
        assert "(http-01, attempt 2)" in server.log.read_text()
        assert server.secure(HUB).status == 200


@pytest.mark.parametrize(("missing", "used"), [("tls-alpn-01", "http-01"), ("http-01", "tls-alpn-01")])
def test_the_one_challenge_that_the_authority_offers_is_used_at_once(
    missing: str, used: str, network: SealedNetwork, tmp_path: Path, authority: Authority
) -> None:
    settings = {**ACME, "tls_acme": LIMITED_DIRECTORY, "tls_hostnames": ONE}
    excluded = {"tls_challenges": missing, "tls_hostnames": HUB}
    with (
        Pebble(network, tmp_path, authority) as pebble,
        running(limited(network, tmp_path, missing)),
        TlsServer(network, tmp_path, pebble.root, **settings) as server,
    ):
        server.wait_for(ONE)
        assert server.logged(f"({used})") == pebble.orders == 1
        assert "no certificate for" not in server.log.read_text()
    # A setting that excludes it is an error with the fix.
    with (
        Pebble(network, tmp_path, authority) as pebble,
        running(limited(network, tmp_path, missing)),
        TlsServer(network, tmp_path, pebble.root, **settings | excluded) as server,
    ):
        server.wait_until(lambda: server.logged("attempt 1") == 1)
        line = next(line for line in server.log.read_text().splitlines() if "attempt 1" in line)
        assert used in line
        assert f"this server responds to {missing}. Change tls.challenges" in line


def test_a_corrected_configuration_is_tried_at_once_after_a_restart(
    network: SealedNetwork, tmp_path: Path, authority: Authority
) -> None:
    wrong = {**ACME, "tls_agree_tos": "false", "tls_hostnames": ONE}
    with Pebble(network, tmp_path, authority) as pebble:
        with TlsServer(network, tmp_path, pebble.root, **wrong) as server:
            server.wait_until(lambda: server.logged("attempt 1") == 1)
        with TlsServer(network, tmp_path, pebble.root, **wrong | ACME) as server:
            server.wait_for(ONE)
            assert server.logged("no certificate for") == 1


def test_doctor_repeats_the_authoritys_words(
    network: SealedNetwork, tmp_path: Path, authority: Authority
) -> None:
    settings = {**ACME, "tls_hostnames": ASTRAY}
    with (
        Pebble(network, tmp_path, authority) as pebble,
        TlsServer(network, tmp_path, pebble.root, **settings) as server,
    ):
        server.wait_until(lambda: server.logged("attempt 1") == 1)
        findings = json.loads(server.output_of("doctor", "--json"))["findings"]
    [none] = [each for each in findings if each["subject"] == f"certificate {ASTRAY}"]
    assert none["verdict"] == "fail"
    assert "Attempt 1 to obtain one failed" in none["remedy"]
    assert '"Failed to connect to 127.20.0.9:443' in none["remedy"]
    assert "that no other server uses port 443. The next attempt is due at " in none["remedy"]


def test_a_failure_is_remembered_over_a_restart(
    network: SealedNetwork, tmp_path: Path, authority: Authority
) -> None:
    with Pebble(network, tmp_path, authority) as pebble:
        server = TlsServer(network, tmp_path, pebble.root, **ACME, tls_hostnames=ASTRAY)
        with server:
            server.wait_until(lambda: server.logged("attempt 1") == 1)
        with server:
            server.reload()
            server.wait_until(lambda: server.logged("attempt 2") == 1)
        assert pebble.orders == 2


def test_an_external_account_is_bound(network: SealedNetwork, tmp_path: Path, authority: Authority) -> None:
    root = tmp_path / "acme-root.pem"
    root.write_bytes(authority.pem)
    account = {"tls_eab_kid": KEY_IDENTIFIER, "tls_eab_hmac_key": HMAC_KEY, "tls_ca_root": str(root)}
    with (
        Pebble(network, tmp_path, authority, external_accounts=True) as pebble,
        TlsServer(network, tmp_path, pebble.root, **ACME, **account, tls_hostnames=ONE) as server,
    ):
        server.wait_for(ONE)
        assert HMAC_KEY not in server.log.read_text()


@pytest.mark.parametrize(
    ("settings", "text", "step"),
    [
        ({}, "externalAccountRequired", "Set tls.eab_kid and tls.eab_hmac_key"),
        (
            {"tls_agree_tos": "false"},
            "requires consent to its terms, data:text/plain",
            "set tls.agree_tos = true",
        ),
        ({"tls_acme": "https://acme.example.com:1/dir"}, "is unreachable: Connection refused", "tls.acme"),
        ({"tls_acme": "https://nowhere.example.com/dir"}, "is unreachable: ", "tls.acme"),
        ({"tls_acme": "https://acme.example.com:14000/nothing"}, "404", "is an ACME directory"),
        ({"tls_ca_root": "other.pem"}, "is not trusted: unable to get local issuer", "Set tls.ca_root"),
    ],
)
def test_what_the_authority_lacks_is_told_with_what_to_do(
    settings: dict[str, str],
    text: str,
    step: str,
    network: SealedNetwork,
    tmp_path: Path,
    authority: Authority,
) -> None:
    if "tls_ca_root" in settings:
        (tmp_path / "other.pem").write_bytes(Authority.create().pem)
        settings = {"tls_ca_root": str(tmp_path / "other.pem")}
    with (
        Pebble(network, tmp_path, authority, external_accounts=True) as pebble,
        TlsServer(network, tmp_path, pebble.root, **ACME | settings, tls_hostnames=ONE) as server,
    ):
        server.wait_until(lambda: server.logged("no certificate for") == 1)
        line = next(line for line in server.log.read_text().splitlines() if "no certificate for" in line)
        assert text in line
        assert step in line


def test_port_80_sends_everything_else_on_to_tls(
    network: SealedNetwork, tmp_path: Path, authority: Authority
) -> None:
    with (
        Pebble(network, tmp_path, authority) as pebble,
        TlsServer(network, tmp_path, pebble.root, **ACME, tls_hostnames=ONE) as server,
    ):
        answer = server.plain(ONE, "/v2/library/alpine/manifests/latest?ns=docker.io")
        assert answer.status == 308
        assert answer.headers["Location"] == f"https://{ONE}/v2/library/alpine/manifests/latest?ns=docker.io"
        assert server.plain(ONE, "/.well-known/acme-challenge/..%2f..%2faccount.json").status == 404
        assert server.plain(ONE, "/.well-known/acme-challenge/unknown").status == 404


def test_openssl_verifies_the_chain_as_it_is_sent(
    network: SealedNetwork, tmp_path: Path, authority: Authority
) -> None:
    with (
        Pebble(network, tmp_path, authority) as pebble,
        TlsServer(network, tmp_path, pebble.root, **ACME, tls_hostnames=ONE) as server,
    ):
        server.wait_for(ONE)
        root = tmp_path / "root.pem"
        root.write_text(pebble.root)
        where = ["-connect", f"{ADDRESS}:443", "-servername", ONE, "-verify_hostname", ONE]
        trust = ["-CAfile", str(root), "-verify_return_error", "-showcerts"]
        for version in ("-tls1_2", "-tls1_3"):
            said = run(network, ["openssl", "s_client", *where, *trust, version])
            assert "Verify return code: 0 (ok)" in said
            assert said.count("BEGIN CERTIFICATE") == 2
