"""The running server gets passwords from programs, helpers and files, and shows them to nobody."""

from __future__ import annotations

import os
import signal
import threading
import time
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import pytest
from tests.access.program import Program
from tests.kit import images
from tests.kit.remote import Simulators

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from tests.credentials.conftest import Scripts
    from tests.kit.remote import RemoteUpstream

SECRET = "correct-horse-battery"
IMAGE = images.image(layer_size=1000)


class Serve(Protocol):
    """Starts the server with an upstream `corp` at a simulated registry, and further keys of it."""

    def __call__(self, upstream: RemoteUpstream, toml: str, *, workers: int = 1) -> Program: ...


@pytest.fixture
def upstreams(tmp_path: Path) -> Iterator[Simulators]:
    with Simulators(["dockerhub", "basic"], tmp_path) as upstreams:
        for name in ("dockerhub", "basic"):
            upstreams[name].push("acme/app", IMAGE, "latest", "other", "third")
            upstreams[name].admit("me", SECRET, only_to="acme/app")
        yield upstreams


@pytest.fixture
def environ(script: Scripts) -> dict[str, str]:
    """With the test's programs in PATH, and a secret of the server's own."""
    return {
        "PATH": f"{script.folder}:{os.environ['PATH']}",
        "REGISTRY_PROXY_QUAY_USERNAME": "q",
        "REGISTRY_PROXY_QUAY_PASSWORD": SECRET,
    }


def configuration(upstream: RemoteUpstream, toml: str) -> str:
    return f'[upstreams.corp]\nregistry = "corp.example"\nurl = "{upstream.url}"\n{toml}'


@pytest.fixture
def serve(tmp_path: Path, environ: Mapping[str, str]) -> Iterator[Serve]:
    with ExitStack() as stack:

        def serve(upstream: RemoteUpstream, toml: str, *, workers: int = 1) -> Program:
            configured = configuration(upstream, toml)
            return stack.enter_context(Program(tmp_path, configured, workers=workers, environ=environ))

        yield serve


def pull(program: Program, tag: str = "latest") -> int:
    return program.get(f"/v2/corp.example/acme/app/manifests/{tag}").status


def logins(upstream: RemoteUpstream) -> int:
    """How many requests had a user and a password."""
    return sum(each.headers.get("Authorization", "").startswith("Basic ") for each in upstream.requests)


@pytest.mark.parametrize("profile", ["dockerhub", "basic"])
@pytest.mark.parametrize("kind", ["command", "helper"])
def test_a_program_gives_the_password(
    serve: Serve, upstreams: Simulators, script: Scripts, profile: str, kind: str
) -> None:
    upstream = upstreams[profile]
    script("my-password", f"echo {SECRET}")
    answer = f"""'{{"Username":"me","Secret":"{SECRET}"}}'"""
    script("docker-credential-test", f'test "$(cat)" = {upstream.host} && echo {answer}')
    keys = {
        "command": 'username = "me"\npassword_command = ["my-password"]\n',
        "helper": 'credential_helper = "test"\n',
    }
    program = serve(upstream, keys[kind])
    name = {"command": "my-password", "helper": "docker-credential-test"}[kind]
    assert script.runs(name) == 0
    assert [pull(program, tag) for tag in ("latest", "other")] == [200, 200]
    assert script.runs(name) == 1
    assert SECRET not in program.logged


def test_a_program_beside_the_configuration_file_is_found(
    serve: Serve, upstreams: Simulators, script: Scripts
) -> None:
    script("here", f"echo {SECRET}")
    program = serve(upstreams["basic"], 'username = "me"\npassword_command = ["./here"]\n')
    assert pull(program) == 200


def shown() -> str:
    """What `ps` shows of all processes of this machine."""
    texts = []
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            texts.append((process / "cmdline").read_text(errors="replace"))
    return "\n".join(texts)


def test_no_process_shows_a_password(
    serve: Serve, upstreams: Simulators, script: Scripts, tmp_path: Path
) -> None:
    started, go_on = tmp_path / "started", tmp_path / "go-on"
    os.mkfifo(started)
    os.mkfifo(go_on)
    script("my-password", f"env >{tmp_path}/env", f"echo >{started}", f"read -r _ <{go_on}", f"echo {SECRET}")
    upstream = upstreams["basic"]
    paths = f'[upstreams.corp.paths.other]\nusername = "o"\npassword = "{SECRET}"\n'
    program = serve(upstream, f'username = "me"\npassword_command = ["my-password"]\n{paths}')
    answers: list[int] = []
    client = threading.Thread(target=lambda: answers.append(pull(program)))
    client.start()
    started.read_text()
    assert "my-password" in shown()
    assert SECRET not in shown()
    go_on.write_text("\n")
    client.join()
    assert answers == [200]
    assert SECRET not in shown()
    assert SECRET not in (tmp_path / "env").read_text()
    assert "REGISTRY_PROXY" not in (tmp_path / "env").read_text()
    assert SECRET not in program.logged


def test_a_program_that_fails_is_told_to_the_client_and_in_the_log(
    serve: Serve, upstreams: Simulators, script: Scripts
) -> None:
    script("my-password", f"echo {SECRET}", "echo no session: run vault login >&2", "exit 2")
    program = serve(upstreams["basic"], 'username = "me"\npassword_command = ["my-password"]\n')
    answer = program.get("/v2/corp.example/acme/app/manifests/latest")
    assert (answer.status, answer.code) == (401, "UNAUTHORIZED")
    told = 'my-password exited with status 2: "no session: run vault login"'
    assert told in answer.json()["errors"][0]["message"]
    assert "WWW-Authenticate" not in answer.headers  # the client's own login would be of no use
    assert f"no new credentials for upstreams.corp, there are none: {told}" in program.logged
    assert SECRET not in program.logged + answer.body.decode()
    assert program.get("/v2/corp.example/acme/app/manifests/other").status == 401
    assert script.runs("my-password") == 1


