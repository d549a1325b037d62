"""Checks of the upstreams: connection, credentials, remaining pulls, and their clocks."""

from __future__ import annotations

import asyncio
import time
from email.utils import parsedate_to_datetime
from functools import partial
from statistics import median
from typing import TYPE_CHECKING

from registry_proxy.aio.tasks import background_tasks
from registry_proxy.commands.config.credential_check import try_credentials
from registry_proxy.commands.doctor.findings import Check, Finding, fail, ok, warn
from registry_proxy.oci.reference import Repository, Tag
from registry_proxy.service.wiring.credentials import build_provider
from registry_proxy.service.wiring.presets import DEFAULT_REGISTRY, preset_of
from registry_proxy.service.wiring.upstreams import open_upstream
from registry_proxy.upstream.base import UpstreamDeniedError, UpstreamError, UpstreamLimitedError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from registry_proxy.config import Settings, UpstreamSettings
    from registry_proxy.upstream.auth.credentials import CredentialProvider
    from registry_proxy.upstream.presets import Preset

# A HEAD request for it does not count as a pull.
_SAMPLE, _LATEST = Repository("library/hello-world"), Tag("latest")
_ANY = Repository("library/alpine")
# Seconds. Above the first TLS and tokens fail; above the second log lines and ages are wrong.
_FAILING_OFFSET, _WRONG_OFFSET = 300.0, 10.0
_STILL_SERVED = "Cached content is still served."


class Clocks:
    """Offsets of the upstreams' clocks from this machine's, in seconds, by the `Date` of their responses."""

    def __init__(self) -> None:
        self.offsets: list[float] = []

    def add(self, date: str | None) -> None:
        """Add the `Date` of a response that has just arrived."""
        if date is None:
            return
        try:
            self.offsets.append(parsedate_to_datetime(date).timestamp() - time.time())
        except ValueError:
            return

    def finding(self) -> Finding | None:
        """Return the finding for the median: one upstream with a wrong clock does not matter."""
        if not self.offsets:
            return None
        offset = median(self.offsets)
        text = f"{abs(offset):.0f} s {'behind' if offset > 0 else 'ahead of'} the upstreams'"
        remedy = "Synchronise it over the network: `timedatectl set-ntp true`."
        if abs(offset) > _FAILING_OFFSET:
            return fail("clock", f"{text}: certificates and logins will be refused", remedy)
        if abs(offset) > _WRONG_OFFSET:
            return warn("clock", text, remedy)
        return ok("clock", "agrees with the upstreams'")


def upstream_checks(settings: Settings) -> Iterator[Check]:
    """Yield one check for all upstreams: that of the clock needs all responses."""
    yield Check("upstreams", partial(check_upstreams, settings))


async def check_upstreams(settings: Settings) -> AsyncIterator[Finding]:
    """Check each upstream, then the clock."""
    clocks = Clocks()
    found = await asyncio.gather(
        *(_check(name, upstream, clocks) for name, upstream in settings.upstreams.items())
    )
    for findings in found:
        for finding in findings:
            yield finding
    clock = clocks.finding()
    if clock is not None:
        yield clock


async def _check(name: str, settings: UpstreamSettings, clocks: Clocks) -> list[Finding]:
    subject = f"upstream {settings.registry}"
    preset = preset_of(name, settings)
    connection = await _connection(subject, preset, clocks)
    if connection.remedy:
        return [connection]
    findings = [connection]
    async with background_tasks() as background:
        provider = build_provider(name, settings, background)
        for path in ("", *settings.paths):
            finding = await _credentials(subject, preset, provider, path)
            if finding is not None:
                findings.append(finding)
        if settings.registry == DEFAULT_REGISTRY:
            findings.append(await _pulls(subject, preset, provider))
    return findings


async def _connection(subject: str, preset: Preset, clocks: Clocks) -> Finding:
    try:
        async with open_upstream(preset) as upstream:
            response = await upstream.ping()
    except UpstreamError as error:
        remedy = f"Check this machine's network, name servers and firewall. {_STILL_SERVED}"
        return fail(subject, str(error), remedy)
    clocks.add(response.headers.get("Date"))
    if response.status >= 500 or response.status == 429:
        remedy = f"Wait, or check the registry's status page. {_STILL_SERVED}"
        return warn(subject, f"returns {response.status}", remedy)
    return ok(subject, f"{preset.url} responds")


async def _credentials(
    subject: str, preset: Preset, provider: CredentialProvider, path: str
) -> Finding | None:
    """Try the credentials, those of a path if there is one. Return None if there are none."""
    key = f"upstreams.{preset.name}" + (f'.paths."{path}"' if path else "")
    try:
        credentials = await provider.get(Repository(path) if path else _ANY)
    except UpstreamError as error:
        return fail(subject, str(error), f"Fix the program, or the credentials: {key}.")
    if credentials is None:
        return None
    outcome = await try_credentials(preset, credentials)
    if outcome.accepted:
        return ok(subject, outcome.text.rstrip("."))
    return fail(subject, outcome.text.rstrip("."), f"Renew them: {key}.")


async def _pulls(subject: str, preset: Preset, provider: CredentialProvider) -> Finding:
    """Check the remaining pulls, which each response to a manifest request contains."""
    key = f"upstreams.{preset.name}"
    more = f"Wait, or log in with an account that may pull more: {key}. {_STILL_SERVED}"
    try:
        async with open_upstream(preset, provider) as upstream:
            await upstream.repository(_SAMPLE).resolve(_LATEST)
            limit = upstream.rate_limit
    except UpstreamLimitedError as error:
        return fail(subject, f"no pull is left: {error}", more)
    except UpstreamDeniedError as error:
        return warn(subject, f"the number of remaining pulls is unknown: {error}", f"Check {key}.")
    except UpstreamError as error:
        return warn(subject, f"the number of remaining pulls is unknown: {error}", "Try again later.")
    if limit is None:
        return ok(subject, "the registry reports no limit of pulls")
    hours = f" in {limit.window / 3600:g} h" if limit.window else ""
    text = f"{limit.remaining} of {limit.limit} pulls{hours} are left"
    if limit.remaining == 0:
        return fail(subject, text, more)
    return warn(subject, text, more) if limit.remaining < limit.limit / 10 else ok(subject, text)
