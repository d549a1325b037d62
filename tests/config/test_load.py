from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from registry_proxy.config import Address, load
from registry_proxy.upstream import presets

if TYPE_CHECKING:
    from tests.config.conftest import Configuration

PRESETS = {preset.name: preset for preset in presets.PRESETS}
FIVE = ["dockerhub", "ghcr", "quay", "gcr", "k8s"]


def test_without_a_file_the_five_presets_run_on_loopback(configuration: Configuration) -> None:
    settings = configuration.load()
    assert settings.server.listen == (Address("127.0.0.1", 5000),)
    assert list(settings.upstreams) == FIVE
    assert settings.upstreams["dockerhub"].registry == "docker.io"
    assert settings.upstreams["dockerhub"].url == "https://registry-1.docker.io"
    assert settings.warnings == ()


def test_every_key_of_the_file_is_read(configuration: Configuration) -> None:
    settings = configuration.load("""
        [server]
        listen = ["0.0.0.0:80", "[::1]:80"]
        workers = 3
        grace_period = "1m30s"
        header_timeout = 5
        idle_timeout = "2m"
        [storage]
        path = "/srv/cache"
        max_size = "1TB"
        [cache]
        tag_ttl = "0s"
        deleted_upstream = "drop"
        access_ttl = "1d"
        [upstreams.own]
        registry = "Registry.example.com:5000"
        url = "http://10.0.0.7:5000/"
        hostname = "Cache.Example.com."
        username = "me"
        password = "secret"
        realms = ["auth.example.com"]
        [log]
        level = "debug"
        format = "json"
    """)
    server = settings.server
    assert server.listen == (Address("0.0.0.0", 80), Address("::1", 80))
    assert (server.workers, server.grace_period, server.header_timeout, server.idle_timeout) == (
        3,
        90,
        5,
        120,
    )
    assert (settings.storage.path, settings.storage.max_size) == (Path("/srv/cache"), 10**12)
    assert settings.cache.model_dump() == {
        "tag_ttl": 0,
        "deleted_upstream": "drop",
        "access_ttl": 86400,
        "least_rate": 1024,
    }
    assert settings.log.model_dump() == {"level": "debug", "format": "json"}
    own = settings.upstreams["own"]
    assert (own.registry, own.url) == ("registry.example.com:5000", "http://10.0.0.7:5000")
    assert (own.hostname, own.username, own.realms) == ("cache.example.com", "me", ("auth.example.com",))
    assert own.password is not None
    assert own.password.get_secret_value() == "secret"


def test_settings_cannot_be_changed(configuration: Configuration) -> None:
    settings = configuration.load()
    with pytest.raises(ValueError, match="frozen"):
        settings.server.workers = 4


def test_a_table_adds_to_the_five_and_turns_a_known_registry_on(configuration: Configuration) -> None:
    settings = configuration.load("[upstreams.gitlab]\n[upstreams.dockerhub]\nhostname = 'hub.example.com'")
    assert sorted(settings.upstreams) == sorted([*FIVE, "gitlab"])
    assert settings.upstreams["gitlab"].url == "https://registry.gitlab.com"
    assert settings.upstreams["dockerhub"].url == "https://registry-1.docker.io"


def test_an_upstream_can_be_turned_off(configuration: Configuration) -> None:
    assert "quay" not in configuration.load("[upstreams.quay]\nenabled = false").upstreams


def test_another_registry_in_a_preset_gets_its_own_url(configuration: Configuration) -> None:
    gcr = configuration.load("[upstreams.gcr]\nregistry = 'eu.gcr.io'").upstreams["gcr"]
    assert (gcr.registry, gcr.url) == ("eu.gcr.io", "https://eu.gcr.io")


def test_variables_set_every_kind_of_key(configuration: Configuration) -> None:
    settings = configuration.load(
        REGISTRY_PROXY_SERVER_LISTEN="0.0.0.0:5000, [::1]:5000",
        REGISTRY_PROXY_SERVER_WORKERS="2",
        REGISTRY_PROXY_STORAGE_MAX_SIZE="20GB",
        REGISTRY_PROXY_CACHE_TAG_TTL="5",
        REGISTRY_PROXY_LOG_FORMAT="json",
        REGISTRY_PROXY_K8S_ENABLED="false",
        REGISTRY_PROXY_QUAY_REALMS="a.example.com,b.example.com",
    )
    assert settings.server.listen == (Address("0.0.0.0", 5000), Address("::1", 5000))
    assert settings.server.workers == 2
    assert settings.storage.max_size == 20 * 10**9
    assert settings.cache.tag_ttl == 5
    assert settings.log.format == "json"
    assert "k8s" not in settings.upstreams
    assert settings.upstreams["quay"].realms == ("a.example.com", "b.example.com")


