"""Workers that hang are found and replaced; those that only had no time are not."""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING

import pytest
from tests.service.test_processes import MANIFEST, is_alive, on_both_workers

from registry_proxy.service.watchdog import REPORT_THREADS, Heartbeats, State, Watchdog

if TYPE_CHECKING:
    from tests.service.program import Program

START_CHECKS, CHECKS = 300, 10


def watched(workers: int = 1) -> tuple[Watchdog, Heartbeats]:
    heartbeats = Heartbeats(workers)
    watchdog = Watchdog(heartbeats)
    for number in range(workers):
        watchdog.watch(number)
    return watchdog, heartbeats


def check(watchdog: Watchdog, times: int) -> State:
    for _ in range(times):
        watchdog.check()
    return watchdog.state(0)


def test_ten_checks_without_a_beat_are_too_many() -> None:
    watchdog, heartbeats = watched()
    heartbeats.beat(0)
    assert check(watchdog, 1) is State.ALIVE
    assert check(watchdog, CHECKS - 1) is State.ALIVE
    assert watchdog.all_alive
    assert check(watchdog, 1) is State.HANGS
    assert not watchdog.all_alive
    assert check(watchdog, 1) is State.STILL_HANGS
    assert not watchdog.all_alive


def test_a_beat_is_enough() -> None:
    watchdog, heartbeats = watched()
    for _ in range(5):
        heartbeats.beat(0)
        assert check(watchdog, CHECKS) is State.ALIVE


def test_a_worker_that_starts_has_more_time_also_after_another_one_with_its_number() -> None:
    watchdog, heartbeats = watched()
    assert check(watchdog, START_CHECKS - 1) is State.ALIVE
    assert check(watchdog, 1) is State.HANGS
    heartbeats.beat(0)
    watchdog.watch(0)
    assert check(watchdog, START_CHECKS - 1) is State.ALIVE


def test_each_worker_has_its_own_beats() -> None:
    watchdog, heartbeats = watched(3)
    for number in range(3):
        heartbeats.beat(number)
    watchdog.check()
    for _ in range(CHECKS):
        heartbeats.beat(0)
        heartbeats.beat(2)
        watchdog.check()
    assert [watchdog.state(number) for number in range(3)] == [State.ALIVE, State.HANGS, State.ALIVE]
    watchdog.forget(1)
    assert watchdog.all_alive


@pytest.mark.slow
def test_a_worker_that_hangs_is_replaced_and_the_others_clients_notice_nothing(program: Program) -> None:
    with on_both_workers(program) as clients:
        (victim, lost), (survivor, kept) = clients.items()
        os.kill(victim, signal.SIGSTOP)
        program.wait_until(lambda: not is_alive(victim))
        assert lost.sock is not None
        assert lost.sock.recv(1) == b""
        assert kept.get(MANIFEST)[0] == 200
    program.wait_until(lambda: len(program.workers()) == 2)
    assert survivor in program.workers()
    assert program.said().count("does not respond") == 1
    with on_both_workers(program):
        pass


def test_a_worker_prints_what_its_threads_do(program: Program) -> None:
    with on_both_workers(program) as clients:
        (worker, client), _ = clients.items()
        os.kill(worker, REPORT_THREADS)
        program.wait_for_log("most recent call first")
        assert "registry_proxy/service/children.py" in program.said()
        assert client.get(MANIFEST)[0] == 200
