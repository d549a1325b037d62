"""The served certificates: selected by host name, replaced when their files change."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

from registry_proxy.aio.filestamp import FileStamp
from registry_proxy.tls.certificates import (
    Certificate,
    CertificateError,
    CertificateFiles,
    read_certificate,
    wildcard_of,
)

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable, Sequence
    from pathlib import Path

log = logging.getLogger(__name__)

# Seconds between checks for changed files.
_CHECK_INTERVAL = 2.0

# The stamps of certificate and key; None for a missing file.
_Stamps = tuple[FileStamp | None, FileStamp | None]


class CertificateStore:
    """The certificates of all files. While a file is unusable, its previous certificate is served.

    `clock` returns seconds since the epoch. `logs_changes` returns whether this process logs changes, which all
    processes see. `client_ca`: file of the CA certificates that verify client certificates. `issued`: a CA issues the
    certificates, so files may be missing at first.
    """

    def __init__(
        self,
        files: Sequence[CertificateFiles],
        clock: Callable[[], float],
        logs_changes: Callable[[], bool],
        *,
        client_ca: Path | None = None,
        issued: bool = False,
    ) -> None:
        self._files = list(files)
        self._client_ca = client_ca
        self._clock = clock
        self._logs_changes = logs_changes
        self._issued = issued
        self._certificates: dict[CertificateFiles, Certificate] = {}
        self._loaded: dict[CertificateFiles, _Stamps] = {}
        self._seen: dict[CertificateFiles, _Stamps] = {}
        self._by_name: dict[str, Certificate] = {}

    @property
    def certificates(self) -> list[Certificate]:
        """The served certificates, in the order of the configuration."""
        return [self._certificates[files] for files in self._files if files in self._certificates]

    def select(self, hostname: str | None) -> ssl.SSLContext | None:
        """Return the TLS context for a host name, or None without a matching certificate.

        A client that sends no name, for example because it connects to an IP address, gets the first certificate.
        """
        certificate = self._find(hostname)
        if certificate is None and self._issued:
            # It may have been issued since the last check.
            self.refresh()
            certificate = self._find(hostname)
        return certificate.context if certificate else None

    def _find(self, hostname: str | None) -> Certificate | None:
        if hostname is None:
            return next(iter(self.certificates), None)
        name = hostname.lower()
        return self._by_name.get(name) or self._by_name.get(wildcard_of(name))

    def load(self) -> None:
        """Read all files, including those of expired certificates. Raise CertificateError if a file is unusable."""
        for files in self._files:
            self._seen[files] = self._loaded[files] = _stamps(files)
            self._certificates[files] = read_certificate(files, self._client_ca)
        self._index()

    def watch_file(self, files: CertificateFiles) -> None:
        """Add a certificate. It is served as soon as its files exist."""
        if files not in self._files:
            self._files.append(files)

    async def watch(self) -> None:
        """Apply changes of the files until cancelled."""
        while True:
            await asyncio.sleep(_CHECK_INTERVAL)
            self.refresh()

    def refresh(self, *, at_once: bool = False) -> None:
        """Re-read changed files, once they are the same at two successive calls. `at_once` does not wait for that.

        Certificate and key files are not replaced in one step, and some programs write them slowly.
        """
        at_once = at_once or self._issued
        for files in self._files:
            stamps = _stamps(files)
            settled = at_once or self._seen.get(files) == stamps
            self._seen[files] = stamps
            if settled and self._loaded.get(files) != stamps:
                self._loaded[files] = stamps
                self._replace(files, stamps)

    def _replace(self, files: CertificateFiles, stamps: _Stamps) -> None:
        if self._issued and stamps[0] is None:
            return
        try:
            certificate = read_certificate(files, self._client_ca)
            self._check_dates(certificate, files)
        except CertificateError as error:
            current = self._certificates.get(files)
            level = logging.ERROR if self._logs_changes() else logging.DEBUG
            log.log(level, "%s Serving %s until then.", error, current or "no certificate")
            return
        self._certificates[files] = certificate
        self._index()
        log.log(logging.INFO if self._logs_changes() else logging.DEBUG, "now serving %s", certificate)

    def _check_dates(self, certificate: Certificate, files: CertificateFiles) -> None:
        now = self._clock()
        if now >= certificate.validity.stop:
            raise CertificateError(f"{files.cert}: {certificate}, has expired. Replace it.")
        if now < certificate.validity.start:
            raise CertificateError(f"{files.cert} is not valid yet. Check this machine's clock.")

    def _index(self) -> None:
        self._by_name = {}
        for certificate in self.certificates:
            for name in certificate.names:
                self._by_name.setdefault(name, certificate)


def _stamps(files: CertificateFiles) -> _Stamps:
    return FileStamp.read(files.cert), FileStamp.read(files.key)
