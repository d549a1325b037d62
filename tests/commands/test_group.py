from __future__ import annotations

import json
import socket
import subprocess
import tomllib
from typing import TYPE_CHECKING

import pytest
from tests.commands.program import PROGRAM
from tests.kit.certificates import Authority

from registry_proxy import __version__
from registry_proxy.commands.group import COMMANDS

if TYPE_CHECKING:
    from tests.commands.program import Program


@pytest.mark.parametrize("argument", ["--version", "version"])
def test_the_version_is_shown(program: Program, argument: str) -> None:
    assert program(argument).stdout == f"registry-proxy {__version__}\n"


def test_help_shows_what_the_option_of_the_command_shows(program: Program) -> None:
    assert program("help", "ls").stdout == program("ls", "--help").stdout
    assert program("help").stdout == program("--help").stdout
    assert "Did you mean 'ls'?" in program("help", "lss", code=2).stderr


@pytest.mark.parametrize(
    ("words", "completed"),
    [
        ("registry-proxy check-", ["check-config"]),
        ("registry-proxy help stat", ["status"]),
        ("registry-proxy ls --so", ["--sort"]),
        ("registry-proxy ls --sort u", ["used"]),
        ("registry-proxy ls --bogus x", []),
        ("registry-proxy bogus --", ["--debug", "--version", "--install-completion", "--show-completion"]),
    ],
)
def test_commands_options_and_values_are_completed(
    program: Program, words: str, completed: list[str]
) -> None:
    script = program("version", _REGISTRY_PROXY_COMPLETE="source_bash").stdout
    # As bash calls the function that the script defines.
    typed = " ".join(words.split())
    ask = f"COMP_WORDS=({typed}); COMP_CWORD={len(typed.split()) - 1}; _registry_proxy_completion {PROGRAM}"
    done = subprocess.run(
        ["bash", "-c", f'{script}\n{ask}; printf "%s\\n" "${{COMPREPLY[@]}}"'],
        env=program.environ,
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert done.stderr == ""
    assert done.stdout.split()[: len(completed)] == completed


@pytest.mark.parametrize("command", COMMANDS)
def test_the_help_of_every_command_ends_with_an_example(program: Program, command: str) -> None:
    text = program(command, "--help").stdout
    assert text.startswith(f"Usage: registry-proxy {command} [")
    assert "-h, --help" in text
    last = text.strip().splitlines()[-1].strip()
    several = command in {"config", "client"}
    assert last.startswith(f"{'' if several else 'Example: '}registry-proxy {command}")


def test_the_help_lists_the_commands_in_order(program: Program) -> None:
    listed = program("--help").stdout.split("Commands:\n")[1].split("\n\n")[0].splitlines()
    assert [line.split(maxsplit=1) for line in listed] == [
        [name, text] for name, (_, text) in COMMANDS.items()
    ]


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["serv"], "Did you mean 'serve'?"),
        (["serve", "--confg", "x"], "--config"),
        (["check-config", "--config", "missing.toml"], "missing.toml"),
    ],
)
def test_wrong_usage_says_so_and_exits_2(program: Program, arguments: list[str], text: str) -> None:
    done = program(*arguments, code=2)
    assert text in done.stderr
    assert done.stdout == ""


@pytest.mark.parametrize("command", ["serve", "check-config", "verify"])
def test_a_wrong_configuration_is_told_in_full_and_exits_2(program: Program, command: str) -> None:
    file = program.folder / "registry-proxy.toml"
    file.write_text("[server]\nlisen = 1\n[log]\nlevel = 'loud'\n")
    done = program(command, code=2, REGISTRY_PROXY_GHCR_URI="x")
    assert "server.lisen: is not a known key. Did you mean listen?" in done.stderr
    assert "log.level" in done.stderr
    assert "Did you mean REGISTRY_PROXY_GHCR_URL?" in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout == ""


def test_a_port_that_is_taken_is_told_with_the_next_step(program: Program) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        done = program("serve", code=1, REGISTRY_PROXY_SERVER_LISTEN=address)
    assert f"cannot listen on {address}" in done.stderr
    assert "server.listen" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_traceback_is_shown_on_demand(program: Program) -> None:
    program.folder.joinpath("registry-proxy.toml").write_text("oops")
    assert "Traceback" in program("--debug", "check-config", code=1).stderr


@pytest.mark.parametrize("arguments", [[], ["--json"]])
def test_the_settings_are_shown_without_passwords(program: Program, arguments: list[str]) -> None:
    done = program(
        "check-config",
        *arguments,
        REGISTRY_PROXY_GHCR_USERNAME="me",
        REGISTRY_PROXY_GHCR_PASSWORD="hunter2",
        REGISTRY_PROXY_CACHE_TAG_TTL="90",
    )
    shown = json.loads(done.stdout) if arguments else tomllib.loads(done.stdout)
    assert shown["cache"]["tag_ttl"] == "1m30s"
    assert shown["upstreams"]["ghcr"]["username"] == "me"
    assert set(shown["upstreams"]["ghcr"]["password"]) == {"*"}
    assert "hunter2" not in done.stdout + done.stderr


def test_the_settings_that_are_shown_can_be_used(program: Program) -> None:
    shown = program("check-config", REGISTRY_PROXY_MY_REGISTRY="registry.example.com").stdout
    program.folder.joinpath("registry-proxy.toml").write_text(shown)
    assert program("check-config").stdout == shown


def test_files_that_the_server_could_not_use_are_told_together_and_exit_2(program: Program) -> None:
    (program.folder / "cert.pem").write_bytes(
        Authority.create().ca.issue_cert("a.test").cert_chain_pems[0].bytes()
    )
    (program.folder / "registry-proxy.toml").write_text(
        "[tls]\ncert = 'cert.pem'\nkey = 'missing.key'\n[access]\nhtpasswd = 'missing.users'\n"
    )
    done = program("check-config", code=2)
    assert f"can't read the key {program.folder}/missing.key: No such file or directory. Fix" in done.stderr
    assert f"{program.folder}/missing.users: access.htpasswd" in done.stderr
    assert done.stdout == ""


def test_a_client_ca_is_checked_without_certificate_files_too(program: Program) -> None:
    (program.folder / "registry-proxy.toml").write_text(
        "[tls]\nacme = 'https://ca.test/'\nhostnames = ['a.test']\n[access]\nclient_ca = 'none.pem'\n"
    )
    assert f"{program.folder}/none.pem: No such file" in program("check-config", code=2).stderr


def test_a_quiet_check_prints_warnings_alone(program: Program) -> None:
    assert program("check-config", "--quiet").stdout == ""
    program.folder.joinpath("registry-proxy.toml").write_text(
        "[server]\nlisten = ['[::]:1', '127.0.0.1:1']\n"
    )
    done = program("check-config", "--quiet", code=2)
    assert "127.0.0.1:1 and [::]:1 of server.listen overlap" in done.stderr


def test_warnings_go_to_stderr(program: Program) -> None:
    file = program.folder / "registry-proxy.toml"
    file.write_text("[upstreams.ghcr]\nusername = 'me'\npassword = 'hunter2'\n")
    file.chmod(0o644)
    done = program("check-config", "--json")
    assert "chmod go-r" in done.stderr
    json.loads(done.stdout)
