"""Programs that print a password: what is taken from them, what is refused, and that they always end."""

from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from tests.kit.waiting import until

from registry_proxy.upstream.auth.commands import CommandError, CredentialHelper, Limits, PasswordCommand
from registry_proxy.upstream.auth.credentials import Credentials

if TYPE_CHECKING:
    from tests.credentials.conftest import Scripts

SECRET = "correct horse"


def limits(seconds: float = 20, **environ: str) -> Limits:
    return Limits(seconds, {"PATH": os.environ["PATH"], **environ})


async def printed(program: str, *arguments: str, given: Limits | None = None) -> Credentials:
    return await PasswordCommand("me", [program, *arguments], given or limits())()


async def failure(program: str, *arguments: str, given: Limits | None = None) -> str:
    with pytest.raises(CommandError) as caught:
        await printed(program, *arguments, given=given)
    return str(caught.value)


@pytest.mark.parametrize("line", [f"echo '{SECRET}'", f"printf '{SECRET}'", f"printf '{SECRET}\\r\\n'"])
async def test_what_is_printed_is_the_password_without_its_line_break(script: Scripts, line: str) -> None:
    assert await printed(script("p", line)) == Credentials("me", SECRET)


async def test_a_program_is_looked_for_in_path(script: Scripts) -> None:
    script("my-password", "echo x")
    given = limits(PATH=f"{script.folder}:{os.environ['PATH']}")
    assert await printed("my-password", given=given) == Credentials("me", "x")


async def test_arguments_are_arguments_and_no_shell(script: Scripts) -> None:
    program = script("p", 'echo "$#:$1:$2"')
    assert await printed(program, "$(id); a", "*") == Credentials("me", "2:$(id); a:*")


async def test_a_program_sees_the_environment_it_is_given_and_no_other(
    script: Scripts, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REGISTRY_PROXY_GHCR_PASSWORD", SECRET)
    program = script("p", 'echo "$AWS_PROFILE:$REGISTRY_PROXY_GHCR_PASSWORD"')
    assert await printed(program, given=limits(AWS_PROFILE="prod")) == Credentials("me", "prod:")


async def test_a_program_that_reads_gets_nothing_to_read(script: Scripts) -> None:
    assert await printed(script("p", "cat", "echo x")) == Credentials("me", "x")


async def test_a_program_that_says_much_on_stderr_is_not_held_up(script: Scripts) -> None:
    assert await printed(script("p", "head -c 1000000 /dev/zero >&2", "echo x")) == Credentials("me", "x")


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("exit 0", "not a password"),
        ("echo", "not a password"),
        (f"echo '{SECRET}'; echo more", "not a password"),
        (f"printf '{SECRET}\\377'", "not UTF-8"),
        (f"yes '{SECRET}' | head -c 100000", "not a password"),
        (f"yes '{SECRET}' | tr -d '\\n' | head -c 100000", "not a password"),
        (f"echo '{SECRET}'; exit 3", "exited with status 3"),
        (f"echo '{SECRET}'; kill -9 $$", "was terminated by signal 9"),
    ],
)
async def test_what_is_no_password_is_told_without_it(script: Scripts, line: str, told: str) -> None:
    message = await failure(script("p", line))
    assert told in message
    assert str(script.folder / "p") in message
    assert "horse" not in message


async def test_the_error_of_a_program_is_shown_in_short_and_printable(script: Scripts) -> None:
    lines = ("printf 'no \\033[31msession\\n' >&2", "yes long | head -1000 >&2", "exit 1")
    message = await failure(script("p", *lines))
    assert ': "no [31msession long long' in message
    assert len(message) < 400
    assert message.isprintable()


async def test_arguments_are_not_shown(script: Scripts) -> None:
    assert SECRET not in await failure(script("p", "exit 1"), SECRET)


@pytest.mark.parametrize(("program", "why"), [("nowhere-to-be-found", "No such file"), ("/etc", "denied")])
async def test_a_program_that_cannot_be_run_is_told(program: str, why: str) -> None:
    message = await failure(program)
    assert program in message
    assert why in message


def alive(script: Scripts, name: str) -> bool:
    """Whether the process whose number a script has noted still runs."""
    stat = Path(f"/proc/{script.folder.joinpath(name).read_text().strip()}/stat")
    return stat.exists() and stat.read_text().rpartition(")")[2].split()[0] != "Z"