def test_a_program_that_fails_later_stops_nothing(
    serve: Serve, upstreams: Simulators, script: Scripts
) -> None:
    script("my-password", f"echo {SECRET}")
    keys = 'username = "me"\npassword_command = ["my-password"]\npassword_lifetime = "1s"\n'
    program = serve(upstreams["basic"], keys)
    assert pull(program) == 200
    script("my-password", "exit 1")
    time.sleep(1)  # of the lifetime, which is the server's clock
    assert [pull(program, tag) for tag in ("other", "third")] == [200, 200]
    assert (
        "the previous ones stay in use: my-password exited with status 1. Next attempt in 5 s"
        in program.logged
    )
    assert script.runs("my-password") == 2


def test_a_password_is_got_anew_before_it_expires(
    serve: Serve, upstreams: Simulators, script: Scripts
) -> None:
    """The registry takes the new one only: nobody who asks sees that."""
    upstream = upstreams["basic"]
    script("my-password", f"echo {SECRET}")
    keys = 'username = "me"\npassword_command = ["my-password"]\npassword_lifetime = "2s"\n'
    program = serve(upstream, keys + '[cache]\ntag_ttl = "0s"\n')
    assert pull(program) == 200
    script("my-password", "echo changed")
    before = logins(upstream)
    program.wait_until(lambda: pull(program) == 200 and script.runs("my-password") == 2)
    upstream.admit("me", "changed", only_to="acme/app")
    assert pull(program, "other") == 200
    assert logins(upstream) > before


def test_a_password_file_is_read_again_without_a_signal(
    serve: Serve, upstreams: Simulators, tmp_path: Path
) -> None:
    file = tmp_path / "password"
    file.write_text("old\n")
    program = serve(upstreams["basic"], f'username = "me"\npassword_file = "{file}"\n', workers=2)
    assert pull(program) == 401
    file.write_text(f"{SECRET}\n")
    assert {pull(program, tag) for tag in ("latest", "other", "third")} == {200}
    assert "password reloaded from" in program.logged
    assert SECRET not in program.logged


def test_a_reload_takes_over_another_way_to_the_password(
    serve: Serve, upstreams: Simulators, script: Scripts
) -> None:
    upstream = upstreams["basic"]
    program = serve(upstream, 'username = "me"\npassword = "old"\n', workers=2)
    assert pull(program) != 200
    script("my-password", f"echo {SECRET}")
    program.configure(configuration(upstream, 'username = "me"\npassword_command = ["my-password"]\n'))
    program.reload()
    assert {pull(program, tag) for tag in ("latest", "other", "third")} == {200}


def test_paths_have_credentials_of_their_own(serve: Serve, upstreams: Simulators, tmp_path: Path) -> None:
    upstream = upstreams["dockerhub"]
    upstream.push("acme/private", IMAGE, "latest")
    upstream.admit("you", "other-secret", only_to="acme/private")
    (tmp_path / "you").write_text("other-secret\n")
    paths = '[upstreams.corp.paths."acme/private"]\nusername = "you"\npassword_file = "you"\n'
    program = serve(upstream, f'username = "me"\npassword = "{SECRET}"\n{paths}')
    layer = IMAGE.layers[0].digest
    for name in ("acme/app", "acme/private"):
        assert program.get(f"/v2/corp.example/{name}/manifests/latest").status == 200
        assert program.get(f"/v2/corp.example/{name}/blobs/{layer}").body == IMAGE.layers[0].raw


def test_what_was_pulled_by_one_path_is_served_by_that_path_only(serve: Serve, upstreams: Simulators) -> None:
    """The content is there, but the upstream gives it to nobody through the other name."""
    upstream = upstreams["dockerhub"]
    upstream.push("acme/private", IMAGE, "latest")
    upstream.admit("you", "other-secret", only_to="acme/private")
    paths = f'[upstreams.corp.paths."acme/app"]\nusername = "me"\npassword = "{SECRET}"\n'
    program = serve(upstream, paths)
    layer, digest = IMAGE.layers[0].digest, IMAGE.manifest.digest
    assert pull(program) == 200
    assert program.get(f"/v2/corp.example/acme/app/blobs/{layer}").status == 200
    for thing in ("manifests/latest", f"manifests/{digest}", f"blobs/{layer}", "tags/list"):
        assert program.get(f"/v2/corp.example/acme/private/{thing}").status == 401


def test_a_stop_does_not_wait_for_a_program(
    serve: Serve, upstreams: Simulators, script: Scripts, tmp_path: Path
) -> None:
    os.mkfifo(tmp_path / "started")
    script("my-password", f"echo $$ >{tmp_path}/process", f"echo >{tmp_path}/started", "exec sleep 600")
    program = serve(upstreams["basic"], 'username = "me"\npassword_command = ["my-password"]\n')
    connection = program.connect()
    connection.sendall(b"GET /v2/corp.example/acme/app/manifests/latest HTTP/1.1\r\nHost: x\r\n\r\n")
    (tmp_path / "started").read_text()
    connection.close()
    begin = time.monotonic()
    program.daemon.process.send_signal(signal.SIGTERM)
    assert program.daemon.process.wait(20) == 0
    assert time.monotonic() - begin < 10
    assert not Path(f"/proc/{(tmp_path / 'process').read_text().strip()}").exists()
