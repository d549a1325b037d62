"""Supervisor and workers: signals, deaths, and what becomes of transfers under way."""

from __future__ import annotations

import contextlib
import http.client
import os
import select
import signal
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from tests.service.conftest import IMAGE
from tests.service.program import Client, Program

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.kit.remote import RemoteUpstream, Simulators

LAYER = IMAGE.layers[0]
BLOB = f"/v2/sim.test/acme/app/blobs/{LAYER.digest}"
MANIFEST = "/v2/sim.test/acme/app/manifests/latest"
HALF = LAYER.size // 2


def is_alive(process: int) -> bool:
    """Whether it runs; one that nobody has waited for yet doesn't."""
    with contextlib.suppress(OSError):
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    return False


@contextlib.contextmanager
def on_both_workers(program: Program) -> Iterator[dict[int, Client]]:
    """A connection to each worker."""
    workers = program.workers()
    found: dict[int, Client] = {}
    with contextlib.ExitStack() as stack:
        while len(found) < len(workers):
            client = stack.enter_context(program.connect())
            assert client.get("/v2/")[0] == 200
            found.setdefault(client.worker(workers), client)
        yield found


def ranges(upstream: RemoteUpstream) -> list[str | None]:
    return [
        request.headers.get("Range")
        for request in upstream.requests
        if request.kind == "blob" and request.reference == LAYER.digest
    ]


def test_it_serves_and_shares_what_it_has_between_workers(program: Program, upstream: RemoteUpstream) -> None:
    with on_both_workers(program) as clients:
        for client in clients.values():
            assert client.get(MANIFEST) == (200, IMAGE.raw)
            assert client.get(BLOB) == (200, LAYER.raw)
    assert upstream.count("GET", "manifest") == 1
    assert ranges(upstream) == [None]


def test_the_supervisor_has_no_thread_that_a_signal_could_reach(program: Program) -> None:
    """A signal that one thread blocks ends the process if another one does not."""
    assert len(list(Path(f"/proc/{program.supervisor}/task").iterdir())) == 1


class TestStop:
    @pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
    def test_a_running_transfer_is_completed(
        self, program: Program, upstream: RemoteUpstream, number: signal.Signals
    ) -> None:
        with program.connect() as busy, program.connect() as idle:
            idle.get("/v2/")
            with upstream.gate("blob", after=HALF) as gate:
                response = busy.begin(BLOB)
                gate.wait_reached()
                program.signal(number)
                program.wait_for_log("stopping")
                assert idle.sock is not None
                assert idle.sock.recv(1) == b""
                program.wait_until(program.refuses)
                assert program.daemon.process.poll() is None
            assert response.read() == LAYER.raw
        assert program.daemon.process.wait(10) == 0
        assert not list((program.store / "ingest").iterdir())

    def test_what_takes_longer_than_the_grace_is_cut_and_resumed_after_the_start(
        self, tmp_path: Path, upstream: RemoteUpstream
    ) -> None:
        settings = {
            "server": {"grace_period": "200ms"},
            "upstreams.sim": {"registry": "sim.test", "url": upstream.url},
        }
        with Program(tmp_path, settings) as program, upstream.gate("blob", after=HALF) as gate:
            with program.connect() as client:
                assert client.get(MANIFEST)[0] == 200
                response = client.begin(BLOB)
                gate.wait_reached()
                assert response.read(1) == LAYER.raw[:1]
                program.signal(signal.SIGTERM)
                assert program.daemon.process.wait(10) == 0
                with pytest.raises((ConnectionError, http.client.IncompleteRead)):
                    response.read()
            gate.release()
            program.start()
            assert program.get(BLOB) == (200, LAYER.raw)
        assert ranges(upstream) == [None, f"bytes={HALF}-"]

    def test_nobody_survives_the_supervisor(self, program: Program) -> None:
        workers = program.workers()
        with program.connect() as client:
            client.get("/v2/")
            program.signal(signal.SIGKILL)
            program.wait_until(lambda: not any(map(is_alive, workers)))

    def test_an_orphaned_worker_completes_its_answer_without_spinning(
        self, program: Program, upstream: RemoteUpstream
    ) -> None:
        workers = program.workers()
        with program.connect() as client, upstream.gate("blob", after=HALF) as gate:
            response = client.begin(BLOB)
            gate.wait_reached()
            worker = client.worker(workers)
            program.signal(signal.SIGKILL)
            program.wait_until(lambda: sum(map(is_alive, workers)) == 1)
            before = _processor_time(worker)
            assert not _ends_within(worker, 0.5)
            assert _processor_time(worker) - before < 0.2
            gate.release()
            assert response.read() == LAYER.raw
            program.wait_until(lambda: not is_alive(worker))


