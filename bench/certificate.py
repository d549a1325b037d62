"""The certificate of the servers with TLS, and a client context that trusts it."""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from typing import TYPE_CHECKING

import trustme

if TYPE_CHECKING:
    from pathlib import Path

HOSTNAME = "bench.example"


@dataclass(frozen=True, slots=True)
class Certificate:
    """The files of a certificate for HOSTNAME, and a client's context that trusts it."""

    chain: Path
    key: Path
    client: ssl.SSLContext


def make_certificate(directory: Path) -> Certificate:
    """Issue a certificate, with its files in `directory`."""
    ca = trustme.CA()
    issued = ca.issue_cert(HOSTNAME)
    chain, key = directory / "chain.pem", directory / "key.pem"
    chain.write_bytes(b"".join(pem.bytes() for pem in issued.cert_chain_pems))
    key.write_bytes(issued.private_key_pem.bytes())
    client = ssl.create_default_context()
    ca.configure_trust(client)
    return Certificate(chain, key, client)
