"""Credentials belong together, and never show."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.config.conftest import Configuration

    from registry_proxy.config import Settings

SECRET = "correct:horse"


def password_of(settings: Settings, name: str = "ghcr") -> str:
    password = settings.upstreams[name].password
    assert password is not None
    return password.get_secret_value()


@pytest.mark.parametrize(
    "toml",
    [
        f"[upstreams.ghcr]\nusername = '{SECRET}'\npassword = 'x'",
        f"[upstreams.ghcr]\nusername = 'x'\npassword = ['{SECRET}']",
        f"[upstreams.ghcr]\nusername = 'x'\npassword = '''{SECRET}\n'''",
        f"[upstreams.ghcr]\nusername = 'x'\nurl = 'https://{SECRET}@ghcr.io'",
        f"[upstreams.ghcr]\nusername = 'x'\npassword = '{SECRET}'\nhostnam = '{SECRET}'",
        f"[upstreams.ghcr]\nusername = 'x'\npassword = '{SECRET}'\n[server]\nworkers = 'x'",
        f"[upstreams.ghcr]\npassword = '{SECRET}'",
        f"[upstreams.ghcr]\nusername = 'x'\npassword = '{SECRET}'\npassword_file = '/dev/null'",
        f"[upstreams.ghcr]\npassword = '{SECRET}\n",
    ],
)
def test_a_secret_never_shows_in_an_error(configuration: Configuration, toml: str) -> None:
    told = "\n".join(f"{problem!r} {problem}" for problem in configuration.problems(toml))
    assert "horse" not in told


def test_a_secret_in_a_broken_dotenv_line_never_shows(configuration: Configuration) -> None:
    configuration.dotenv.write_text(f"REGISTRY_PROXY_GHCR_PASSWORD='{SECRET}\n")
    assert "horse" not in str(configuration.problem())


def test_settings_hide_their_passwords(configuration: Configuration) -> None:
    settings = configuration.load(REGISTRY_PROXY_GHCR_USERNAME="me", REGISTRY_PROXY_GHCR_PASSWORD=SECRET)
    assert password_of(settings) == SECRET
    assert "horse" not in repr(settings) + str(settings) + settings.model_dump_json()


@pytest.mark.parametrize("ending", ["", "\n", "\r\n"])
def test_a_password_file_is_read_without_its_line_break(configuration: Configuration, ending: str) -> None:
    file = configuration.folder / "password"
    file.write_bytes(f" {SECRET} {ending}".encode())
    settings = configuration.load(f"[upstreams.ghcr]\nusername = 'me'\npassword_file = '{file}'")
    assert password_of(settings) == f" {SECRET} "


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (None, "No such file"),
        (b"", "is not a password"),
        (b"\n", "is not a password"),
        (b"correct\nhorse\n", "is not a password"),
        (b"correct horse\xff", "not UTF-8"),
    ],
)
def test_a_useless_password_file_is_told(
    configuration: Configuration, content: bytes | None, text: str
) -> None:
    file = configuration.folder / "password"
    if content is not None:
        file.write_bytes(content)
    problem = configuration.problem(f"[upstreams.ghcr]\nusername = 'me'\npassword_file = '{file}'")
    assert problem.key == "upstreams.ghcr.password_file"
    assert text in problem.text
    assert str(file) in problem.text
    assert "horse" not in str(problem)


@pytest.mark.parametrize(
    ("keys", "key", "text"),
    [
        ("username = 'me'", "username", "without password"),
        ("password = 'x'", "password", "without username"),
        ("password_file = '/dev/null'", "password_file", "without username"),
        (
            "username = 'me'\npassword = 'x'\npassword_file = '/dev/null'",
            "password_file",
            "is set together with password",
        ),
    ],
)
def test_credentials_belong_together(configuration: Configuration, keys: str, key: str, text: str) -> None:
    problem = configuration.problem(f"[upstreams.ghcr]\n{keys}")
    assert problem.key == f"upstreams.ghcr.{key}"
    assert text in problem.text


def test_a_password_of_the_environment_replaces_the_password_file_of_the_file(
    configuration: Configuration,
) -> None:
    toml = "[upstreams.ghcr]\nusername = 'me'\npassword_file = '/nowhere'"
    assert password_of(configuration.load(toml, REGISTRY_PROXY_GHCR_PASSWORD=SECRET)) == SECRET


def test_a_password_file_of_the_environment_replaces_the_password_of_the_file(
    configuration: Configuration,
) -> None:
    configuration.folder.joinpath("password").write_text(SECRET)
    toml = "[upstreams.ghcr]\nusername = 'me'\npassword = 'other'"
    assert password_of(configuration.load(toml, REGISTRY_PROXY_GHCR_PASSWORD_FILE="password")) == SECRET


def test_credentials_of_an_upstream_that_is_off_are_not_read(configuration: Configuration) -> None:
    configuration.load("[upstreams.ghcr]\nenabled = false\nusername = 'me'\npassword_file = '/nowhere'")


@pytest.mark.parametrize(("mode", "warns"), [(0o600, False), (0o400, False), (0o640, True), (0o604, True)])
def test_a_password_that_others_can_read_is_warned_of(
    configuration: Configuration, mode: int, warns: bool
) -> None:
    file = configuration.folder / "password"
    file.write_text(SECRET)
    file.chmod(mode)
    configuration.dotenv.write_text("REGISTRY_PROXY_QUAY_USERNAME=me\nREGISTRY_PROXY_QUAY_PASSWORD=x\n")
    configuration.dotenv.chmod(mode)
    settings = configuration.load(f"[upstreams.ghcr]\nusername = 'me'\npassword_file = '{file}'")
    assert [str(file) in warning for warning in settings.warnings if "chmod" in warning].count(True) == warns
    assert len(settings.warnings) == 2 * warns


@pytest.mark.machine  # the test changes a group
def test_a_password_that_its_owner_shares_with_the_group_of_a_service_is_not_warned_of(
    configuration: Configuration,
) -> None:
    configuration.dotenv.write_text("REGISTRY_PROXY_QUAY_USERNAME=me\nREGISTRY_PROXY_QUAY_PASSWORD=x\n")
    configuration.dotenv.chmod(0o640)
    os.chown(configuration.dotenv, 0, 65534)
    assert configuration.load().warnings == ()


def test_files_without_passwords_may_be_read_by_all(configuration: Configuration) -> None:
    configuration.file.write_text("[server]\nworkers = 1")
    configuration.file.chmod(0o644)
    configuration.dotenv.write_text("REGISTRY_PROXY_LOG_LEVEL=info\n")
    assert configuration.load().warnings == ()


@pytest.mark.parametrize(("url", "warns"), [("http://10.0.0.7:5000", True), ("http://127.0.0.1:5000", False)])
def test_a_password_over_plain_http_is_warned_of(configuration: Configuration, url: str, warns: bool) -> None:
    toml = f"[upstreams.ghcr]\nurl = '{url}'\nusername = 'me'\npassword = 'x'"
    warnings = configuration.load(toml).warnings
    assert [url in warning for warning in warnings] == [True] * warns
