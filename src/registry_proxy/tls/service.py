"""Certificates of a running server: loaded on startup, re-read after a change, and issued by a CA if configured."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING

from registry_proxy.tls.certificate_store import CertificateStore
from registry_proxy.tls.certificates import CertificateError
from registry_proxy.tls.contexts import ListenerContext
from registry_proxy.tls.manager import CertificateConfig, CertificateManager
from registry_proxy.tls.warnings import certificate_warnings

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from registry_proxy.aio.locks import ProcessLocks
    from registry_proxy.aio.tasks import BackgroundTasks
    from registry_proxy.tls.certificates import CertificateFiles
    from registry_proxy.tls.challenges import Challenges
    from registry_proxy.tls.issued import IssuedCertificates
    from registry_proxy.tls.issuer import Issuer
    from registry_proxy.tls.manager import Timing

log = logging.getLogger(__name__)

# Held by the worker that logs changes of certificates.
_LOG_LOCK = "the log of certificates"


@dataclass(frozen=True, slots=True)
class Issuance:
    """The CA that issues the certificates, the challenge types in order, and the directory of issued certificates.

    `fingerprint` is as in `CertificateConfig`.
    """

    ca_name: str
    challenge_types: Sequence[str]
    fingerprint: str
    issued: IssuedCertificates
    connect: Callable[[], Issuer]


class CertificateService:
    """The certificates, and the TLS context of the listeners.

    Create it once, before the workers are forked: then each worker accepts the session tickets of the others.
    `source` is your certificate files, or how certificates are issued. `challenges` are the pending ones of that CA.
    Raise CertificateError, or OSError if `client_ca` cannot be read.
    """

    def __init__(
        self,
        source: Sequence[CertificateFiles] | Issuance,
        hostnames: Sequence[str],
        challenges: Challenges,
        timing: Timing,
        client_ca: Path | None = None,
    ) -> None:
        self._issuance = source if isinstance(source, Issuance) else None
        self._hostnames = hostnames
        self.challenges = challenges
        self._timing = timing
        self._manager: CertificateManager | None = None
        self._locks: ProcessLocks | None = None
        self._store = CertificateStore(
            self._issued_files(source) if isinstance(source, Issuance) else source,
            timing.clock,
            self._logs_changes,
            client_ca=client_ca,
            issued=self._issuance is not None,
        )
        pending = challenges if self._issuance else None
        self.context = ListenerContext.create(self._store.select, pending, client_ca)
        self._load()

    def start(self, background: BackgroundTasks, locks: ProcessLocks) -> None:
        """Start the work of one worker: re-read changed files, and obtain certificates if no other worker does."""
        self._locks = locks
        self._store.refresh(at_once=True)
        background.spawn(self._store.watch(), "watching certificate files")
        if self._issuance is None:
            return
        self._manager = CertificateManager(
            CertificateConfig(
                self._issuance.ca_name,
                self._hostnames,
                self._issuance.challenge_types,
                self._issuance.fingerprint,
            ),
            self._issuance.issued,
            self.challenges,
            self._issuance.connect,
            self._timing,
        )
        background.spawn(self._manager.run(background, locks), "certificate manager")

    def reconfigure(self, hostnames: Sequence[str]) -> None:
        """Obtain certificates for new host names, and retry failed ones at once."""
        if self._issuance is None:
            return
        self._hostnames = hostnames
        for files in self._issued_files(self._issuance):
            self._store.watch_file(files)
        if self._manager is not None:
            self._manager.reconfigure(hostnames)

    def _issued_files(self, issuance: Issuance) -> list[CertificateFiles]:
        return [issuance.issued.files(hostname) for hostname in self._hostnames]

    def _logs_changes(self) -> bool:
        """Return whether this worker logs changes of certificates, which every worker sees.

        The worker that takes the lock first keeps it until its process ends. Then another worker succeeds it. Before
        the workers are started there is one process, which logs.
        """
        return self._locks is None or self._locks.try_acquire(_LOG_LOCK)

    def _load(self) -> None:
        if self._issuance is not None:
            self._store.refresh(at_once=True)
            return
        self._store.load()
        certificates, now = self._store.certificates, self._timing.clock()
        for warning in certificate_warnings(certificates, self._hostnames, now):
            log.warning("%s", warning)
        if all(certificate.validity.stop <= now for certificate in certificates):
            expired = "; ".join(map(str, certificates))
            raise CertificateError(
                f"all certificates have expired: {expired}. Replace the files in tls.cert."
            )
