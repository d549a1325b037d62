"""Which worker logs changes of certificates, and which certificates let the server start."""

from __future__ import annotations

import asyncio
import logging
import re
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest
from tests.tls.issued import NOW, issue

from registry_proxy.aio.tasks import BackgroundTasks
from registry_proxy.storage.locks import FileLocks
from registry_proxy.tls import certificate_store
from registry_proxy.tls.certificates import CertificateError
from registry_proxy.tls.challenges import Challenges
from registry_proxy.tls.manager import Timing
from registry_proxy.tls.service import CertificateService

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from tests.kit.certificates import Authority

    from registry_proxy.tls.certificates import CertificateFiles

A = "a.example.com"


def service_of(folder: Path, *files: CertificateFiles) -> CertificateService:
    timing = Timing(NOW.timestamp, lambda: 0.5)
    return CertificateService(files, [A], Challenges(folder / "challenges"), timing)


@asynccontextmanager
async def running(service: CertificateService, locks: Path) -> AsyncIterator[None]:
    """Run the service as one worker does."""
    held = FileLocks(locks)
    async with asyncio.TaskGroup() as tasks:
        background = BackgroundTasks(tasks)
        service.start(background, held)
        yield
        background.cancel()
    held.close()


async def test_one_worker_logs_a_change_and_another_one_succeeds_it(
    authority: Authority, tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(certificate_store, "_CHECK_INTERVAL", 0.02)
    files, locks = issue(authority.ca, tmp_path, A, days=30), tmp_path / "locks"
    one, two = service_of(tmp_path, files), service_of(tmp_path, files)

    async def replace(days: int, services: list[CertificateService]) -> None:
        before = [service._store.select(A) for service in services]
        issue(authority.ca, tmp_path, A, days=days)
        async with asyncio.timeout(10):
            while any(service._store.select(A) in before for service in services):  # noqa: ASYNC110
                await asyncio.sleep(0.01)

    with caplog.at_level(logging.DEBUG, "registry_proxy"):
        async with running(two, locks):
            async with running(one, locks):
                await replace(60, [one, two])
            await replace(90, [two])
    levels = [record.levelname for record in caplog.records if "now serving" in record.getMessage()]
    assert sorted(levels[:2]) == ["DEBUG", "INFO"]
    assert levels[2:] == ["INFO"]


def test_expired_certificates_alone_are_an_error(authority: Authority, tmp_path: Path) -> None:
    expired = issue(authority.ca, tmp_path, A, days=-1, age=30)
    with pytest.raises(
        CertificateError, match=re.escape(f"all certificates have expired: the certificate for {A}, valid")
    ):
        service_of(tmp_path, expired)


def test_a_warning_is_logged_for_a_host_name_without_a_certificate(
    authority: Authority, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    service_of(tmp_path, issue(authority.ca, tmp_path, "b.example.com"))
    assert [record.getMessage() for record in caplog.records] == [
        f"no certificate covers {A}: its clients can't connect. Add one to tls.cert and tls.key."
    ]
