"""What an ACME server's error means to whoever runs this server, and what to do about it."""

from __future__ import annotations

import ssl
from typing import TYPE_CHECKING

from acme import errors, messages

from registry_proxy.tls.issuer import IssueError

if TYPE_CHECKING:
    from collections.abc import Iterator

# RFC 8555, section 6.7.
_STEPS = {
    "caa": "Let the domain's CAA record allow this authority, or use another one.",
    "connection": "Make {port} of this machine reachable from the authority under this name: firewall, forwarding.",
    "dns": "Make an A or AAAA record of this name that leads to this machine.",
    "externalAccountRequired": "Set tls.eab_kid and tls.eab_hmac_key as the authority shows them.",
    "incorrectResponse": "Something else answers for this name: check where its A and AAAA records lead.",
    "invalidContact": "Check tls.email.",
    "rateLimited": "Wait, more attempts prolong it; try set-ups out with letsencrypt-staging.",
    "rejectedIdentifier": "Use another host name, or another authority.",
    "serverInternal": "The authority has failed; nothing is to be done here.",
    "tls": "Something else answers on port 443: let TLS through to this server untouched, or use http-01.",
    "unauthorized": "Check that its A and AAAA records lead here, and that nothing else answers on {port}.",
    "unsupportedIdentifier": "Use a public host name.",
    "userActionRequired": "Follow the link that the authority gives.",
}
_PORTS = {"tls-alpn-01": "port 443", "http-01": "port 80"}


def explain(error: Exception, directory: str, challenge: str, retry_after: float | None) -> IssueError:
    """The error of an attempt at `directory` with `challenge`, with what to do."""
    match error:
        case messages.Error():
            return IssueError(_of_server(error, challenge), retry_after)
        case errors.IssuanceError():
            return IssueError(_of_server(error.error, challenge), retry_after)
        case errors.ValidationError():
            return IssueError("; ".join(_of_validation(error, challenge)), retry_after)
        case errors.TimeoutError():
            text = "the authority did not decide in time. Nothing is to be done here."
        case OSError():
            text = _of_network(error, directory)
        case _:
            text = f"the authority's answer could not be used: {error!r}. Check that {directory} is its ACME directory."
    return IssueError(text, retry_after)


def _of_server(error: messages.Error, challenge: str) -> str:
    said = "; ".join(
        filter(None, (error.detail or error.title, *(_detail(sub) for sub in error.subproblems or ())))
    )
    step = _STEPS.get(error.code or "", "Check the host name, and what the authority says.")
    return f'"{said}" ({error.typ}). {step.format(port=_PORTS[challenge])}'


def _detail(error: messages.Error) -> str:
    return f"{error.identifier.value}: {error.detail}" if error.identifier else str(error.detail)


def _of_validation(error: errors.ValidationError, challenge: str) -> Iterator[str]:
    for authorization in error.failed_authzrs:
        for body in authorization.body.challenges:
            if body.error is not None:
                yield _of_server(body.error, challenge)


def _of_network(error: OSError, directory: str) -> str:
    causes = list(_causes(error))
    for cause in causes:
        if isinstance(cause, ssl.SSLCertVerificationError):
            return (
                f"the authority at {directory} isn't trusted: {cause.verify_message}. "
                "Set tls.ca_root to the root certificate that it is trusted by."
            )
    reason = next(
        (each.strerror for each in causes if isinstance(each, OSError) and each.strerror), causes[-1]
    )
    return (
        f"the authority at {directory} can't be reached: {reason}. Check tls.acme, the network and its proxy."
    )


def _causes(error: BaseException) -> Iterator[BaseException]:
    """An exception and those that led to it, the HTTP library's wrappings included."""
    pending: list[BaseException] = [error]
    seen: set[int] = set()
    while pending:
        cause = pending.pop(0)
        if id(cause) in seen:
            continue
        seen.add(id(cause))
        yield cause
        linked = [cause.__cause__, cause.__context__, getattr(cause, "reason", None), *cause.args]
        pending += [each for each in linked if isinstance(each, BaseException)]
