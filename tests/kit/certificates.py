"""A certificate authority of the tests' own, which can be kept in a folder for other processes."""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from typing import TYPE_CHECKING

import trustme

if TYPE_CHECKING:
    from pathlib import Path


@dataclass(frozen=True, slots=True)
class Authority:
    """Issues certificates for simulated servers."""

    ca: trustme.CA

    @classmethod
    def create(cls) -> Authority:
        """Make a new authority."""
        return cls(trustme.CA(organization_name="registry-proxy tests"))

    @classmethod
    def load(cls, folder: Path) -> Authority:
        """Read what `save` wrote."""
        return cls(trustme.CA.from_pem((folder / "ca.pem").read_bytes(), (folder / "ca.key").read_bytes()))

    def save(self, folder: Path) -> Path:
        """Write certificate and key into `folder`; return the certificate's path."""
        key = folder / "ca.key"
        key.touch(mode=0o600)
        key.write_bytes(self.ca.private_key_pem.bytes())
        (folder / "ca.pem").write_bytes(self.pem)
        return folder / "ca.pem"

    @property
    def pem(self) -> bytes:
        """The authority's certificate, for those who shall trust it."""
        return self.ca.cert_pem.bytes()

    def server_context(self, *names: str) -> ssl.SSLContext:
        """Return the TLS settings of a server with a certificate for `names` (host names, addresses)."""
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        self.ca.issue_cert(*names).configure_cert(context)
        return context

    def client_context(self) -> ssl.SSLContext:
        """Return the TLS settings of a client that trusts this authority and nobody else."""
        return ssl.create_default_context(cadata=self.pem.decode())