def test_a_variable_turns_a_known_registry_on(configuration: Configuration) -> None:
    settings = configuration.load(REGISTRY_PROXY_ECR_PUBLIC_HOSTNAME="ecr.example.com")
    assert settings.upstreams["ecr-public"].hostname == "ecr.example.com"


def test_variables_make_an_upstream_by_its_registry(configuration: Configuration) -> None:
    settings = configuration.load(
        REGISTRY_PROXY_MY_PASSWORD_REGISTRY="registry.example.com",
        REGISTRY_PROXY_MY_PASSWORD_HOSTNAME="mine.example.com",
    )
    assert settings.upstreams["my-password"].hostname == "mine.example.com"


def test_the_environment_wins_over_dotenv_and_that_over_the_file(configuration: Configuration) -> None:
    configuration.dotenv.write_text(
        "REGISTRY_PROXY_SERVER_WORKERS=2\nREGISTRY_PROXY_LOG_LEVEL=error\nOTHER=ignored\n"
    )
    settings = configuration.load(
        "[server]\nworkers = 1\n[log]\nlevel = 'debug'\nformat = 'json'", REGISTRY_PROXY_SERVER_WORKERS="3"
    )
    assert (settings.server.workers, settings.log.level, settings.log.format) == (3, "error", "json")


def test_without_a_file_dotenv_of_the_working_directory_counts(configuration: Configuration) -> None:
    configuration.dotenv.write_text("export REGISTRY_PROXY_SERVER_WORKERS='7'  # as many\n")
    assert configuration.load().server.workers == 7


def test_a_dollar_in_dotenv_stands_for_itself(configuration: Configuration) -> None:
    configuration.dotenv.write_text(
        "REGISTRY_PROXY_GHCR_USERNAME=me\nREGISTRY_PROXY_GHCR_PASSWORD=a${HOME}$b\n"
    )
    password = configuration.load().upstreams["ghcr"].password
    assert password is not None
    assert password.get_secret_value() == "a${HOME}$b"


def test_empty_variables_count_as_absent(configuration: Configuration) -> None:
    settings = configuration.load(REGISTRY_PROXY_GHCR_USERNAME="", REGISTRY_PROXY_SERVER_WORKERS="")
    assert settings.upstreams["ghcr"].username is None
    assert settings.server.workers == 0


def test_relative_paths_start_at_the_file_that_names_them(configuration: Configuration) -> None:
    configuration.folder.joinpath("password").write_text("secret\n")
    settings = configuration.load(
        "[storage]\npath = 'cache'\n[upstreams.ghcr]\nusername = 'me'\npassword_file = 'password'"
    )
    assert settings.storage.path == configuration.folder / "cache"
    assert settings.upstreams["ghcr"].password_file == configuration.folder / "password"


def test_relative_paths_in_the_environment_start_at_the_working_directory(
    configuration: Configuration, monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> None:
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    monkeypatch.chdir(elsewhere)
    assert configuration.load("", REGISTRY_PROXY_STORAGE_PATH="cache").storage.path == elsewhere / "cache"


def test_a_tilde_stands_for_the_home_folder(
    configuration: Configuration, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", "/home/me")
    assert configuration.load("[storage]\npath = '~/cache'").storage.path == Path("/home/me/cache")


def test_drafts_are_taken_instead_of_what_the_files_hold(configuration: Configuration) -> None:
    configuration.file.write_text("[log]\nlevel = 'debug'\n")
    drafts = {
        configuration.file: "[upstreams.ghcr]\nusername = 'me'\n",
        configuration.dotenv: "REGISTRY_PROXY_GHCR_PASSWORD=p\n",
    }
    settings = load(configuration.file, configuration.environ, PRESETS, drafts)
    password = settings.upstreams["ghcr"].password
    assert password is not None
    assert (settings.log.level, password.get_secret_value()) == ("info", "p")
    assert not configuration.dotenv.exists()
