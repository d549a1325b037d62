"""Logins on the running server: throttled, changed, reloaded, and refused at the start when they can't be read."""

from __future__ import annotations

import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import bcrypt
import pytest
from tests.access.program import PROGRAM, Program, htpasswd
from tests.kit.processes import environment

if TYPE_CHECKING:
    from pathlib import Path

    from tests.access.conftest import Serve

ANN, BEN = ("ann", "secret"), ("ben", "hunter2")
HELLO = "/v2/hello/manifests/latest"


def guarded(folder: Path) -> str:
    htpasswd(folder / "users", ann="secret", ben="hunter2")
    return '[access]\nhtpasswd = "users"\n'


def test_a_wrong_login_is_refused_and_ten_of_them_throttled(serve: Serve, tmp_path: Path) -> None:
    program = serve(guarded(tmp_path), workers=1)
    wrong = ("ann", "battery staple")
    with ThreadPoolExecutor(10) as threads:
        for answer in threads.map(lambda _: program.get(HELLO, login=wrong), range(10)):
            assert (answer.status, answer.code) == (401, "UNAUTHORIZED")
            assert answer.headers["WWW-Authenticate"].startswith("Basic realm=")
    throttled = program.get(HELLO, login=wrong)
    assert (throttled.status, throttled.code) == (429, "TOOMANYREQUESTS")
    assert 0 < int(throttled.headers["Retry-After"]) <= 60
    assert "WWW-Authenticate" not in throttled.headers
    assert program.get(HELLO, login=ANN).status == 429
    assert program.get(HELLO, login=BEN).status == 200
    assert program.get(HELLO, login=ANN, source="127.0.0.2").status == 200
    assert program.get(HELLO, login=ANN).status == 200  # known from now on
    assert program.logged.count("a login from 127.0.0.1 failed") == 10
    assert "battery" not in program.logged


def test_right_logins_get_in_during_a_storm_of_guesses(serve: Serve, tmp_path: Path) -> None:
    """Of 600 guesses from 200 addresses. Their checks alone take half a minute and more."""
    users = tmp_path / "users"
    users.write_bytes(
        b"".join(
            user + b":" + bcrypt.hashpw(password, bcrypt.gensalt(10)) + b"\n"
            for user, password in ((b"ann", b"secret"), (b"ben", b"hunter2"))
        )
    )
    program = serve('[access]\nhtpasswd = "users"\n', workers=1)

    def guess(number: int) -> int:
        user = ("ann", "eve", "ben")[number % 3]
        return program.get(HELLO, login=(user, f"guess{number}"), source=f"127.0.1.{1 + number % 200}").status

    def right(login: tuple[str, str]) -> tuple[int, float]:
        begin = time.monotonic()
        return program.get(HELLO, login=login).status, time.monotonic() - begin

    with ThreadPoolExecutor(200) as threads:
        guesses = [threads.submit(guess, number) for number in range(600)]
        guesses[0].result()
        for status, took in map(right, (ANN, BEN)):
            assert status == 200
            assert took < 10
        assert {each.result() for each in guesses} <= {401, 429}


def test_each_worker_lets_right_logins_in(serve: Serve, tmp_path: Path) -> None:
    program = serve(guarded(tmp_path), workers=3)
    for login, status in ((ANN, 200), (BEN, 200), (("ann", "hunter2"), 401)):
        assert {program.get(HELLO, login=login).status for _ in range(12)} == {status}


def test_many_clients_log_in_at_once(serve: Serve, tmp_path: Path) -> None:
    program = serve(guarded(tmp_path))
    with ThreadPoolExecutor(20) as threads:
        answers = threads.map(lambda _: program.get(HELLO, login=ANN).status, range(60))
        assert set(answers) == {200}


def test_a_change_of_the_file_counts_without_a_signal(serve: Serve, tmp_path: Path) -> None:
    program = serve(guarded(tmp_path), workers=1)
    assert program.get(HELLO, login=ANN).status == 200
    htpasswd(tmp_path / "users", ann="changed")
    program.wait_until(lambda: program.get(HELLO, login=ANN).status == 401)
    assert program.get(HELLO, login=("ann", "changed")).status == 200
    assert program.get(HELLO, login=BEN).status == 401


