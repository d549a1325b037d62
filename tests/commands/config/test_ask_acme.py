"""The directory of an ACME server is read before it is accepted."""

from __future__ import annotations

import json
import socket
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from tests.kit.certificates import Authority

from registry_proxy.commands.changes.show import RunOptions
from registry_proxy.commands.config.ask_acme import directory_problem
from registry_proxy.commands.config.context import Flags
from registry_proxy.commands.config.prompter import RefusedAnswerError
from registry_proxy.commands.config.run import run

if TYPE_CHECKING:
    import ssl
    from collections.abc import Iterator

DIRECTORY = {"newNonce": "https://ca.test/nonce", "newAccount": "https://ca.test/account"}


class Quiet(HTTPServer):
    """Clients that do not trust the server end the handshake."""

    def handle_error(self, *_: object) -> None:
        pass


@contextmanager
def served(context: ssl.SSLContext, document: object) -> Iterator[str]:
    """Serve a document as an ACME directory; its URL."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(json.dumps(document).encode())

        def log_message(self, *_: object) -> None:
            pass

    with Quiet(("127.0.0.1", 0), Handler) as server:
        server.socket = context.wrap_socket(server.socket, server_side=True)
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"https://127.0.0.1:{server.server_port}/directory"
        finally:
            server.shutdown()
            thread.join()


def test_a_directory_that_can_be_read_with_the_root_is_no_problem(tmp_path: Path) -> None:
    ours, other = Authority.create(), Authority.create()
    for authority, name in ((ours, "ours"), (other, "other")):
        (tmp_path / name).write_bytes(authority.pem)
    with served(ours.server_context("127.0.0.1"), DIRECTORY) as url:
        assert directory_problem(url, tmp_path / "ours") is None
        assert "is not trusted" in str(directory_problem(url, tmp_path / "other"))
    with served(ours.server_context("127.0.0.1"), {"hello": "world"}) as url:
        assert f"Check that {url} is an ACME directory" in str(directory_problem(url, tmp_path / "ours"))


def test_a_server_that_does_not_respond_is_refused_and_nothing_is_written(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        url = f"https://127.0.0.1:{closed.getsockname()[1]}/directory"
    flags = Flags(hostname=("localhost",), certificates=url, agree_tos=True, path=Path("/srv/images"))
    with pytest.raises(RefusedAnswerError, match="is unreachable"):
        run(tmp_path / "registry-proxy.toml", flags, RunOptions(yes=True), activate=False)
    assert list(tmp_path.iterdir()) == []
