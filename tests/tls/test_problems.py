"""What an ACME server says, and what it means to whoever runs the server."""

from __future__ import annotations

import pytest
from acme import errors, messages

from registry_proxy.tls.acme_problems import explain

DIRECTORY = "https://ca.example.com/directory"


def problem(code: str, detail: str, **fields: object) -> messages.Error:
    document = {"type": f"urn:ietf:params:acme:error:{code}", "detail": detail, **fields}
    error = messages.Error.from_json(document)
    assert isinstance(error, messages.Error)
    return error


@pytest.mark.parametrize(
    ("error", "challenge", "said", "step"),
    [
        (problem("dns", "NXDOMAIN looking up A"), "http-01", "NXDOMAIN", "Create an A or AAAA record"),
        (problem("connection", "Timeout"), "http-01", "Timeout", "Make port 80 of this machine reachable"),
        (
            problem("connection", "Timeout"),
            "tls-alpn-01",
            "Timeout",
            "Make port 443 of this machine reachable",
        ),
        (problem("caa", "CAA forbids"), "http-01", "CAA forbids", "CAA record"),
        (problem("rateLimited", "too many"), "http-01", "too many", "letsencrypt-staging"),
        (problem("somethingNew", "no"), "http-01", "somethingNew", "the CA's error message"),
        (errors.IssuanceError(problem("badCSR", "bad")), "http-01", '"bad"', "Check the host name"),
        (errors.TimeoutError(), "http-01", "did not finish the validation", "No action is required"),
        (errors.ClientError("odd"), "http-01", "odd", f"Check that {DIRECTORY}"),
        (KeyError("newOrder"), "http-01", "newOrder", f"Check that {DIRECTORY}"),
        (ConnectionRefusedError(111, "Connection refused"), "http-01", "Connection refused", "tls.acme"),
    ],
)
def test_errors_say_what_to_do(error: Exception, challenge: str, said: str, step: str) -> None:
    explained = explain(error, DIRECTORY, challenge, 30.0)
    assert said in str(explained)
    assert step in str(explained)
    assert explained.retry_after == 30


def test_the_names_of_subproblems_are_told() -> None:
    part = {"type": "urn:ietf:params:acme:error:caa", "detail": "CAA forbids"}
    part["identifier"] = {"type": "dns", "value": "a.example.com"}  # type: ignore[assignment]
    error = problem("malformed", "some are refused", subproblems=[part])
    assert '"some are refused; a.example.com: CAA forbids"' in str(explain(error, DIRECTORY, "http-01", None))
