"""Findings, and the checks that they come from: run together, each with a time of its own."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterable

_PATIENCE = 30.0  # seconds


class Verdict(StrEnum):
    """How good what was found is."""

    OK = "ok"
    WARN = "warn"
    FAIL = "fail"


@dataclass(frozen=True, slots=True)
class Finding:
    """One line: what was looked at, what it is like, and what to do about it unless it is well."""

    verdict: Verdict
    subject: str
    text: str
    remedy: str = ""


def ok(subject: str, text: str) -> Finding:
    """It is well."""
    return Finding(Verdict.OK, subject, text)


def warn(subject: str, text: str, remedy: str) -> Finding:
    """It may be meant so."""
    return Finding(Verdict.WARN, subject, text, remedy)


def fail(subject: str, text: str, remedy: str) -> Finding:
    """Something does not work."""
    return Finding(Verdict.FAIL, subject, text, remedy)


@dataclass(frozen=True, slots=True)
class Check:
    """Something to look at; `subject` names it where the look itself fails."""

    subject: str
    look: Callable[[], AsyncIterator[Finding]]


async def examine(checks: Iterable[Check], patience: float = _PATIENCE) -> list[Finding]:
    """What all checks find, in their order. None waits for another, and none keeps another from ending."""
    found = await asyncio.gather(*(_examine(check, patience) for check in checks))
    return [finding for findings in found for finding in findings]


async def _examine(check: Check, patience: float) -> list[Finding]:
    found = []
    try:
        async with asyncio.timeout(patience):
            async for finding in check.look():
                found.append(finding)  # noqa: PERF401  what was found before a failure counts
    except TimeoutError:
        text = f"there was no result within {patience:g} s"
        found.append(fail(check.subject, text, "Look at the network, the name servers and the disk."))
    except Exception as error:  # noqa: BLE001  a check that breaks must not hide what the others find
        text = f"the check broke: {type(error).__name__}: {error}"
        found.append(fail(check.subject, text, "Please report this."))
    return found
