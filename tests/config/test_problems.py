from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.config.conftest import Configuration


@pytest.mark.parametrize(
    ("toml", "key", "text", "remedy"),
    [
        ("[serve]", "serve", "not a known table", "Did you mean server?"),
        (
            "[colour]",
            "colour",
            "not a known table",
            "[server], [storage], [cache], [access], [tls], [log], [upstreams]",
        ),
        ("workers = 1", "workers", "outside of any table", "The tables are"),
        ("server = 1", "server", "is not a table", "Write [server]"),
        ("upstreams = 1", "upstreams", "is not a table", "Write [upstreams]"),
        ("upstreams.ghcr = 1", "upstreams.ghcr", "is not a table", "Write [upstreams.ghcr]"),
        ("[upstreams.'ghcr.io']", 'upstreams."ghcr.io"', "can't be the name", "lower-case letters"),
        ("[upstreams.server]", "upstreams.server", "can't be the name", "none of server"),
        ("[server]\nlisen = []", "server.lisen", "is not a known key", "Did you mean listen?"),
        (
            "[server]\nxyz = 1",
            "server.xyz",
            "is not a known key",
            "Known keys are listen, hostnames, public_url, workers",
        ),
        ("[upstreams.ghcr]\nhostnam = 'a'", "upstreams.ghcr.hostnam", "is not a known key", "mean hostname?"),
        ("[server]\nlisten = '1.2.3.4:5'", "server.listen", "must be a list of strings", '["127.0.0.1:5000"'),
        ("[server]\nlisten = []", "server.listen", "has no address", '["127.0.0.1:5000"'),
        ("[server]\nlisten = ['a:1', 'a:1']", "server.listen", "has an address twice", '["127.0.0.1:5000"'),
        ("[server]\nlisten = ['a:1', 'b']", "server.listen", "is not an address", '"[::]:5000"'),
        ("[server]\nworkers = '2'", "server.workers", '"2" must be an integer', "without quotes"),
        ("[server]\nworkers = true", "server.workers", "true must be an integer", "without quotes"),
        ("[server]\nworkers = -1", "server.workers", "-1 is out of range", "greater than or equal to 0"),
        ("[server]\ngrace_period = '1 min'", "server.grace_period", '"1 min" is not a duration', '"5m"'),
        ("[server]\ngrace_period = true", "server.grace_period", "true is not a duration", '"5m"'),
        ("[server]\nheader_timeout = 0", "server.header_timeout", "0 is out of range", "greater than 0"),
        ("[storage]\nmax_size = '1X'", "storage.max_size", '"1X" is not a size', '"100GiB"'),
        ("[storage]\nmax_size = 1.5", "storage.max_size", "1.5 is not a size", '"100GiB"'),
        ("[storage]\npath = ''", "storage.path", "is not a path", "/var/lib/registry-proxy"),
        ("[storage]\npath = 1", "storage.path", "1 must be a string", "quotes"),
        (
            "[cache]\ndeleted_upstream = 'kep'",
            "cache.deleted_upstream",
            "not a known value",
            "'keep' or 'drop'",
        ),
        ("[log]\nlevel = 'loud'", "log.level", '"loud" is not a known value', "'debug', 'info'"),
        (
            "[upstreams.ghcr]\nenabled = 1",
            "upstreams.ghcr.enabled",
            "1 must be true or false",
            "without quotes",
        ),
        (
            "[upstreams.ghcr]\nhostname = 'a/b'",
            "upstreams.ghcr.hostname",
            "is not a host name",
            "without scheme",
        ),
        ("[upstreams.ghcr]\nhostname = 'bücher.de'", "upstreams.ghcr.hostname", "not a host name", "xn--"),
        ("[upstreams.ghcr]\nrealms = ['https://x']", "upstreams.ghcr.realms", "is not a host name", "scheme"),
        (
            "[upstreams.ghcr]\nallow_redirects_to = ['storage.example.com']",
            "upstreams.ghcr.allow_redirects_to",
            "has an invalid network",
            "10.0.0.0/8",
        ),
        (
            "[upstreams.ghcr]\nrealms = 'x'",
            "upstreams.ghcr.realms",
            "must be a list of strings",
            "auth.example.com",
        ),
        (
            "[upstreams.x]\nregistry = 'https://a.b'",
            "upstreams.x.registry",
            "is not a registry",
            "image names",
        ),
        ("[upstreams.x]\nregistry = 'acme'", "upstreams.x.registry", "is not a registry", "image names"),
        ("[upstreams.gitlb]", "upstreams.gitlb", "not a known upstream", "Did you mean gitlab?"),
        ("[upstreams.x]\nhostname = 'a.b'", "upstreams.x", "not a known upstream", 'registry = "'),
        (
            "[upstreams.x]\nregistry = 'docker.io'",
            "upstreams.x.registry",
            "upstreams.dockerhub",
            "enabled = false",
        ),
    ],
)
def test_a_mistake_is_told_with_key_and_remedy(
    configuration: Configuration, toml: str, key: str, text: str, remedy: str
) -> None:
    problem = configuration.problem(toml)
    assert (problem.origin, problem.key) == (str(configuration.file), key)
    assert text in problem.text
    assert remedy in problem.remedy


