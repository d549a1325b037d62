"""The certificates in use, found by host name, and replaced when their files are."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

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

# How often to look whether files have changed. Seconds.
_LOOK_EVERY = 2.0

# What tells one version of a file from another; None: there is none.
Stamp = tuple[int, int, int] | None


class CertificateStore:
    """What the files hold. A file that can't be used leaves the certificate before it in force.

    `clock` gives seconds since the epoch; `speaks`: whether it is this process that logs what all of them see.
    `client_ca`: the authorities that clients' certificates are checked against. `issued`: the files are an ACME
    client's and may not be there yet.
    """

    def __init__(
        self,
        files: Sequence[CertificateFiles],
        clock: Callable[[], float],
        speaks: Callable[[], bool],
        *,
        client_ca: Path | None = None,
        issued: bool = False,
    ) -> None:
        self._files = list(files)
        self._client_ca = client_ca
        self._clock = clock
        self._speaks = speaks
        self._issued = issued
        self._certificates: dict[CertificateFiles, Certificate] = {}
        self._loaded: dict[CertificateFiles, tuple[Stamp, Stamp]] = {}
        self._seen: dict[CertificateFiles, tuple[Stamp, Stamp]] = {}
        self._by_name: dict[str, Certificate] = {}

    @property
    def certificates(self) -> list[Certificate]:
        """Those in use, in the order of the configuration."""
        return [self._certificates[files] for files in self._files if files in self._certificates]

    def select(self, hostname: str | None) -> ssl.SSLContext | None:
        """The TLS for a host name; None where there is no certificate for it.

        A client that sends no name (it was given an IP address, say) gets the first certificate.
        """
        certificate = self._find(hostname)
        if certificate is None and self._issued:
            # It may have been issued a moment ago.
            self.refresh()
            certificate = self._find(hostname)
        return certificate.context if certificate else None

    def _find(self, hostname: str | None) -> Certificate | None:
        if hostname is None:
            return next(iter(self.certificates), None)
        name = hostname.lower()
        return self._by_name.get(name) or self._by_name.get(wildcard_of(name))

    def load(self) -> None:
        """Read all files now, whatever their dates. Raises CertificateError when one can't be used."""
        for files in self._files:
            self._seen[files] = self._loaded[files] = _stamps(files)
            self._certificates[files] = read_certificate(files, self._client_ca)
        self._index()

    def look_after(self, files: CertificateFiles) -> None:
        """Serve another certificate as well, as soon as its files are there."""
        if files not in self._files:
            self._files.append(files)

    async def watch(self) -> None:
        """Take over what changes, until cancelled."""
        while True:
            await asyncio.sleep(_LOOK_EVERY)
            self.refresh()

    def refresh(self, *, at_once: bool = False) -> None:
        """Take over files that have changed, once they are at rest: the same as at the last call.

        Own certificates and keys aren't replaced in one step, and some are written slowly. `at_once` doesn't wait.
        """
        at_once = at_once or self._issued
        for files in self._files:
            stamps = _stamps(files)
            at_rest = at_once or self._seen.get(files) == stamps
            self._seen[files] = stamps
            if at_rest and self._loaded.get(files) != stamps:
                self._loaded[files] = stamps
                self._replace(files, stamps)

    def _replace(self, files: CertificateFiles, stamps: tuple[Stamp, Stamp]) -> None:
        if self._issued and stamps[0] is None:
            return
        try:
            certificate = read_certificate(files, self._client_ca)
            self._check_dates(certificate, files)
        except CertificateError as error:
            held = self._certificates.get(files)
            level = logging.ERROR if self._speaks() else logging.DEBUG
            log.log(level, "%s Until then %s is served.", error, held or "nothing")
            return
        self._certificates[files] = certificate
        self._index()
        log.log(logging.INFO if self._speaks() else logging.DEBUG, "now serving %s", certificate)

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


def _stamps(files: CertificateFiles) -> tuple[Stamp, Stamp]:
    return _stamp(files.cert), _stamp(files.key)


def _stamp(path: Path) -> Stamp:
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_ino, status.st_mtime_ns, status.st_size
