"""An index that fails while the server runs: it is replaced, and nothing stored is lost."""

from __future__ import annotations

import contextlib
import http.client
import os
import signal
import sqlite3
import subprocess
from typing import TYPE_CHECKING

import pytest
from tests.service.conftest import IMAGE
from tests.service.program import PROGRAM
from tests.service.test_processes import on_both_workers

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.kit.remote import RemoteUpstream
    from tests.service.program import Client, Program

LAYER = IMAGE.layers[0]
MANIFEST = "/v2/sim.test/acme/app/manifests/latest"
BLOB = f"/v2/sim.test/acme/app/blobs/{LAYER.digest}"


def overwrite(index: Path) -> None:
    """As a disk or a program that writes in the wrong place."""
    with index.open("r+b") as file:
        file.write(b"\xa5" * index.stat().st_size)


def truncate(index: Path) -> None:
    os.truncate(index, index.stat().st_size // 8192 * 4096)


def empty(index: Path) -> None:
    os.truncate(index, 0)


def delete(index: Path) -> None:
    for path in index.parent.glob("index.db*"):
        path.unlink()


def replace(index: Path) -> None:
    other = index.with_name("other")
    with contextlib.closing(sqlite3.connect(other)) as db:
        db.execute("CREATE TABLE theirs (value)")
    other.rename(index)


def use_until(program: Program, text: str) -> None:
    """Pull until the log says it; what fails meanwhile may be repeated."""

    def is_said() -> bool:
        with contextlib.suppress(OSError, http.client.HTTPException):
            # Its look-up in the index cannot be answered from memory, and its writes make SQLite read again.
            status, body = program.get(f"/v2/sim.test/acme/app/manifests/{IMAGE.config.digest}")
            assert status in {200, 404, 503}, body
            program.get("/v2/sim.test/acme/app/manifests/other")
        return text in program.said()

    program.wait_until(is_said)


@pytest.mark.parametrize("damage", [overwrite, truncate, empty, delete, replace])
def test_it_is_replaced_and_nothing_stored_is_lost(
    program: Program, upstream: RemoteUpstream, damage: Callable[[Path], None]
) -> None:
    upstream.push("acme/app", IMAGE, "other")
    assert program.get(MANIFEST) == (200, IMAGE.raw)
    assert program.get(BLOB) == (200, LAYER.raw)
    program.wait_until(lambda: not list((program.store / "ingest").iterdir()))
    workers = program.workers()
    damage(program.store / "index.db")
    use_until(program, "all workers end")
    program.wait_until(lambda: len(program.workers()) == 2 and not {*workers} & {*program.workers()})
    program.wait_for_log("the index is new")
    assert program.said().count("all workers end") == 1
    transfers = len(whole_transfers(upstream))
    assert program.get(MANIFEST) == (200, IMAGE.raw)
    assert program.get(BLOB) == (200, LAYER.raw)
    assert len(whole_transfers(upstream)) == transfers
    done = subprocess.run(
        [PROGRAM, "verify", "--config", str(program.config)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    if damage is not delete:
        assert (program.store / "index.db.damaged-1").exists()


def whole_transfers(upstream: RemoteUpstream) -> list[object]:
    return [
        request for request in upstream.requests if request.kind == "blob" and "Range" not in request.headers
    ]


def failing(client: Client) -> bytes:
    """Use the index until the worker notices the damage: SQLite reads again after a write. Its response."""
    while True:
        for reference in ("other", IMAGE.config.digest):
            status, body = client.get(f"/v2/sim.test/acme/app/manifests/{reference}")
            if status == 503:
                return body


def test_a_transfer_is_completed_before(program: Program, upstream: RemoteUpstream) -> None:
    upstream.push("acme/app", IMAGE, "other")
    assert program.get(MANIFEST)[0] == 200
    half = LAYER.size // 2
    with on_both_workers(program) as clients, program.connect() as client:
        with upstream.gate("blob", after=half) as gate:
            response = client.begin(BLOB)
            gate.wait_reached()
            overwrite(program.store / "index.db")
            assert b"the index of this cache failed" in failing(next(iter(clients.values())))
            program.wait_for_log("transfers to clients have 10 s")
        assert response.read() == LAYER.raw
    program.wait_for_log("the index is new")
    assert program.get(BLOB) == (200, LAYER.raw)


def test_a_stop_in_the_middle_ends_it(program: Program) -> None:
    with on_both_workers(program) as clients:
        for each in clients.values():
            assert each.get(MANIFEST)[0] == 200
        overwrite(program.store / "index.db")
        use_until(program, "all workers end")
    program.signal(signal.SIGTERM)
    assert program.daemon.process.wait(60) == 0


def test_an_index_that_can_only_not_be_opened_leaves_the_other_worker_alone(program: Program) -> None:
    def set_schema(version: int) -> None:
        with contextlib.closing(sqlite3.connect(program.store / "index.db", timeout=30)) as db:
            db.execute(f"PRAGMA user_version = {version}")

    assert program.get(MANIFEST)[0] == 200
    with contextlib.closing(sqlite3.connect(program.store / "index.db")) as db:
        (schema,) = db.execute("PRAGMA user_version").fetchone()
    with on_both_workers(program) as clients:
        (victim, _), (survivor, kept) = clients.items()
        set_schema(schema + 90)
        os.kill(victim, signal.SIGKILL)
        program.wait_for_log("cannot start")
        assert kept.get(MANIFEST) == (200, IMAGE.raw)
        set_schema(schema)
        program.wait_until(lambda: len(program.workers()) == 2)
        assert survivor in program.workers()
        assert kept.get(MANIFEST) == (200, IMAGE.raw)
    with on_both_workers(program):
        pass
    assert "all workers end" not in program.said()
