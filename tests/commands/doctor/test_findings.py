from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from registry_proxy.commands.doctor.findings import Check, Finding, Severity, ok, run_checks

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


async def well() -> AsyncIterator[Finding]:
    yield ok("this", "is well")


async def endless() -> AsyncIterator[Finding]:
    yield ok("endless", "begins well")
    await asyncio.Event().wait()


async def breaking() -> AsyncIterator[Finding]:
    yield ok("breaking", "begins well")
    raise ValueError("of no use")


async def test_no_check_keeps_another_from_telling_what_it_found() -> None:
    checks = [Check("endless", endless), Check("breaking", breaking), Check("this", well)]
    found = await run_checks(checks, 0.05)
    assert [(each.severity, each.subject) for each in found] == [
        (Severity.OK, "endless"),
        (Severity.FAIL, "endless"),
        (Severity.OK, "breaking"),
        (Severity.FAIL, "breaking"),
        (Severity.OK, "this"),
    ]
    assert "no result within 0.05 s" in found[1].text
    assert "ValueError: of no use" in found[3].text


async def test_checks_run_together() -> None:
    meeting = asyncio.Barrier(3)

    async def meet() -> AsyncIterator[Finding]:
        await meeting.wait()
        yield ok("met", "the others")

    assert len(await run_checks([Check("meet", meet)] * 3, 5.0)) == 3
