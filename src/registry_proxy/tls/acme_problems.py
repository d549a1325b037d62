"""Translation of ACME errors into messages with a fix."""

from __future__ import annotations

import ssl
from typing import TYPE_CHECKING

from acme import errors, messages

from registry_proxy.tls.issuer import IssueError

if TYPE_CHECKING:
    from collections.abc import Iterator

# RFC 8555, section 6.7.
_STEPS = {
    "caa": "Allow this CA in the domain's CAA record, or use another CA.",
    "connection": "Make {port} of this machine reachable from the CA: check firewall and port forwarding.",
    "dns": "Create an A or AAAA record that resolves this host name to this machine.",
    "externalAccountRequired": "Set tls.eab_kid and tls.eab_hmac_key to the values that the CA shows.",
    "incorrectResponse": "Another server responds for this host name: check the A and AAAA records.",
    "invalidContact": "Check tls.email.",
    "rateLimited": "Wait: more attempts prolong the limit. Test a configuration with letsencrypt-staging.",
    "rejectedIdentifier": "Use another host name, or another CA.",
    "serverInternal": "The CA has failed. No action is required here.",
    "tls": "Another server responds on port 443: pass TLS through to this server, or use http-01.",
    "unauthorized": "Check that the A and AAAA records resolve to this machine, and that no other server uses {port}.",
    "unsupportedIdentifier": "Use a public host name.",
    "userActionRequired": "Follow the link in the CA's error message.",
}
_PORTS = {"tls-alpn-01": "port 443", "http-01": "port 80"}


def explain(error: Exception, directory: str, challenge: str, retry_after: float | None) -> IssueError:
    """Return the error of an attempt at the CA's `directory` with `challenge`, including a fix."""
    match error:
        case messages.Error():
            text = _of_server(error, challenge)
        case errors.IssuanceError():
            text = _of_server(error.error, challenge)
        case errors.ValidationError():
            text = "; ".join(_of_validation(error, challenge))
        case errors.TimeoutError():
            text = "the CA did not finish the validation in time. No action is required here."
        case OSError():
            text = _of_network(error, directory)
        case _:
            text = f"the CA's response is unusable: {error!r}. Check that {directory} is an ACME directory."
    return IssueError(text, retry_after, challenge)


def _of_server(error: messages.Error, challenge: str) -> str:
    message = "; ".join(
        filter(None, (error.detail or error.title, *(_detail(sub) for sub in error.subproblems or ())))
    )
    step = _STEPS.get(error.code or "", "Check the host name and the CA's error message.")
    return f'"{message}" ({error.typ}). {step.format(port=_PORTS[challenge])}'


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
                f"the ACME server of {directory} is not trusted: {cause.verify_message}. "
                "Set tls.ca_root to its root certificate."
            )
    reason = next(
        (each.strerror for each in causes if isinstance(each, OSError) and each.strerror), causes[-1]
    )
    return (
        f"the ACME server of {directory} is unreachable: {reason}. Check tls.acme, the network and its proxy."
    )


def _causes(error: BaseException) -> Iterator[BaseException]:
    """Yield an exception and its causes, including those that the HTTP library wraps."""
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
