"""The start: with what is missing, and what makes it impossible."""

from __future__ import annotations

import socket
import subprocess
from typing import TYPE_CHECKING

from tests.service.conftest import IMAGE
from tests.service.program import PROGRAM, Program
from tests.storage.disks import small_disk

if TYPE_CHECKING:
    from pathlib import Path

    from tests.kit.remote import RemoteUpstream

NOWHERE = {"upstreams.sim": {"registry": "sim.test", "url": "http://127.0.0.1:1"}}


def fail(program: Program) -> str:
    """Start it, and have it fail; what it said."""
    done = subprocess.run(
        [PROGRAM, "serve", "--config", str(program.config)],
        env={"HOME": str(program.folder), "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert done.returncode != 0
    assert "Traceback" not in done.stderr
    assert "report" not in done.stderr
    return done.stderr


def test_it_starts_without_any_upstream(tmp_path: Path) -> None:
    with Program(tmp_path, NOWHERE) as program:
        assert program.get("/v2/")[0] == 200
        status, body = program.get("/v2/sim.test/acme/app/manifests/latest")
        assert status == 502
        assert b"sim.test" in body


def test_what_is_cached_is_served_after_a_start_without_upstream(
    program: Program, upstream: RemoteUpstream
) -> None:
    targets = {
        "/v2/sim.test/acme/app/manifests/latest": IMAGE.raw,
        f"/v2/sim.test/acme/app/blobs/{IMAGE.layers[0].digest}": IMAGE.layers[0].raw,
    }
    for target, content in targets.items():
        assert program.get(target) == (200, content)
    program.daemon.stop()
    program.configure({**NOWHERE, "cache": {"tag_ttl": "0s"}})
    program.start()
    for _ in range(2):
        for target, content in targets.items():
            assert program.get(target) == (200, content)


def test_a_lost_index_is_made_anew(program: Program, upstream: RemoteUpstream) -> None:
    blob = f"/v2/sim.test/acme/app/blobs/{IMAGE.layers[0].digest}"
    assert program.get(blob)[0] == 200
    program.wait_until(lambda: not list((program.store / "ingest").iterdir()))
    program.daemon.stop()
    for path in program.store.glob("index.db*"):
        path.unlink()
    requests = upstream.count("GET", "blob")
    program.start()
    assert "the index is new" in program.said()
    assert program.get("/v2/sim.test/acme/app/manifests/latest")[0] == 200
    assert program.get(blob) == (200, IMAGE.layers[0].raw)
    assert upstream.count("GET", "blob") == requests + 1  # a sample: the lost index knew who had sent it
    program.daemon.stop()
    program.start()
    assert "the index is new" not in program.said()


def test_a_port_that_is_taken(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        program = Program(tmp_path, {"server": {"listen": [f"127.0.0.1:{port}"]}, **NOWHERE})
        said = fail(program)
    assert f"127.0.0.1:{port}" in said
    assert "in use" in said
    assert "server.listen" in said


def test_a_port_that_another_shares(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0), reuse_port=True) as other:
        port = other.getsockname()[1]
        assert "in use" in fail(Program(tmp_path, {"server": {"listen": [f"127.0.0.1:{port}"]}, **NOWHERE}))


def test_a_storage_path_that_is_no_folder(tmp_path: Path) -> None:
    program = Program(tmp_path, NOWHERE)
    program.store.write_text("in the way")
    assert str(program.store) in fail(program)


def test_a_storage_path_that_can_not_be_written(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", "size=1m,ro") as disk:
        said = fail(Program(tmp_path, {"storage": {"path": str(disk / "store")}, **NOWHERE}))
    assert str(disk / "store") in said
    assert "Read-only file system" in said
