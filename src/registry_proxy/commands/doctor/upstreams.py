"""The upstreams: whether they can be reached, take our credentials, and give us more pulls; and their clocks."""

from __future__ import annotations

import asyncio
import time
from email.utils import parsedate_to_datetime
from functools import partial
from statistics import median
from typing import TYPE_CHECKING

from yarl import URL

from registry_proxy.aio.tasks import background_tasks
from registry_proxy.commands.config.credential_check import try_credentials
from registry_proxy.commands.doctor.findings import Check, Finding, fail, ok, warn
from registry_proxy.oci.reference import Repository, Tag
from registry_proxy.service.wiring.credentials import build_provider
from registry_proxy.service.wiring.upstreams import preset_of
from registry_proxy.upstream.base import UpstreamDeniedError, UpstreamError, UpstreamLimitedError
from registry_proxy.upstream.transport import Transport
from registry_proxy.upstream.upstream import RegistryUpstream

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from registry_proxy.aio.tasks import BackgroundTasks
    from registry_proxy.config import Settings, UpstreamSettings
    from registry_proxy.upstream.auth.credentials import CredentialProvider, Credentials

HUB = "docker.io"
# A HEAD of it counts as no pull.
_SAMPLE = Repository("library/hello-world"), Tag("latest")
_ANY = Repository("library/alpine")
# Beyond this TLS and tokens fail; beyond the other, log lines and ages are wrong. Seconds.
_WRONG, _OFF = 300.0, 10.0


class Clocks:
    """How far the upstreams' clocks are ahead of ours, in seconds, as their answers tell."""

    def __init__(self) -> None:
        self.offsets: list[float] = []

    def note(self, date: str | None) -> None:
        """An answer came just now with this `Date`."""
        if date is None:
            return
        try:
            self.offsets.append(parsedate_to_datetime(date).timestamp() - time.time())
        except ValueError:
            return

    def finding(self) -> Finding | None:
        """What they say together; one that is wrong itself doesn't count among many."""
        if not self.offsets:
            return None
        offset = median(self.offsets)
        text = f"{abs(offset):.0f} s {'behind' if offset > 0 else 'ahead of'} the upstreams'"
        remedy = "Let it be set over the network: `timedatectl set-ntp true`."
        if abs(offset) > _WRONG:
            return fail("clock", f"{text}: certificates and logins will be refused", remedy)
        if abs(offset) > _OFF:
            return warn("clock", text, remedy)
        return ok("clock", "agrees with the upstreams'")


def upstream_checks(settings: Settings) -> Iterator[Check]:
    """One for all of them, since the clock is known once all have answered."""
    yield Check("upstreams", partial(check_upstreams, settings))


async def check_upstreams(settings: Settings) -> AsyncIterator[Finding]:
    """The findings of each upstream, then the clock's."""
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
    reached = await _reach(subject, settings, clocks)
    if reached.remedy:
        return [reached]
    findings = [reached]
    async with background_tasks() as background:
        provider = build_provider(name, settings, background)
        for path in ("", *settings.paths):
            finding = await _credentials(subject, name, settings, provider, path)
            if finding is not None:
                findings.append(finding)
        if settings.registry == HUB:
            findings.append(await _pulls(subject, name, settings, provider, background))
    return findings


async def _reach(subject: str, settings: UpstreamSettings, clocks: Clocks) -> Finding:
    transport = Transport(URL(settings.url))
    try:
        answer = await transport.send("GET", URL(settings.url).with_path("/v2/"), {})
        clocks.note(answer.headers.get("Date"))
        status = answer.status
        await answer.discard()
    except UpstreamError as error:
        remedy = (
            "Check this machine's network, name servers and firewall. What is cached is served meanwhile."
        )
        return fail(subject, str(error), remedy)
    finally:
        await transport.close()
    if status >= 500 or status == 429:
        return warn(
            subject,
            f"it answers {status}",
            "Wait, or see its status page. What is cached is served meanwhile.",
        )
    return ok(subject, f"{settings.url} answers")


async def _credentials(
    subject: str, name: str, settings: UpstreamSettings, provider: CredentialProvider, path: str
) -> Finding | None:
    """Whether the credentials, of a path if there is one, are taken; None without any."""
    where = f"upstreams.{name}" + (f'.paths."{path}"' if path else "")
    try:
        credentials: Credentials | None = await provider.get(Repository(path) if path else _ANY)
    except UpstreamError as error:
        return fail(subject, str(error), f"Mend the program, or the credentials: {where}.")
    if credentials is None:
        return None
    outcome = await try_credentials(preset_of(name, settings), credentials)
    if outcome.accepted:
        return ok(subject, outcome.text.rstrip("."))
    return fail(subject, outcome.text.rstrip("."), f"Renew them: {where}.")


async def _pulls(
    subject: str,
    name: str,
    settings: UpstreamSettings,
    provider: CredentialProvider,
    background: BackgroundTasks,
) -> Finding:
    """The pulls that are left, which every answer about a manifest tells."""
    transport = Transport(URL(settings.url))
    upstream = RegistryUpstream(preset_of(name, settings), transport, background, credentials=provider)
    more = f"Wait, or log in with an account that may pull more: upstreams.{name}. What is cached is served meanwhile."
    try:
        repository, tag = _SAMPLE
        await upstream.repository(repository).resolve(tag)
    except UpstreamLimitedError as error:
        return fail(subject, f"no pull is left: {error}", more)
    except UpstreamDeniedError as error:
        return warn(subject, f"the pulls that are left can't be told: {error}", f"See upstreams.{name}.")
    except UpstreamError as error:
        return warn(subject, f"the pulls that are left can't be told: {error}", "Try again later.")
    finally:
        await upstream.close()
    limit = upstream.rate_limit
    if limit is None:
        return ok(subject, "no limit of pulls is told")
    hours = f" in {limit.window / 3600:g} h" if limit.window else ""
    text = f"{limit.remaining} of {limit.limit} pulls{hours} are left"
    if limit.remaining == 0:
        return fail(subject, text, more)
    return warn(subject, text, more) if limit.remaining < limit.limit / 10 else ok(subject, text)
