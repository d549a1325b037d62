"""Who takes care of the certificates, and when; the authority is simulated, the rest is real."""

from __future__ import annotations

import asyncio
import logging
import threading
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest
from tests.kit.waiting import until
from tests.tls.issued import NOW, issue

from registry_proxy.aio.tasks import BackgroundTasks
from registry_proxy.policy.renewal import Span
from registry_proxy.storage.locks import FileLocks
from registry_proxy.tls.challenges import Challenges
from registry_proxy.tls.issued import IssuedCertificates
from registry_proxy.tls.issuer import Issued, IssueError, RenewalSuggestion
from registry_proxy.tls.manager import CertificateConfig, CertificateManager, Timing

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence
    from pathlib import Path

    from cryptography import x509
    from tests.kit.certificates import Authority

    from registry_proxy.tls.certificates import Certificate

A, B = "a.example.com", "b.example.com"
DAY = 86400.0


class Simulated:
    """An authority that issues at once, unless told otherwise."""

    def __init__(self, authority: Authority, folder: Path) -> None:
        self._authority = authority
        self._folder = folder
        self.orders: list[tuple[str, str]] = []
        self.failing: dict[str, Exception] = {}
        self.hanging: dict[str, threading.Event] = {}
        self.suggested = RenewalSuggestion(None, None)
        self.other_name = ""
        self.now = NOW.timestamp()

    def issue(self, hostname: str, challenge_types: Sequence[str]) -> Issued:
        challenge = challenge_types[0]
        self.orders.append((hostname, challenge))
        if hostname in self.hanging:
            self.hanging[hostname].wait(20)
        if hostname in self.failing:
            raise self.failing[hostname]
        passed = (self.now - NOW.timestamp()) / DAY
        name = self.other_name or hostname
        files = issue(self._authority.ca, self._folder, name, days=passed + 90, age=-passed)
        return Issued(files.key.read_bytes() + files.cert.read_bytes(), challenge)

    def renewal_suggestion(self, certificate: x509.Certificate) -> RenewalSuggestion:  # noqa: ARG002
        return self.suggested


class Bench:
    """A certificate manager and what it works with."""

    def __init__(self, authority: Authority, folder: Path) -> None:
        (folder / "ca").mkdir()
        self.issuer = Simulated(authority, folder / "ca")
        self.folder = IssuedCertificates(folder / "certificates")
        self.locks = folder / "locks"
        self.challenges = Challenges(folder / "challenges")

    def pass_time(self, seconds: float) -> None:
        """Let time pass, and wake the manager."""
        self.issuer.now += seconds
        self.manager._wake.set()

    async def at_rest(self) -> None:
        """Wait until the manager has no work left and waits for more."""
        await until(
            lambda: (
                not self.manager._wake.is_set()
                and not any(each.busy for each in self.manager._managed.values())
            )
        )

    def has(self, hostname: str) -> bool:
        """Return whether the certificate is stored and the manager is not working on it."""
        managed = self.manager._managed.get(hostname)
        return bool(self.folder.read(hostname)) and managed is not None and not managed.busy

    @asynccontextmanager
    async def running(
        self, *hostnames: str, fingerprint: str = "as configured"
    ) -> AsyncIterator[CertificateManager]:
        """Run one process's manager."""
        task = CertificateConfig("the authority", hostnames, ("tls-alpn-01", "http-01"), fingerprint)
        self.manager = manager = CertificateManager(
            task,
            self.folder,
            self.challenges,
            lambda: self.issuer,
            Timing(lambda: self.issuer.now, lambda: 0.5),
        )
        locks = FileLocks(self.locks)
        async with asyncio.TaskGroup() as tasks:
            background = BackgroundTasks(tasks)
            background.spawn(manager.run(background, locks), "certificate manager")
            try:
                yield manager
            finally:
                background.cancel()
        locks.close()


@pytest.fixture
def bench(authority: Authority, tmp_path: Path) -> Bench:
    return Bench(authority, tmp_path)


async def test_a_name_that_hangs_holds_up_no_other_one_and_no_reload(bench: Bench) -> None:
    bench.issuer.hanging[A] = threading.Event()
    try:
        async with bench.running(A, B) as manager:
            await until(lambda: bench.has(B))
            manager.reconfigure([A, B, "c.example.com"])
            await until(lambda: bench.folder.read("c.example.com") is not None)
            # What is under way is not begun a second time.
            assert [name for name, _ in bench.issuer.orders].count(A) == 1
            bench.issuer.hanging[A].set()
            await until(lambda: bench.has(A))
    finally:
        bench.issuer.hanging[A].set()