async def test_a_program_that_takes_too_long_is_ended_with_what_it_started(script: Scripts) -> None:
    program = script("p", f"sleep 600 & echo $! >{script.folder}/child", "wait")
    message = await failure(program, given=limits(0.5))
    assert "did not exit within 0.5 s" in message
    await until(lambda: not alive(script, "child"))  # a killed process ends when the kernel gets to it


async def test_a_program_that_ignores_the_end_of_its_output_is_ended(script: Scripts) -> None:
    message = await failure(script("p", "exec >&- 2>&-", "sleep 600"), given=limits(0.5))
    assert "did not exit within" in message


async def test_an_orphan_that_holds_the_output_holds_up_nobody(script: Scripts) -> None:
    program = script("p", f"setsid sh -c 'echo $$ >{script.folder}/orphan; exec sleep 600' &", "sleep 600")
    message = await failure(program, given=limits(0.5))
    assert "did not exit within" in message
    assert alive(script, "orphan")
    os.kill(int(script.folder.joinpath("orphan").read_text()), signal.SIGKILL)


async def test_a_run_that_is_cancelled_leaves_no_process(script: Scripts) -> None:
    started = script.folder / "started"
    os.mkfifo(started)
    program = script("p", f"echo $$ >{script.folder}/self", f"echo >{started}", "exec sleep 600")
    async with asyncio.TaskGroup() as tasks:
        run = tasks.create_task(printed(program))
        await asyncio.to_thread(started.read_bytes)
        assert alive(script, "self")
        run.cancel()
    assert not alive(script, "self")


# Credential helpers


HOST = "123456789012.dkr.ecr.eu-central-1.amazonaws.com"


async def helped(script: Scripts, *lines: str) -> Credentials:
    script("docker-credential-test", *lines)
    given = limits(PATH=f"{script.folder}:{os.environ['PATH']}")
    return await CredentialHelper("test", HOST, given)()


async def test_a_helper_is_asked_for_the_host_on_its_input(script: Scripts) -> None:
    answer = """'{"ServerURL":"x","Username":"AWS","Secret":"%s"}'"""
    credentials = await helped(
        script, 'test "$*" = get || exit 9', "read -r host", f'printf {answer} "$host"'
    )
    assert credentials == Credentials("AWS", HOST)


async def test_a_helper_gets_no_line_break_after_the_host(script: Scripts) -> None:
    lines = ("size=$(wc -c)", """printf '{"Username":"AWS","Secret":"%s"}' "$size\"""")
    assert await helped(script, *lines) == Credentials("AWS", str(len(HOST)))


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("echo credentials not found in native keychain; exit 1", "credentials not found in native keychain"),
        ("echo out; echo err >&2; exit 1", ': "err"'),
        (f"""echo '{{"Username":"me","Secret":"{SECRET}"}}'; exit 1""", "status 1"),
        (f"echo '{SECRET}'", "is not a credential helper's JSON"),
        ("echo '[]'", "is not a credential helper's JSON"),
        ("echo '{}'", "printed no usable user name"),
        ("""echo '{"Username":"me","Secret":""}'""", "not a password"),
        (f"""echo '{{"Username":"a:b","Secret":"{SECRET}"}}'""", "printed no usable user name"),
        (f"""echo '{{"Username":"<token>","Secret":"{SECRET}"}}'""", "identity token"),
    ],
)
async def test_what_a_helper_cannot_give_is_told_without_a_secret(
    script: Scripts, line: str, told: str
) -> None:
    with pytest.raises(CommandError) as caught:
        await helped(script, line)
    assert told in str(caught.value)
    assert "docker-credential-test" in str(caught.value)
    assert "horse" not in str(caught.value)


async def test_a_helper_that_is_missing_is_told_by_its_whole_name() -> None:
    with pytest.raises(CommandError, match="docker-credential-nowhere can't be run: No such file"):
        await CredentialHelper("nowhere", HOST, limits())()


def test_nothing_that_holds_a_password_shows_it() -> None:
    shown = repr(Credentials("me", SECRET)) + repr(limits(TOKEN=SECRET))
    assert "horse" not in shown
