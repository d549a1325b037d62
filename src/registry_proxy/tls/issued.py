"""Certificates issued by a CA, on disk."""

from __future__ import annotations

from typing import TYPE_CHECKING

from registry_proxy.atomic_files import write_private
from registry_proxy.tls.certificates import Certificate, CertificateError, CertificateFiles, read_certificate

if TYPE_CHECKING:
    from pathlib import Path


class IssuedCertificates:
    """The directory with one CA's certificates: `HOSTNAME.pem`, key first, and `HOSTNAME.json` after a failure."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def files(self, hostname: str) -> CertificateFiles:
        """Return the one file that holds both certificate and key."""
        path = self.path / f"{hostname}.pem"
        return CertificateFiles(path, path)

    def failure(self, hostname: str) -> Path:
        """Return the file that records the last attempt, if it failed."""
        return self.path / f"{hostname}.json"

    def read(self, hostname: str) -> Certificate | None:
        """Return the certificate of a host name, or None if no usable one is stored."""
        try:
            certificate = read_certificate(self.files(hostname))
        except CertificateError:
            return None
        return certificate if certificate.covers(hostname) else None

    def write(self, hostname: str, pem: bytes) -> Certificate:
        """Store a new certificate after checking that it can be served. Raise CertificateError or OSError."""
        target, candidate = self.files(hostname).cert, self.path / f"{hostname}.new"
        write_private(candidate, pem)
        certificate = read_certificate(CertificateFiles(candidate, candidate))
        if not certificate.covers(hostname):
            raise CertificateError(
                f"the CA sent {certificate}, instead of one for {hostname}. Check tls.acme."
            )
        candidate.replace(target)
        return certificate
