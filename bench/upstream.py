"""The upstream registry: plain HTTP, no login, large blobs at a fixed rate, every request counted.

It shares a core with the load generator, so it must be cheap: one thread per connection, sendfile for blobs.
`GET /counts` returns the number of requests for each "METHOD path".
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import socket
import threading
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from bench.content import MANIFEST_TYPE

RATE = 100 << 20  # bytes per second for each transfer, so that a surplus transfer does not slow the others
_PIECE = 256 << 10  # bytes
_BURST_SECONDS = 0.01  # the limit of catching up after a late wake-up or a stalled reader
_IN_MEMORY = (
    64 << 10
)  # smaller documents, in bytes, are sent together with their header, without a fixed rate


@dataclass(frozen=True, slots=True)
class Document:
    """One response: its header, and its body or, for a large blob, the file that contains it."""

    head: bytes
    body: bytes
    file: Path
    size: int

    @property
    def is_large(self) -> bool:
        return self.size > len(self.body)


class Upstream:
    """Server of the tree below `root`. `rate` is in bytes per second for each large transfer."""

    def __init__(self, root: Path, rate: int) -> None:
        self._documents = {
            f"/{file.relative_to(root)}": _document(file) for file in root.rglob("*") if file.is_file()
        }
        self._rate = rate
        self._counts: Counter[str] = Counter()
        self._lock = threading.Lock()

    def serve(self, listener: socket.socket) -> None:
        """Accept connections until the process ends."""
        while True:
            connection, _ = listener.accept()
            threading.Thread(target=self._connection, args=(connection,), daemon=True).start()

    def _connection(self, connection: socket.socket) -> None:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        received = b""
        with connection:
            while True:
                try:
                    while b"\r\n\r\n" not in received:
                        piece = connection.recv(16 << 10)
                        if not piece:
                            return
                        received += piece
                    head, _, received = received.partition(b"\r\n\r\n")
                    self._respond(connection, head)
                except OSError:  # the client has disconnected, which is allowed
                    return

    def _respond(self, connection: socket.socket, head: bytes) -> None:
        method, target, _ = head.decode("latin-1").split(" ", 2)
        path = target.partition("?")[0]
        document = self._documents.get(path)
        with self._lock:
            self._counts[f"{method} {path}"] += 1
            counts = json.dumps(self._counts).encode() if path == "/counts" else b""
        if document is None:
            status = "200 OK" if path in {"/v2/", "/counts"} else "404 Not Found"
            connection.sendall(_head(status, "application/json", len(counts)) + counts)
        elif method == "HEAD":
            connection.sendall(document.head)
        else:
            connection.sendall(document.head + document.body)
            if document.is_large:
                self._send_file(connection, document)

    def _send_file(self, connection: socket.socket, document: Document) -> None:
        due = time.monotonic()
        offset = 0
        with document.file.open("rb") as file:
            while offset < document.size:
                sent = os.sendfile(connection.fileno(), file.fileno(), offset, _PIECE)
                offset += sent
                now = time.monotonic()
                due = max(due, now - _BURST_SECONDS) + sent / self._rate
                if due > now:
                    time.sleep(due - now)


def _document(file: Path) -> Document:
    size = file.stat().st_size
    body = file.read_bytes() if size <= _IN_MEMORY else b""
    digest = file.name if file.name.startswith("sha256:") else f"sha256:{hashlib.sha256(body).hexdigest()}"
    content_type = MANIFEST_TYPE if file.parent.name == "manifests" else "application/octet-stream"
    head = _head("200 OK", content_type, size, f"Docker-Content-Digest: {digest}\r\n")
    return Document(head, body, file, size)


def _head(status: str, content_type: str, length: int, extra: str = "") -> bytes:
    return (
        f"HTTP/1.1 {status}\r\nContent-Type: {content_type}\r\nContent-Length: {length}\r\n{extra}"
        "Docker-Distribution-Api-Version: registry/2.0\r\n\r\n"
    ).encode()


def main() -> None:
    """Serve until killed."""
    parser = argparse.ArgumentParser(prog="python -m bench.upstream", description=__doc__)
    parser.add_argument("--root", type=Path, required=True, help="tree written by bench.content")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--rate", type=int, default=RATE, help="bytes per second for each transfer")
    options = parser.parse_args()
    upstream = Upstream(options.root, options.rate)
    with socket.create_server(("127.0.0.1", options.port), backlog=256) as listener:
        upstream.serve(listener)


if __name__ == "__main__":
    main()
