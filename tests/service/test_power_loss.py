"""A power loss undoes the index's last writes: the store is counted again, while it serves."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
from contextlib import closing
from typing import TYPE_CHECKING

import pytest
from tests.service.conftest import IMAGE
from tests.service.program import PROGRAM
from tests.service.test_processes import is_alive

from registry_proxy.service.boot import Boot, BootMark

if TYPE_CHECKING:
    from pathlib import Path

    from tests.service.program import Program

LAYER = IMAGE.layers[0]
TARGETS = {
    "/v2/sim.test/acme/app/manifests/latest": IMAGE.raw,
    f"/v2/sim.test/acme/app/blobs/{LAYER.digest}": LAYER.raw,
}
UNCOUNTED = "1 in the store but not in the index"
COUNTED = "the store is counted in the background"


def pull(program: Program) -> None:
    for target, content in TARGETS.items():
        assert program.get(target) == (200, content)
    program.wait_until(lambda: not list((program.store / "ingest").iterdir()))


def kill(program: Program) -> None:
    workers = program.workers()
    for process in (program.supervisor, *workers):
        os.kill(process, signal.SIGKILL)
    program.daemon.kill()
    program.wait_until(lambda: not any(map(is_alive, workers)))


def reboot(program: Program) -> None:
    """Let the machine start again: the mark is that of another boot, and the index has lost its last writes."""
    mark = program.store / "index.boot"
    mark.write_text(json.dumps({**json.loads(mark.read_text()), "boot_id": "before", "uptime": 1e12}))
    with closing(sqlite3.connect(program.store / "index.db", isolation_level=None)) as db:
        db.execute("DELETE FROM content WHERE media_type IS NULL")
        db.execute("DELETE FROM link WHERE digest NOT IN (SELECT digest FROM content)")


def verify(program: Program) -> str:
    command = [PROGRAM, "verify", "--config", str(program.config)]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def test_what_the_index_lost_is_counted_while_the_server_runs(program: Program) -> None:
    pull(program)
    kill(program)
    reboot(program)
    assert UNCOUNTED in verify(program)
    program.start()
    program.wait_for_log("the store has 2 items, of which the index had lost 1")
    assert program.said().count(COUNTED) == 1
    assert UNCOUNTED not in verify(program)
    for target, content in TARGETS.items():
        assert program.get(target) == (200, content)
    # It is counted once.
    kill(program)
    program.start()
    assert COUNTED not in program.said()


def test_a_death_or_a_stop_alone_is_no_reason_to_count(program: Program) -> None:
    pull(program)
    kill(program)
    assert (program.store / "index.boot").exists()
    program.start()
    program.daemon.stop()
    assert not (program.store / "index.boot").exists()
    program.start()
    assert COUNTED not in program.said()


HERE = Boot("here", 1000.0, 50.0)


@pytest.mark.parametrize(
    ("earlier", "same"),
    [
        (HERE, True),
        (Boot("here", 5000.0, 10.0), True),  # the clock was set
        (Boot("other", 1000.0, 50.0), False),
        # An ID is hidden from one of them.
        (Boot("", 1000.5, 40.0), True),
        (Boot("", 1000.5, 60.0), False),
        (Boot("", 900.0, 40.0), False),
    ],
)
def test_a_boot_is_known_by_its_id_or_by_its_time(earlier: Boot, same: bool) -> None:
    assert HERE.is_same(earlier) is same


def test_a_mark_of_this_boot_shows_nothing_and_ends_with_the_service(tmp_path: Path) -> None:
    path = tmp_path / "mark"
    mark = BootMark(path, lambda: HERE)
    assert not mark.shows_power_loss()
    mark.begin()
    assert not mark.shows_power_loss()
    after = BootMark(path, lambda: Boot("later", 2000.0, 1.0))
    after.begin()
    assert after.shows_power_loss()
    after.end()  # the store is not counted yet
    assert after.shows_power_loss()
    after.renew()
    assert not after.shows_power_loss()
    after.end()
    assert not path.exists()


@pytest.mark.parametrize("content", [b"", b"{}", b"\0" * 100])
def test_a_damaged_mark_is_a_power_loss(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "mark"
    path.write_bytes(content)
    assert BootMark(path).shows_power_loss()


def test_the_boot_of_this_machine_is_the_same_twice() -> None:
    assert Boot.current().is_same(Boot.current())
