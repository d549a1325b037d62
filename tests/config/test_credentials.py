"""Credentials from programs, and of some paths of a registry."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.config.conftest import Configuration

    from registry_proxy.config.settings import CredentialSettings

SECRET = "correct:horse"


def password_of(settings: CredentialSettings) -> str:
    assert settings.password is not None
    return settings.password.get_secret_value()


def test_a_command_is_a_list_of_arguments_with_a_lifetime(configuration: Configuration) -> None:
    keys = "username = 'AWS'\npassword_command = ['sh', '-c', 'echo a, b']\npassword_lifetime = '11h'"
    upstream = configuration.load(f"[upstreams.corp]\nregistry = 'corp.example'\n{keys}").upstreams["corp"]
    assert upstream.password_command == ("sh", "-c", "echo a, b")
    assert upstream.password_lifetime == 11 * 3600
    assert upstream.password is None


def test_a_command_of_the_environment_is_separated_by_commas(configuration: Configuration) -> None:
    settings = configuration.load(
        REGISTRY_PROXY_GHCR_USERNAME="me", REGISTRY_PROXY_GHCR_PASSWORD_COMMAND="cat,/run/secret"
    )
    assert settings.upstreams["ghcr"].password_command == ("cat", "/run/secret")


@pytest.mark.parametrize(
    ("program", "expected"), [("./token", "token"), ("bin/token", "bin/token"), ("/bin/cat", "/bin/cat")]
)
def test_a_program_with_a_slash_starts_at_the_file_that_names_it(
    configuration: Configuration, program: str, expected: str
) -> None:
    toml = f"[upstreams.ghcr]\nusername = 'me'\npassword_command = ['{program}', './argument']"
    command = configuration.load(toml).upstreams["ghcr"].password_command
    assert (Path(command[0]), command[1]) == (configuration.folder / expected, "./argument")


def test_a_program_at_home_is_found(configuration: Configuration, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/me")
    toml = "[upstreams.ghcr]\nusername = 'me'\npassword_command = ['~/bin/token']"
    assert configuration.load(toml).upstreams["ghcr"].password_command == ("/home/me/bin/token",)


def test_a_program_that_is_missing_is_warned_of(configuration: Configuration) -> None:
    toml = "[upstreams.ghcr]\ncredential_helper = 'nowhere'\n[upstreams.quay.paths.acme]\ncredential_helper = 'no'"
    warnings = configuration.load(toml).warnings
    assert ["docker-credential-nowhere" in warning for warning in warnings] == [True, False]
    assert ["docker-credential-no," in warning for warning in warnings] == [False, True]


def test_a_program_that_is_there_is_not_warned_of(configuration: Configuration) -> None:
    toml = "[upstreams.ghcr]\nusername = 'me'\npassword_command = ['cat']"
    assert configuration.load(toml).warnings == ()


@pytest.mark.parametrize(
    ("keys", "key", "text"),
    [
        ("password_command = ['cat']", "password_command", "without username"),
        ("username = 'me'\npassword_command = 'cat x'", "password_command", "must be a list of strings"),
        ("username = 'me'\npassword_command = []", "username", "without password"),
        ("username = 'me'\npassword_command = ['']", "password_command", "has no program"),
        ("username = 'me'\npassword_command = ['a\\u0000b']", "password_command", "has no program"),
        (
            "username = 'me'\npassword = 'x'\npassword_command = ['x']",
            "password_command",
            "is set together with password",
        ),
        ("username = 'me'\ncredential_helper = 'pass'", "username", "is set together with credential_helper"),
        ("password = 'x'\ncredential_helper = 'pass'", "credential_helper", "is set together with password"),
        ("credential_helper = '../evil'", "credential_helper", "is not a credential helper"),
        ("credential_helper = 'a b'", "credential_helper", "is not a credential helper"),
        ("password_lifetime = '2h'", "password_lifetime", "without password_command"),
        (
            "username = 'me'\npassword = 'x'\npassword_lifetime = '2h'",
            "password_lifetime",
            "without password_c",
        ),
        ("credential_helper = 'x'\npassword_lifetime = 0", "password_lifetime", "out of range"),
    ],
)
def test_mistakes_are_told_with_their_key(
    configuration: Configuration, keys: str, key: str, text: str
) -> None:
    keys = keys.replace("'a\\u0000b'", '"a\\u0000b"')
    problem = configuration.problem(f"[upstreams.ghcr]\n{keys}")
    assert problem.key == f"upstreams.ghcr.{key}"
    assert text in problem.text


def test_a_secret_in_a_command_never_shows_in_an_error(configuration: Configuration) -> None:
    toml = f"[upstreams.ghcr]\nusername = 'me'\npassword_command = 'echo {SECRET}'"
    assert "horse" not in str(configuration.problem(toml))


@pytest.mark.parametrize(
    ("variables", "source"),
    [
        ({"USERNAME": "you", "PASSWORD": SECRET}, "password"),
        ({"CREDENTIAL_HELPER": "pass"}, "credential_helper"),
        ({"PASSWORD_COMMAND": "cat,/x"}, "password_command"),
    ],
)
def test_the_environment_replaces_where_the_file_takes_the_password_from(
    configuration: Configuration, variables: dict[str, str], source: str
) -> None:
    toml = "[upstreams.ghcr]\nusername = 'me'\npassword_command = ['cat']\npassword_lifetime = '2h'"
    upstream = configuration.load(
        toml, **{f"REGISTRY_PROXY_GHCR_{name}": value for name, value in variables.items()}
    ).upstreams["ghcr"]
    set_ = upstream.model_dump(include={"password", "password_command", "credential_helper"})
    assert [name for name, value in set_.items() if value] == [source]


def test_a_password_of_the_environment_replaces_a_helper(configuration: Configuration) -> None:
    upstream = configuration.load(
        "[upstreams.ghcr]\ncredential_helper = 'pass'",
        REGISTRY_PROXY_GHCR_USERNAME="me",
        REGISTRY_PROXY_GHCR_PASSWORD=SECRET,
    ).upstreams["ghcr"]
    assert (upstream.credential_helper, password_of(upstream)) == (None, SECRET)


# Paths


def test_paths_have_credentials_of_their_own(configuration: Configuration) -> None:
    configuration.folder.joinpath("acme.password").write_text(f"{SECRET}\n")
    upstream = configuration.load(
        "[upstreams.ghcr]\nusername = 'me'\npassword = 'x'\n"
        "[upstreams.ghcr.paths.acme]\nusername = 'acme'\npassword_file = 'acme.password'\n"
        "[upstreams.ghcr.paths.'acme/a_b']\ncredential_helper = 'pass'\n"
    ).upstreams["ghcr"]
    assert list(upstream.paths) == ["acme", "acme/a_b"]
    assert password_of(upstream.paths["acme"]) == SECRET
    assert upstream.paths["acme/a_b"].credential_helper == "pass"
    assert password_of(upstream) == "x"


def test_paths_need_no_general_credentials(configuration: Configuration) -> None:
    upstream = configuration.load(
        "[upstreams.ghcr.paths.acme]\nusername = 'acme'\npassword = 'x'\n"
    ).upstreams["ghcr"]
    assert upstream.username is None
    assert password_of(upstream.paths["acme"]) == "x"


@pytest.mark.parametrize(
    ("toml", "key", "text"),
    [
        ("[upstreams.ghcr]\npaths = 3", "paths", "is not a table"),
        ("[upstreams.ghcr.paths]\nacme = 3", "paths.acme", "is not a table"),
        ("[upstreams.ghcr.paths.acme]", "paths.acme", "has no keys"),
        ("[upstreams.ghcr.paths.'acme/*']\nusername = 'x'", 'paths."acme/*"', "is not a repository"),
        ("[upstreams.ghcr.paths.'/acme']\nusername = 'x'", 'paths."/acme"', "is not a repository"),
        ("[upstreams.ghcr.paths.'ACME']\nusername = 'x'", "paths.ACME", "is not a repository"),
        ("[upstreams.ghcr.paths.'a/b']\nusername = 'x'", 'paths."a/b".username', "without password"),
        ("[upstreams.ghcr.paths.a]\nhostname = 'x'", "paths.a.hostname", "is not a known key"),
        (
            "[upstreams.ghcr.paths.a]\nusername = 'x'\npassword_file = '/nowhere'",
            "paths.a.password_file",
            "No such",
        ),
    ],
)
def test_mistakes_in_paths_are_told_with_their_key(
    configuration: Configuration, toml: str, key: str, text: str
) -> None:
    problem = configuration.problem(toml)
    assert problem.key == f"upstreams.ghcr.{key}"
    assert text in problem.text


def test_paths_have_no_variables(configuration: Configuration) -> None:
    assert "not a known variable" in configuration.problem(REGISTRY_PROXY_GHCR_PATHS="acme").text


def test_passwords_of_paths_are_hidden_and_warned_of(configuration: Configuration) -> None:
    file = configuration.folder / "password"
    file.write_text(SECRET)
    file.chmod(0o644)
    settings = configuration.load(
        "[upstreams.ghcr]\nurl = 'http://10.0.0.1:5000'\n"
        f"[upstreams.ghcr.paths.acme]\nusername = 'acme'\npassword_file = '{file}'\n"
    )
    assert "horse" not in repr(settings) + settings.model_dump_json()
    assert len(settings.warnings) == 2
    assert "unencrypted" in settings.warnings[1]
    assert str(file) in settings.warnings[0]
