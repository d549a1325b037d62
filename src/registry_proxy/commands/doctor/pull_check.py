"""Requests as each client sends them: does a registry-proxy respond?"""

from __future__ import annotations

import ssl
from functools import partial
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from registry_proxy.commands.doctor.addresses import resolve
from registry_proxy.commands.doctor.clients import RouteScan
from registry_proxy.commands.doctor.daemons import Daemons
from registry_proxy.commands.doctor.findings import Check, Finding, fail, not_permitted, ok, warn
from registry_proxy.commands.doctor.mirrors import HUB, MirrorRoute
from registry_proxy.commands.probe import Endpoint, ProbeError, ProbeResponse, probe

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

    from registry_proxy.commands.doctor.machine_files import Machine

_PORTS = {"http": 80, "https": 443}
# Small images. For other registries, a 404 response is sufficient.
_SAMPLES = {
    HUB: ("library/hello-world", "latest"),
    "quay.io": ("prometheus/busybox", "latest"),
    "gcr.io": ("distroless/static", "latest"),
    "registry.k8s.io": ("pause", "3.10"),
}
_NOT_CONFIGURED = "is not configured on this cache"
_MISSING = ("registry-proxy/doctor", "latest")
_LOGIN = "Configure one: `registry-proxy client {client} --apply --username USER --password-file FILE`."
_TRUST = "Pass the CA to the client: `registry-proxy client {client} --apply --ca FILE`."


async def client_checks(machine: Machine, server: str | None, daemons: Daemons | None = None) -> list[Check]:
    """Return a check for each mirror of each client on the machine, and for the server at a URL."""
    scan = RouteScan(machine, daemons or Daemons())
    await scan.run()
    checks = [Check("clients", partial(_yield, scan.findings))]
    if server is not None:
        parts = urlsplit(server)
        checks.append(Check(server, partial(check_server, server)))
        others = [each for each in scan.routes if each.host != parts.netloc]
        checks += [Check(other.client, partial(_elsewhere, other, server)) for other in others]
    checks += [Check(f"{each.client} {each.registry}", partial(check_route, each)) for each in scan.routes]
    return checks


async def _yield(findings: list[Finding]) -> AsyncIterator[Finding]:
    for finding in findings:
        yield finding


async def _elsewhere(route: MirrorRoute, server: str) -> AsyncIterator[Finding]:
    text = f"{route.file} sends {route.registry} to {route}, not to {server}"
    yield warn(route.client, text, "Correct if this is the same server with another name.")


