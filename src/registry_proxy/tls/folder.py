"""The certificates that an authority has issued, on disk."""

from __future__ import annotations

from typing import TYPE_CHECKING

from registry_proxy.tls.certificates import Certificate, CertificateError, CertificateFiles, read_certificate
from registry_proxy.tls.files import write_private

if TYPE_CHECKING:
    from pathlib import Path


class CertificateFolder:
    """Where the certificates of one authority are kept: `HOSTNAME.pem`, key first, and beside it what failed."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def files(self, hostname: str) -> CertificateFiles:
        """The one file that is both certificate and key."""
        path = self.path / f"{hostname}.pem"
        return CertificateFiles(path, path)

    def failure(self, hostname: str) -> Path:
        """What is known of the last attempt, if it failed."""
        return self.path / f"{hostname}.json"

    def read(self, hostname: str) -> Certificate | None:
        """The certificate of a host name; None without one that can be used."""
        try:
            certificate = read_certificate(self.files(hostname))
        except CertificateError:
            return None
        return certificate if certificate.covers(hostname) else None

    def write(self, hostname: str, pem: bytes) -> Certificate:
        """Put a new certificate in place, if it can be served. Raises CertificateError, OSError."""
        target, candidate = self.files(hostname).cert, self.path / f"{hostname}.new"
        write_private(candidate, pem)
        certificate = read_certificate(CertificateFiles(candidate, candidate))
        if not certificate.covers(hostname):
            raise CertificateError(f"the authority sent {certificate}. Check tls.acme.")
        candidate.replace(target)
        return certificate
