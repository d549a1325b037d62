"""Findings, and the checks that produce them. All checks run together, each with its own time limit."""

from __future__ import annotations

import asyncio
import os
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterable

_TIMEOUT = 30.0  # seconds
RUN_AS_OWNER = "Run this as root, or as the server's user."


class Severity(StrEnum):
    """The severity of a finding. A warning is possibly intended."""

    OK = "ok"
    WARN = "warn"
    FAIL = "fail"


@dataclass(frozen=True, slots=True)
class Finding:
    """One result: the object that was checked, its state, and a fix unless it is OK."""

    severity: Severity
    subject: str
    text: str
    remedy: str = ""


def ok(subject: str, text: str) -> Finding:
    """Return a finding without a problem."""
    return Finding(Severity.OK, subject, text)


def warn(subject: str, text: str, remedy: str) -> Finding:
    """Return a finding that is possibly intended."""
    return Finding(Severity.WARN, subject, text, remedy)


def fail(subject: str, text: str, remedy: str) -> Finding:
    """Return a finding of something that does not work."""
    return Finding(Severity.FAIL, subject, text, remedy)


def not_permitted(subject: str, path: object) -> Finding:
    """Return a finding of something that this user can't check: its state is unknown."""
    return warn(subject, f"not checked: user {os.geteuid()} can't read {path}", RUN_AS_OWNER)


@dataclass(frozen=True, slots=True)
class Check:
    """A check. `subject` is the subject of the finding if the check itself fails.

    A check that is `alone` changes this process while it runs.
    """

    subject: str
    run: Callable[[], AsyncIterator[Finding]]
    alone: bool = False


async def run_checks(checks: Iterable[Check], limit: float = _TIMEOUT) -> list[Finding]:
    """Return the findings of all checks, in the order of the checks. `limit` is in seconds.

    The checks run concurrently, after those that run alone.
    """
    checks = list(checks)
    found = {check: await _run(check, limit) for check in checks if check.alone}
    others = [check for check in checks if not check.alone]
    found |= zip(others, await asyncio.gather(*(_run(check, limit) for check in others)), strict=True)
    return [finding for check in checks for finding in found[check]]


async def _run(check: Check, limit: float) -> list[Finding]:
    found = []
    try:
        async with asyncio.timeout(limit):
            async for finding in check.run():
                found.append(finding)  # noqa: PERF401  the findings before a failure are kept
    except TimeoutError:
        text = f"there was no result within {limit:g} s"
        found.append(fail(check.subject, text, "Check the network, the name servers and the disk."))
    except PermissionError as error:
        found.append(not_permitted(check.subject, error.filename or "a file"))
    except Exception as error:  # noqa: BLE001  a broken check must not hide the findings of the others
        text = f"the check broke: {type(error).__name__}: {error}"
        found.append(fail(check.subject, text, "Please report this."))
    return found
