"""Going the ways of clients: whether what they ask comes out of a cache of this program."""

from __future__ import annotations

import ssl
from functools import partial
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from registry_proxy.commands.doctor.addresses import resolve
from registry_proxy.commands.doctor.clients import DockerInfo, Machine, RouteSurvey, docker_info
from registry_proxy.commands.doctor.findings import Check, Finding, fail, ok, warn
from registry_proxy.commands.doctor.mirrors import HUB, MirrorRoute
from registry_proxy.commands.doctor.probe import AskError, Reply, Target, ask

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

_PORTS = {"http": 80, "https": 443}
# Something small to ask for. Elsewhere an answer that it is missing will do.
_SAMPLES = {
    HUB: ("library/hello-world", "latest"),
    "quay.io": ("prometheus/busybox", "latest"),
    "gcr.io": ("distroless/static", "latest"),
    "registry.k8s.io": ("pause", "3.10"),
}
_NOWHERE = ("registry-proxy/doctor", "latest")
_LOGIN = "Give it one: `registry-proxy client {client} --apply --username USER --password-file FILE`."
_TRUST = "Give the client the authority: `registry-proxy client {client} --apply --ca FILE`."


async def client_checks(
    machine: Machine, server: str | None, docker_info: DockerInfo = docker_info
) -> list[Check]:
    """A check for each way that a client on the machine goes, and for the server at a URL."""
    survey = RouteSurvey(machine, docker_info)
    await survey.look()
    checks = [Check("clients", partial(_told, survey.findings))]
    if server is not None:
        parts = urlsplit(server)
        checks.append(Check(server, partial(check_server, server)))
        others = [each for each in survey.mirror_routes if each.host != parts.netloc]
        checks += [Check(other.client, partial(_elsewhere, other, server)) for other in others]
    checks += [Check(f"{way.client} {way.registry}", partial(check_way, way)) for way in survey.mirror_routes]
    return checks


async def _told(findings: list[Finding]) -> AsyncIterator[Finding]:
    for finding in findings:
        yield finding


async def _elsewhere(way: MirrorRoute, server: str) -> AsyncIterator[Finding]:
    text = f"{way.file} sends {way.registry} to {way}, not to {server}"
    yield warn(way.client, text, "Right if it is the same server by another name.")


async def check_server(url: str) -> AsyncIterator[Finding]:
    """Whether a server of this program answers there, to this machine."""
    parts = urlsplit(url)
    try:
        ping = await _get(
            MirrorRoute("", "", HUB, parts.netloc, (parts.scheme,)), parts.scheme, "/v2/", "GET"
        )
    except ssl.SSLCertVerificationError as error:
        remedy = "Right for an authority of your own that only the clients' files name; else let the system trust it."
        yield warn(url, f"this machine does not trust its certificate: {error.verify_message}", remedy)
    except (ssl.SSLError, AskError, OSError, UnicodeError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        yield fail(url, reason, "Check that the server runs, and the network from here to there.")
    else:
        if ping.is_ours:
            yield ok(
                url, "a registry-proxy answers" + (", and asks for a login" if ping.status == 401 else "")
            )
        else:
            yield fail(
                url, f"something else answers {ping.status}", "Mend the address, or the proxy in front."
            )


async def check_way(way: MirrorRoute) -> AsyncIterator[Finding]:
    """Ping the mirror, then ask it for a manifest."""
    subject = f"{way.client} {way.registry}"
    try:
        scheme, ping = await _first(way, way.ping)
        problem = _ping_problem(subject, way, ping)
        if problem is not None:
            yield problem
            return
        sample = _SAMPLES.get(way.registry, _NOWHERE)
        reply = await _get(way, scheme, way.path(*sample), "HEAD")
    except ssl.SSLCertVerificationError as error:
        yield fail(subject, f"{way}: its certificate is not trusted: {error.verify_message}", _trust(way))
    except (ssl.SSLError, AskError, OSError, UnicodeError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        remedy = f"Check that the server runs and that this machine reaches it, or mend {way.file}."
        yield fail(subject, f"{way}: {reason}", remedy)
    else:
        yield _judge(subject, way, reply)


def _trust(way: MirrorRoute) -> str:
    return _TRUST.format(client=way.client)


def _ping_problem(subject: str, way: MirrorRoute, ping: Reply) -> Finding | None:
    if not ping.is_ours:
        text = f"{way} answers {ping.status}, and is no registry-proxy"
        return warn(subject, text, f"Right if it is meant to be another mirror; else mend {way.file}.")
    if ping.status == 401:
        text = f"{way} asks for a login, and {'refuses the one' if way.headers else 'there is none'} that is configured"
        return fail(subject, text, _LOGIN.format(client=way.client))
    if ping.status != 200:
        return fail(subject, f"{way} answers {ping.status} {ping.reason}", "Look at [access] on the server.")
    return None


def _judge(subject: str, way: MirrorRoute, reply: Reply) -> Finding:
    told = reply.headers.get("cache-status", "").removeprefix("registry-proxy; ")
    if not reply.is_ours:
        text = f"{way} answers /v2/, but something else answers for images"
        return fail(subject, text, "Let the reverse proxy in front send all of /v2/ to registry-proxy.")
    if reply.status >= 500 or reply.status == 429:
        return fail(
            subject, f"{way} can't get at the registry: {reply.reason}", "Run `registry-proxy doctor` there."
        )
    return ok(subject, f"goes through {way} ({told})")


async def _first(way: MirrorRoute, path: str) -> tuple[str, Reply]:
    """The answer by the first scheme that works, and that scheme."""
    *others, last = way.schemes
    for scheme in others:
        try:
            return scheme, await _get(way, scheme, path, "GET")
        except (AskError, ssl.SSLError):
            continue
    return last, await _get(way, last, path, "GET")


async def _get(way: MirrorRoute, scheme: str, path: str, method: str) -> Reply:
    parts = urlsplit(f"{scheme}://{way.host}")
    name = parts.hostname or ""
    address = (await resolve(name))[0]
    tls = _context(way) if scheme == "https" else None
    target = Target(address, parts.port or _PORTS[scheme], name, tls)
    headers: Mapping[str, str] = {"Host": way.host, **way.headers}
    return await ask(target, path, method=method, headers=headers)


def _context(way: MirrorRoute) -> ssl.SSLContext:
    """TLS as the client does it. Raises OSError."""
    context = ssl.create_default_context()
    for file in way.authorities:
        context.load_verify_locations(file)
    if way.identity is not None:
        context.load_cert_chain(*way.identity)
    if not way.verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context