def test_a_file_that_breaks_while_it_runs_leaves_the_users_as_they_were(serve: Serve, tmp_path: Path) -> None:
    program = serve(guarded(tmp_path), workers=1)
    program.get(HELLO, login=ANN)
    (tmp_path / "users").write_text("ann:secret\n")
    program.wait_until(
        lambda: bool(program.get(HELLO, login=BEN)) and "the previous users stay valid" in program.logged
    )
    assert program.get(HELLO, login=ANN).status == 200
    assert "line 1 is not a user with a bcrypt hash" in program.logged


def test_a_reload_takes_over_who_may_pull(serve: Serve, tmp_path: Path, registries: str) -> None:
    program = serve("")
    assert program.get(HELLO).status == 200
    program.configure(registries + guarded(tmp_path))
    program.reload()
    assert {program.get(HELLO).status for _ in range(8)} == {401}
    assert {program.get(HELLO, login=ANN).status for _ in range(8)} == {200}
    program.configure(registries + '[access]\nsources = ["192.0.2.0/24"]\n')
    program.reload()
    assert {program.get(HELLO, login=ANN).status for _ in range(8)} == {403}
    program.configure(registries)
    program.reload()
    assert {program.get(HELLO).status for _ in range(8)} == {200}


def test_a_reload_with_a_useless_file_changes_nothing_and_ends_no_worker(
    serve: Serve, tmp_path: Path, registries: str
) -> None:
    program = serve(guarded(tmp_path))
    before = program.processes()
    (tmp_path / "other").write_text("ann:secret\n")
    program.configure(
        f'{registries}hostname = "x.example.com"\n[access]\nhtpasswd = "other"\n'.replace(
            'hostname = "ghcr.example.com"\n', ""
        )
    )
    program.reload()
    assert program.processes() == before
    assert program.get(HELLO, login=ANN).status == 200
    assert program.get(HELLO).status == 401
    assert "the old one stays in force" in program.logged
    assert "access.htpasswd: line 1 is not a user with a bcrypt hash" in program.logged
    assert "Traceback" not in program.logged
    # Nothing of it was taken over by half.
    assert program.get("/v2/acme/hello/tags/list", host="ghcr.example.com", login=ANN).status == 200


def test_a_worker_that_starts_after_a_reload_begins_with_it(
    serve: Serve, tmp_path: Path, registries: str
) -> None:
    program = serve("", workers=1)
    program.configure(registries + guarded(tmp_path))
    program.reload()
    (tmp_path / "users").write_text("broken\n")  # which must not keep it from starting
    [_, worker] = program.processes()
    subprocess.run(["kill", "-9", str(worker)], check=True)
    program.wait_until(lambda: len(program.processes()) == 2 and worker not in program.processes())
    assert program.get(HELLO).status == 401
    assert program.get(HELLO, login=ANN).status == 200


def failed(command: str, folder: Path, toml: str) -> str:
    program = Program(folder, toml)
    done = subprocess.run(
        [str(PROGRAM), command, "--config", str(program.file)],
        env=environment(),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 2
    assert done.stdout == ""
    assert "worker" not in done.stderr
    assert "Traceback" not in done.stderr
    return done.stderr


@pytest.mark.parametrize("command", ["serve", "check-config"])
def test_a_start_with_a_useless_file_is_one_clear_error(tmp_path: Path, command: str) -> None:
    (tmp_path / "users").write_text("ann:secret\n")
    told = failed(command, tmp_path, '[access]\nhtpasswd = "users"\n')
    assert f"{tmp_path}/users: access.htpasswd: line 1 is not a user with a bcrypt hash" in told
    assert "htpasswd -B" in told
    assert "secret" not in told


def test_a_start_tells_of_all_useless_files(tmp_path: Path) -> None:
    (tmp_path / "users").write_text("ann\n")
    told = failed(
        "serve",
        tmp_path,
        '[upstreams.ghcr]\naccess_htpasswd = "nowhere"\n'
        '[upstreams.quay]\naccess_htpasswd = "users"\n[access]\nhtpasswd = "users"\n',
    )
    assert "upstreams.ghcr.access_htpasswd: can't be read: No such file" in told
    assert "access.htpasswd: line 1" in told
    assert told.count("line 1") == 1