class TestDeaths:
    def test_a_killed_worker_is_replaced_and_the_others_clients_notice_nothing(
        self, program: Program, upstream: RemoteUpstream
    ) -> None:
        with on_both_workers(program) as clients:
            (victim, lost), (survivor, kept) = clients.items()
            with upstream.gate("blob", after=HALF) as gate:
                response = kept.begin(BLOB)
                gate.wait_reached()
                os.kill(victim, signal.SIGKILL)
                program.wait_for_log("ended (signal 9)")
                assert lost.sock is not None
                assert lost.sock.recv(1) == b""
            assert response.read() == LAYER.raw
            assert kept.get("/v2/")[0] == 200
            program.wait_until(lambda: len(program.workers()) == 2)
            assert survivor in program.workers()
        with on_both_workers(program):
            pass

    def test_the_fill_of_a_killed_worker_is_taken_over(
        self, program: Program, upstream: RemoteUpstream
    ) -> None:
        with on_both_workers(program) as clients:
            (victim, owner), (_, follower) = clients.items()
            assert follower.get(MANIFEST)[0] == 200
            with upstream.gate("blob", after=HALF) as gate:
                owner.begin(BLOB)
                gate.wait_reached()
                response = follower.begin(BLOB)
                assert response.read(HALF) == LAYER.raw[:HALF]
                os.kill(victim, signal.SIGKILL)
            assert response.read() == LAYER.raw[HALF:]
        assert ranges(upstream) == [None, f"bytes={HALF}-"]

    def test_killed_in_the_middle_of_a_fill_it_resumes_after_its_start(
        self, program: Program, upstream: RemoteUpstream
    ) -> None:
        with upstream.gate("blob", after=HALF) as gate:
            with program.connect() as client:
                assert client.get(MANIFEST)[0] == 200
                response = client.begin(BLOB)
                assert response.read(HALF) == LAYER.raw[:HALF]
                program.daemon.kill()
            gate.release()
        program.start()
        assert program.get(BLOB) == (200, LAYER.raw)
        assert ranges(upstream) == [None, f"bytes={HALF}-"]
        program.wait_until(lambda: not list((program.store / "ingest").iterdir()))

    def test_the_first_process_of_a_container_inherits_orphans(self, tmp_path: Path) -> None:
        settings = {"upstreams.sim": {"registry": "sim.test", "url": "http://127.0.0.1:1"}}
        with Program(tmp_path, settings, container=True) as program:
            inside = ["nsenter", f"--target={program.supervisor}", "--pid", "--"]
            subprocess.run([*inside, "sh", "-c", "sleep 0.1 &"], check=True)
            program.wait_until(lambda: len(program.workers()) == 3)
            program.wait_until(lambda: len(program.workers()) == 2)
            assert program.get("/v2/")[0] == 200
            program.signal(signal.SIGTERM)
            assert program.daemon.process.wait(10) == 0

    def test_all_workers_die_at_once(self, program: Program) -> None:
        workers = program.workers()
        for process in workers:
            os.kill(process, signal.SIGKILL)
        program.wait_until(lambda: len(program.workers()) == 2 and not {*workers} & {*program.workers()})
        assert program.get("/v2/")[0] == 200


class TestReload:
    def test_credentials_are_read_anew(self, tmp_path: Path, simulators: Simulators) -> None:
        upstream = simulators["basic"]
        upstream.admit("ann", "right", only_to="acme/app")
        settings: dict[str, dict[str, object]] = {
            "upstreams.sim": {
                "registry": "sim.test",
                "url": upstream.url,
                "username": "ann",
                "password": "wrong",
            }
        }
        with Program(tmp_path, settings) as program:
            assert program.get(MANIFEST)[0] == 401
            settings["upstreams.sim"]["password"] = "right"
            program.configure(settings)
            program.signal(signal.SIGHUP)
            program.wait_for_log("reloaded", 2)
            with on_both_workers(program) as clients:
                for client in clients.values():
                    assert client.get(MANIFEST) == (200, IMAGE.raw)
            # A worker that is started later has them too.
            victim = program.workers()[0]
            os.kill(victim, signal.SIGKILL)
            program.wait_until(lambda: len(program.workers()) == 2 and victim not in program.workers())
            with on_both_workers(program) as clients:
                for client in clients.values():
                    assert client.get("/v2/sim.test/acme/app/tags/list")[0] == 200

    def test_a_transfer_goes_on_over_a_reload(self, program: Program, upstream: RemoteUpstream) -> None:
        with program.connect() as client:
            with upstream.gate("blob", after=HALF) as gate:
                response = client.begin(BLOB)
                gate.wait_reached()
                program.signal(signal.SIGHUP)
                program.wait_for_log("reloaded", 2)
            assert response.read() == LAYER.raw
        assert ranges(upstream) == [None]

    def test_a_wrong_configuration_leaves_the_old_one_in_force(self, program: Program) -> None:
        program.config.write_text("[server]\nlisten = 5\n")
        program.signal(signal.SIGHUP)
        program.wait_for_log("the old one stays in force", 2)
        assert program.get(MANIFEST) == (200, IMAGE.raw)


def _processor_time(process: int) -> float:
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _ends_within(process: int, seconds: float) -> bool:
    descriptor = os.pidfd_open(process)
    try:
        return bool(select.select([descriptor], [], [], seconds)[0])
    finally:
        os.close(descriptor)
