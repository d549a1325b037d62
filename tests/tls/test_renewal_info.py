"""When an ACME server wants a certificate renewed (RFC 9773); pebble, as Debian has it, doesn't say."""

from __future__ import annotations

import base64
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Self

import pytest
from tests.tls.issued import issue

from registry_proxy.policy.renewal import Span
from registry_proxy.tls.acme import AcmeClient
from registry_proxy.tls.certificates import read_certificate
from registry_proxy.tls.challenges import Challenges
from registry_proxy.tls.issuer import CertificateAuthority, IssueError, RenewalSuggestion

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from cryptography import x509
    from tests.kit.certificates import Authority

WINDOW = {"start": "2027-01-02T04:00:00Z", "end": "2027-01-03T04:00:00Z"}


class RenewalInfo:
    """An ACME server that knows nothing else, in a thread."""

    def __init__(self, authority: Authority) -> None:
        self.status = 200
        self.headers: dict[str, str] = {}
        self.answer: object = {"suggestedWindow": WINDOW}
        self.asked: list[str] = []
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._server.socket = authority.server_context("127.0.0.1").wrap_socket(
            self._server.socket, server_side=True
        )
        self.url = f"https://127.0.0.1:{self._server.server_port}"
        self.directory = {"renewalInfo": f"{self.url}/renewal-info"}
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        info = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                info.serve(self)

            def log_message(self, *_: object) -> None:
                pass

        return Handler

    def serve(self, handler: BaseHTTPRequestHandler) -> None:
        """Answer one request."""
        _, kind, *rest = handler.path.split("/")
        is_directory = kind == "directory"
        self.asked += rest
        handler.send_response(200 if is_directory else self.status)
        for name, value in {} if is_directory else self.headers.items():
            handler.send_header(name, value)
        handler.send_header("Content-Type", "application/json")
        handler.end_headers()
        handler.wfile.write(json.dumps(self.directory if is_directory else self.answer).encode())

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


@pytest.fixture
def info(authority: Authority) -> Iterator[RenewalInfo]:
    with RenewalInfo(authority) as info:
        yield info


@pytest.fixture
def client(info: RenewalInfo, authority: Authority, tmp_path: Path) -> AcmeClient:
    root = tmp_path / "root.pem"
    root.write_bytes(authority.pem)
    server = CertificateAuthority("test", f"{info.url}/directory", root=root)
    return AcmeClient(server, tmp_path / "account.json", Challenges(tmp_path / "challenges"))


@pytest.fixture
def leaf(authority: Authority, tmp_path: Path) -> x509.Certificate:
    return read_certificate(issue(authority.ca, tmp_path, "a.example.com")).leaf


def test_the_window_and_the_next_look_are_the_servers(
    info: RenewalInfo, client: AcmeClient, leaf: x509.Certificate
) -> None:
    info.headers["Retry-After"] = "3600"
    assert client.renewal_suggestion(leaf) == RenewalSuggestion(Span(1798862400.0, 1798948800.0), 3600.0)
    issuer, serial = info.asked[0].split(".")
    assert int.from_bytes(base64.urlsafe_b64decode(serial + "=="), "big", signed=True) == leaf.serial_number
    assert "=" not in issuer + serial


def test_a_server_that_has_no_say_is_not_asked(
    info: RenewalInfo, client: AcmeClient, leaf: x509.Certificate
) -> None:
    info.directory.clear()
    assert client.renewal_suggestion(leaf) == RenewalSuggestion(None, None)
    assert info.asked == []


@pytest.mark.parametrize(
    ("status", "answer"),
    [
        (500, {}),
        (200, {}),
        (200, []),
        (200, {"suggestedWindow": {"start": "soon", "end": "later"}}),
        (200, {"suggestedWindow": {"start": WINDOW["end"], "end": WINDOW["start"]}}),
        (429, {"type": "urn:ietf:params:acme:error:rateLimited", "detail": "too often"}),
    ],
)
def test_an_answer_that_cannot_be_used_is_an_error(
    status: int, answer: object, info: RenewalInfo, client: AcmeClient, leaf: x509.Certificate
) -> None:
    info.status, info.answer = status, answer
    info.headers["Retry-After"] = "120"
    with pytest.raises(IssueError) as caught:
        client.renewal_suggestion(leaf)
    assert caught.value.retry_after == 120
