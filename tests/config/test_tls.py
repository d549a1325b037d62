"""`[tls]`: own files or an ACME server, and what belongs together."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from registry_proxy.config import Address

if TYPE_CHECKING:
    from tests.config.conftest import Configuration

    from registry_proxy.config.settings import TlsSettings

ACME = "[tls]\nacme = 'letsencrypt'\nagree_tos = true\n"
NAMED = "hostnames = ['registry.example.com']\n"


def tls_of(configuration: Configuration, toml: str, **environ: str) -> TlsSettings:
    tls = configuration.load(toml, **environ).tls
    assert tls is not None
    return tls


def test_tls_is_off_without_a_word_of_it(configuration: Configuration) -> None:
    assert configuration.load("[server]\nworkers = 1").tls is None


def test_own_files_are_one_or_several_and_relative_to_the_configuration(configuration: Configuration) -> None:
    one = tls_of(configuration, "[tls]\ncert = 'a.pem'\nkey = '/k/a.key'")
    assert [*map(str, one.cert), *map(str, one.key)] == [f"{configuration.folder}/a.pem", "/k/a.key"]
    two = tls_of(configuration, "[tls]\ncert = ['/a.pem', '/b.pem']\nkey = ['/a.key', '/b.key']")
    assert [*map(str, two.cert)] == ["/a.pem", "/b.pem"]


def test_every_key_has_its_variable(configuration: Configuration) -> None:
    tls = tls_of(
        configuration,
        "",
        REGISTRY_PROXY_TLS_ACME="https://ca.example.com/acme/acme/directory",
        REGISTRY_PROXY_TLS_HOSTNAMES="a.example.com, b.example.com",
        REGISTRY_PROXY_TLS_LISTEN="127.0.0.1:8443",
        REGISTRY_PROXY_TLS_EAB_KID="kid-1",
        REGISTRY_PROXY_TLS_EAB_HMAC_KEY="c2VjcmV0",
        REGISTRY_PROXY_TLS_CHALLENGES="http-01",
        REGISTRY_PROXY_TLS_AGREE_TOS="yes",
    )
    assert tls.hostnames == ("a.example.com", "b.example.com")
    assert tls.listen == (Address("127.0.0.1", 8443),)
    assert tls.challenges == ("http-01",)
    assert tls.agree_tos
    assert tls.eab_hmac_key is not None
    assert tls.eab_hmac_key.get_secret_value() == "c2VjcmV0"


def test_files_in_variables_are_separated_by_commas(configuration: Configuration) -> None:
    tls = tls_of(
        configuration, "", REGISTRY_PROXY_TLS_CERT="/a.pem,/b.pem", REGISTRY_PROXY_TLS_KEY="/a.key,/b.key"
    )
    assert [*map(str, tls.key)] == ["/a.key", "/b.key"]


def test_the_names_to_certify_are_the_upstreams_and_further_ones(configuration: Configuration) -> None:
    hub = "[upstreams.dockerhub]\nhostname = 'hub.example.com'\n"
    settings = configuration.load(ACME + "hostnames = ['hub.example.com', 'registry.example.com']\n" + hub)
    assert settings.hostnames == ("hub.example.com", "registry.example.com")


def test_an_upstreams_hostname_is_enough(configuration: Configuration) -> None:
    assert configuration.load(ACME + "[upstreams.ghcr]\nhostname = 'ghcr.example.com'\n").hostnames


def test_the_external_account_comes_from_a_file_and_never_shows(configuration: Configuration) -> None:
    (configuration.folder / "hmac").write_text("aG9yc2U\n")
    settings = configuration.load(ACME + NAMED + "eab_kid = 'kid-1'\neab_hmac_key_file = 'hmac'")
    assert settings.tls is not None
    assert settings.tls.eab_hmac_key is not None
    assert settings.tls.eab_hmac_key.get_secret_value() == "aG9yc2U"
    assert "aG9yc2U" not in repr(settings) + settings.model_dump_json()
    assert "chmod go-r" in settings.warnings[0]


def test_plain_http_can_be_turned_off(configuration: Configuration) -> None:
    tls = tls_of(configuration, ACME + NAMED + "http = []\n[server]\nlisten = []")
    assert tls.http == ()


@pytest.mark.parametrize(
    ("toml", "key", "text", "remedy"),
    [
        ("[tls]\nlisten = ['[::]:443']", "tls.acme", "is missing, and so is cert", "delete [tls]"),
        ("[tls]\ncert = '/a.pem'", "tls.key", "has 0 files, but cert has 1", "same order"),
        ("[tls]\nkey = '/a.pem'", "tls.key", "has 1 files, but cert has 0", "same order"),
        ("[tls]\ncert = [1]\nkey = '/a'", "tls.cert", "must be a path or a list of paths", "fullchain.pem"),
        ("[tls]\ncert = ''\nkey = '/a'", "tls.cert", "is not a path", "/var"),
        (
            ACME + NAMED + "cert = '/a'\nkey = '/a'",
            "tls.acme",
            "is set together with cert",
            "Keep cert and key, or acme.",
        ),
        (ACME, "tls.hostnames", "no host name", "Set tls.hostnames"),
        ("[tls]\nacme = 'letsencrypt'\n" + NAMED, "tls.agree_tos", "consent", "agree_tos = true"),
        ("[tls]\nacme = 'letsencrypts'\n" + NAMED, "tls.acme", "not an ACME server", '"letsencrypt"'),
        ("[tls]\nacme = 'http://ca/dir'\n" + NAMED, "tls.acme", "not an ACME server", "https://"),
        (ACME + NAMED + "email = 'me'", "tls.email", "is not an e-mail", "admin@"),
        (ACME + NAMED + "eab_kid = 'a'", "tls.eab_hmac_key", "is missing", "Set eab_hmac_key"),
        (ACME + NAMED + "eab_hmac_key = 'aa'", "tls.eab_kid", "is missing", "Set eab_kid"),
        (ACME + NAMED + "eab_kid = ''\neab_hmac_key = 'aa'", "tls.eab_kid", "not a key id", "the CA"),
        (
            ACME + NAMED + "eab_kid = 'a'\neab_hmac_key = 'aa'\neab_hmac_key_file = '/b'",
            "tls.eab_hmac_key_file",
            "is set together with eab_hmac_key",
            "one of the two",
        ),
        (
            ACME + NAMED + "eab_kid = 'a'\neab_hmac_key_file = '/b'",
            "tls.eab_hmac_key_file",
            "No such",
            "path",
        ),
        (ACME + NAMED + "ca_root = '/nothing'", "tls.ca_root", "can't read /nothing", "path"),
        (
            ACME + NAMED + "challenges = ['dns-01']",
            "tls.challenges",
            "is not a list of supported challenges",
            "http-01",
        ),
        (
            ACME + NAMED + "challenges = []",
            "tls.challenges",
            "is not a list of supported challenges",
            "http-01",
        ),
        (ACME + NAMED + "challenges = ['http-01']\nhttp = []", "tls.http", "port 80", '"[::]:80"'),
        (ACME + NAMED + "listen = []", "tls.listen", "has no address", "443"),
        (ACME + NAMED + "http = ['[::]:443']", "tls.http", "[::]:443 is already in tls.listen", "Change"),
        (ACME + NAMED + "listen = ['[::]:80']", "tls.http", "[::]:80 is already in tls.listen", "Change"),
        (
            ACME + NAMED + "listen = ['0.0.0.0:443', '[::]:443']\nhttp = []",
            "tls.listen",
            "[::]:443 and 0.0.0.0:443 of tls.listen overlap",
            "[::] includes every address",
        ),
        (
            ACME + NAMED + "[server]\nlisten = ['127.0.0.1:443']",
            "tls.listen",
            "[::]:443 and 127.0.0.1:443 of server.listen overlap",
            "Keep one",
        ),
        (ACME + NAMED + "hostnames2 = []", "tls.hostnames2", "is not a known key", "hostnames?"),
    ],
)
def test_a_mistake_is_told_with_key_and_remedy(
    configuration: Configuration, toml: str, key: str, text: str, remedy: str
) -> None:
    problem = configuration.problem(toml)
    assert problem.key == key
    assert text in problem.text
    assert remedy in problem.remedy


def test_a_wrong_external_account_key_never_shows(configuration: Configuration) -> None:
    problem = configuration.problem(ACME + NAMED + "eab_kid = 'a'\neab_hmac_key = 'correct horse'")
    assert "horse" not in f"{problem!r} {problem}"