async def check_server(url: str) -> AsyncIterator[Finding]:
    """Check that a registry-proxy responds at a URL."""
    parts = urlsplit(url)
    try:
        ping = await _get(
            MirrorRoute("", "", HUB, parts.netloc, (parts.scheme,)), parts.scheme, "/v2/", "GET"
        )
    except ssl.SSLCertVerificationError as error:
        remedy = (
            "Correct for a private CA that only the clients' files refer to; else add it to the system's CAs."
        )
        yield warn(url, f"this machine does not trust its certificate: {error.verify_message}", remedy)
    except (ssl.SSLError, ProbeError, OSError, UnicodeError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        yield fail(url, reason, "Check that the server runs, and the network from here to there.")
    else:
        if ping.is_ours:
            yield ok(
                url, "a registry-proxy responds" + (", and requires a login" if ping.status == 401 else "")
            )
        else:
            yield fail(
                url, f"another server responds with {ping.status}", "Fix the URL, or the proxy in front."
            )


async def check_route(route: MirrorRoute) -> AsyncIterator[Finding]:
    """Send the mirror a version check, then a request for a manifest."""
    subject = f"{route.client} {route.registry}"
    try:
        scheme, ping = await _first(route, route.ping)
        problem = _ping_problem(subject, route, ping)
        if problem is not None:
            yield problem
            return
        sample = _SAMPLES.get(route.registry, _MISSING)
        response = await _get(route, scheme, route.path(*sample), "HEAD")
    except ssl.SSLCertVerificationError as error:
        yield fail(subject, f"{route}: its certificate is not trusted: {error.verify_message}", _trust(route))
    except PermissionError as error:
        yield not_permitted(subject, error.filename or f"the certificates for {route}")
    except (ssl.SSLError, ProbeError, OSError, UnicodeError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        remedy = f"Check that the server runs and that this machine reaches it, or fix {route.file}."
        yield fail(subject, f"{route}: {reason}", remedy)
    else:
        yield _judge(subject, route, response)


def _trust(route: MirrorRoute) -> str:
    return _TRUST.format(client=route.client)


def _ping_problem(subject: str, route: MirrorRoute, ping: ProbeResponse) -> Finding | None:
    if not ping.is_ours:
        text = f"{route} responds with {ping.status}, and is not a registry-proxy"
        return warn(subject, text, f"Correct if another mirror is intended; else fix {route.file}.")
    if ping.status == 401:
        login = "refuses the configured one" if route.headers else "none is configured"
        return fail(subject, f"{route} requires a login, and {login}", _LOGIN.format(client=route.client))
    if ping.status != 200:
        return fail(
            subject, f"{route} responds with {ping.status} {ping.reason}", "Check [access] on the server."
        )
    return None


def _judge(subject: str, route: MirrorRoute, response: ProbeResponse) -> Finding:
    cache_status = response.headers.get("cache-status", "").removeprefix("registry-proxy; ")
    if not response.is_ours:
        text = f"{route} responds to /v2/, but another server responds to requests for images"
        return fail(
            subject, text, "Configure the reverse proxy in front to send all of /v2/ to registry-proxy."
        )
    if response.status >= 500 or response.status == 429:
        return fail(
            subject,
            f"{route} cannot reach the registry: {response.reason}",
            "Run `registry-proxy doctor` there.",
        )
    refusal = _refusal(subject, route, response)
    if refusal is not None:
        return refusal
    if route.doubt:
        text = f"{route} serves it ({cache_status}), but {route.doubt}"
        return warn(subject, text, "Start the daemon, and run this as root.")
    return ok(subject, f"pulls through {route} ({cache_status})")


def _refusal(subject: str, route: MirrorRoute, response: ProbeResponse) -> Finding | None:
    """Return the finding if the mirror does not serve this registry, or not to this client."""
    if response.status == 404 and _NOT_CONFIGURED in response.reason:
        text = f"{route} does not serve {route.registry}: the client pulls from the registry itself"
        remedy = f"Add the registry to the server's configuration, or remove it from {route.file}."
        return warn(subject, text, remedy)
    # An upstream that refuses sends no challenge to the clients; it may refuse images that do not exist.
    challenged = "www-authenticate" in response.headers
    if challenged or (response.status in {401, 403} and route.registry in _SAMPLES):
        remedy = _LOGIN.format(client=route.client) if challenged else "Run `registry-proxy doctor` there."
        return fail(subject, f"{route} refuses {route.registry}: {response.status} {response.reason}", remedy)
    return None


async def _first(route: MirrorRoute, path: str) -> tuple[str, ProbeResponse]:
    """Return the first scheme that works, and the response."""
    *others, last = route.schemes
    for scheme in others:
        try:
            return scheme, await _get(route, scheme, path, "GET")
        except (ProbeError, ssl.SSLError):
            continue
    return last, await _get(route, last, path, "GET")


async def _get(route: MirrorRoute, scheme: str, path: str, method: str) -> ProbeResponse:
    parts = urlsplit(f"{scheme}://{route.host}")
    name = parts.hostname or ""
    address = (await resolve(name))[0]
    tls = _context(route) if scheme == "https" else None
    endpoint = Endpoint(address, parts.port or _PORTS[scheme], name, tls)
    headers: Mapping[str, str] = {"Host": route.host, **route.headers}
    return await probe(endpoint, path, method=method, headers=headers)


def _context(route: MirrorRoute) -> ssl.SSLContext:
    """Return the client's TLS settings. Raise OSError."""
    context = ssl.create_default_context()
    for file in route.ca_files:
        context.load_verify_locations(file)
    if route.identity is not None:
        context.load_cert_chain(*route.identity)
    if not route.verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context