@pytest.mark.parametrize(
    "url",
    [
        "ghcr.io",
        "ftp://ghcr.io",
        "https://",
        "https://ghcr.io/v2/",
        "https://a b",
        "https://ghcr.io?x=1",
        "https://a:b",
    ],
)
def test_an_url_is_a_scheme_and_a_host(configuration: Configuration, url: str) -> None:
    problem = configuration.problem(f"[upstreams.ghcr]\nurl = '{url}'")
    assert problem.key == "upstreams.ghcr.url"
    assert "is not the address of a registry" in problem.text


def test_all_mistakes_are_told_at_once(configuration: Configuration) -> None:
    configuration.dotenv.write_text("REGISTRY_PROXY_GHC_URL=x\n'oops\n")
    problems = configuration.problems(
        "[server]\nworkers = 'x'\nlisten = 1\n[upstreams.ghcr]\nurl = 'x'\n[upstreams.quay]\nusername = 'x'",
        REGISTRY_PROXY_SERVER_WORKER="1",
    )
    assert len(problems) == 7


def test_a_line_that_is_not_toml_is_named(configuration: Configuration) -> None:
    problem = configuration.problem("[server]\nworkers = two\n")
    assert problem.origin == str(configuration.file)
    assert "line 2" in problem.text


def test_a_file_that_cannot_be_read_is_named(configuration: Configuration) -> None:
    configuration.file.mkdir()
    problem = configuration.problem()
    assert problem.origin == str(configuration.file)
    assert "Is a directory" in problem.text


def test_a_file_that_is_not_text_is_named(configuration: Configuration) -> None:
    configuration.file.write_bytes(b"\xff\xfe")
    assert "UTF-8" in configuration.problem().text


@pytest.mark.parametrize(
    ("name", "nearest"),
    [
        ("REGISTRY_PROXY_DOCKERHUB_USERNAM", "REGISTRY_PROXY_DOCKERHUB_USERNAME"),
        ("REGISTRY_PROXY_DOCKER_HUB_USERNAME", "REGISTRY_PROXY_DOCKERHUB_USERNAME"),
        ("REGISTRY_PROXY_GHRC_PASSWORD", "REGISTRY_PROXY_GHCR_PASSWORD"),
        ("REGISTRY_PROXY_SERVER_LISTN", "REGISTRY_PROXY_SERVER_LISTEN"),
        ("REGISTRY_PROXY_LOGLEVEL", "REGISTRY_PROXY_LOG_LEVEL"),
    ],
)
def test_an_unknown_variable_is_told_with_the_nearest(
    configuration: Configuration, name: str, nearest: str
) -> None:
    problem = configuration.problem(**{name: "hidden"})
    assert name in problem.origin
    assert problem.remedy == f"Did you mean {nearest}?"
    assert "hidden" not in str(problem)


def test_a_variable_like_no_other_is_told_where_to_look(configuration: Configuration) -> None:
    assert "docs/configuration.md" in configuration.problem(REGISTRY_PROXY_ZZZ="1").remedy


@pytest.mark.parametrize(
    ("variable", "value", "key"),
    [
        ("REGISTRY_PROXY_SERVER_WORKERS", "many", "server.workers"),
        ("REGISTRY_PROXY_GHCR_ENABLED", "perhaps", "upstreams.ghcr.enabled"),
        ("REGISTRY_PROXY_SERVER_LISTEN", ",", "server.listen"),
        ("REGISTRY_PROXY_MY_REGISTRY", "nodots", "upstreams.my.registry"),
    ],
)
def test_a_wrong_value_of_a_variable_is_told_with_its_name(
    configuration: Configuration, variable: str, value: str, key: str
) -> None:
    problem = configuration.problem(**{variable: value})
    assert (problem.origin, problem.key) == (f"environment variable {variable}", key)


def test_mistakes_in_dotenv_are_told_with_their_lines(configuration: Configuration) -> None:
    configuration.dotenv.write_text("# one\n\nREGISTRY_PROXY_LOG_LEVEL=loud\n'oops\nREGISTRY_PROXY_LOG=x\n")
    origins = {problem.origin for problem in configuration.problems()}
    assert origins == {f"{configuration.dotenv.name}, line {line}" for line in (3, 4, 5)}


@pytest.mark.parametrize("key", ["hostname", "registry"])
def test_upstreams_that_clash_are_both_named(configuration: Configuration, key: str) -> None:
    values = {name: {"registry": f"{name}.example.com", key: "same.example.com"} for name in ("one", "two")}
    toml = "".join(
        f"[upstreams.{name}]\n" + "".join(f"{key} = '{value}'\n" for key, value in table.items())
        for name, table in values.items()
    )
    problem = configuration.problem(toml)
    assert problem.key == f"upstreams.two.{key}"
    assert "same.example.com" in problem.text
    assert "upstreams.one" in problem.text


def test_an_upstream_that_is_off_does_not_clash(configuration: Configuration) -> None:
    settings = configuration.load(
        "[upstreams.dockerhub]\nenabled = false\n[upstreams.hub]\nregistry = 'docker.io'\nurl = 'https://mirror.example.com'"
    )
    assert settings.upstreams["hub"].registry == "docker.io"


def test_no_upstream_at_all_is_a_mistake(configuration: Configuration) -> None:
    off = "".join(
        f"[upstreams.{name}]\nenabled = false\n" for name in ("dockerhub", "ghcr", "quay", "gcr", "k8s")
    )
    problem = configuration.problem(off)
    assert problem.key == "upstreams"
    assert "every upstream is off" in problem.text