@pytest.mark.parametrize("error", [IssueError("refused"), RuntimeError("a defect")])
async def test_a_name_that_fails_is_tried_again_later_and_the_other_way(
    error: Exception, bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    bench.issuer.failing[A] = error
    async with bench.running(A):
        await until(lambda: bench.folder.failure(A).exists())
        await bench.at_rest()
        bench.pass_time(59)
        await bench.at_rest()
        assert bench.issuer.orders == [(A, "tls-alpn-01")]
        bench.pass_time(10)
        await until(lambda: len(bench.issuer.orders) == 2)
        assert bench.issuer.orders[1] == (A, "http-01")
        del bench.issuer.failing[A]
        bench.pass_time(400)
        await until(lambda: bench.has(A))
    assert not bench.folder.failure(A).exists()
    assert str(error) in caplog.text


async def test_a_defect_in_the_care_for_one_name_is_logged_and_stops_no_other_one(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    failing = {A}

    class Faulty(IssuedCertificates):
        def read(self, hostname: str) -> Certificate | None:
            if hostname in failing:
                raise RuntimeError("a defect")
            return super().read(hostname)

    bench.folder = Faulty(bench.folder.path)
    async with bench.running(A, B):
        await until(lambda: bench.has(B))
        assert f"certificate for {A} failed" in caplog.text
        bench.pass_time(59)
        await asyncio.sleep(0.3)
        assert caplog.text.count(f"certificate for {A} failed") == 1
        failing.clear()
        bench.pass_time(2)
        await until(lambda: bench.has(A))


async def test_the_authoritys_pause_is_kept(bench: Bench) -> None:
    bench.issuer.failing[A] = IssueError("rate limited", 7200.0)
    async with bench.running(A):
        await until(lambda: bench.folder.failure(A).exists())
        for _ in range(2):
            await bench.at_rest()
            bench.pass_time(3500)
            await bench.at_rest()
        assert len(bench.issuer.orders) == 1
        bench.pass_time(300)
        await until(lambda: len(bench.issuer.orders) == 2)


async def test_a_failure_outlives_its_process(bench: Bench) -> None:
    bench.issuer.failing[A] = IssueError("refused")
    async with bench.running(A):
        await until(lambda: bench.folder.failure(A).exists())
    async with bench.running(A, B) as manager:
        await until(lambda: bench.has(B))
        assert bench.issuer.orders == [(A, "tls-alpn-01"), (B, "tls-alpn-01")]
        manager.reconfigure([A, B])
        await until(lambda: bench.issuer.orders[2:] == [(A, "http-01")])


async def test_a_corrected_configuration_is_tried_at_once_by_the_next_process(bench: Bench) -> None:
    bench.issuer.failing[A] = IssueError("rate limited", 7200.0)
    async with bench.running(A):
        await until(lambda: bench.folder.failure(A).exists())
    async with bench.running(A):
        await bench.at_rest()
        assert bench.issuer.orders == [(A, "tls-alpn-01")]
    async with bench.running(A, fingerprint="corrected"):
        await until(lambda: bench.issuer.orders[1:] == [(A, "tls-alpn-01")])
        await bench.at_rest()
    # It failed again: another restart is no reason for another attempt.
    async with bench.running(A, fingerprint="corrected"):
        await bench.at_rest()
        assert len(bench.issuer.orders) == 2


async def test_a_certificate_is_renewed_in_the_last_third_of_its_life(bench: Bench) -> None:
    async with bench.running(A):
        await until(lambda: bench.has(A))
        bench.pass_time(59 * DAY)
        await bench.at_rest()
        assert len(bench.issuer.orders) == 1
        bench.pass_time(3 * DAY)
        await until(lambda: len(bench.issuer.orders) == 2)


@pytest.mark.parametrize("step", [-3600.0, -400 * DAY, 3600.0, 400 * DAY])
async def test_a_clock_that_steps_delays_no_attempt(bench: Bench, step: float) -> None:
    bench.issuer.failing[A] = IssueError("refused")
    async with bench.running(A):
        await until(lambda: len(bench.issuer.orders) == 1)
        await bench.at_rest()
        bench.pass_time(step)
        await bench.at_rest()
        begun = len(bench.issuer.orders)
        assert begun == (2 if step > 0 else 1)
        bench.pass_time(1200)
        await until(lambda: len(bench.issuer.orders) == begun + 1)
    async with bench.running(A):
        await bench.at_rest()
        bench.pass_time(step)
        await bench.at_rest()
        bench.pass_time(3600)
        await until(lambda: len(bench.issuer.orders) > begun + 1)


async def test_a_certificate_is_renewed_when_the_authority_says(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    async with bench.running(A):
        with caplog.at_level(logging.INFO):
            await until(lambda: bench.has(A))
            bench.issuer.suggested = RenewalSuggestion(
                Span(bench.issuer.now - DAY, bench.issuer.now - 1), 3600.0
            )
            bench.pass_time(6 * 3600 + 1)
            await until(lambda: len(bench.issuer.orders) == 2)
    assert f"the authority suggests renewing {A} between" in caplog.text


async def test_a_certificate_for_another_name_is_not_put_in_place(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    bench.issuer.other_name = B
    async with bench.running(A):
        await until(lambda: f"the CA sent the certificate for {B}" in caplog.text)
        await until(lambda: bench.folder.failure(A).exists())
    assert bench.folder.read(A) is None


async def test_one_process_is_in_charge_and_another_one_succeeds_it(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("registry_proxy.tls.manager._LOCK_INTERVAL", 0.05)
    left_by_a_crash = bench.challenges.put_http("token", "answer")
    async with bench.running(A):
        await until(lambda: bench.has(A))
        assert not left_by_a_crash.exists()
        async with bench.running(B):
            await asyncio.sleep(0.3)
            assert bench.folder.read(B) is None
    async with bench.running(B):
        await until(lambda: bench.has(B))
