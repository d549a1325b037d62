"""TLS as configured: what is prepared before there are workers, and what each of them does about it.

Imported only where TLS is on: a worker's memory counts.
"""

from __future__ import annotations

import hashlib
import logging
import random
import time
from typing import TYPE_CHECKING

from registry_proxy.config.types import ACME_PRESETS
from registry_proxy.service.errors import StartError
from registry_proxy.tls.certificates import CertificateError, CertificateFiles
from registry_proxy.tls.challenges import Challenges
from registry_proxy.tls.contexts import ListenerContext
from registry_proxy.tls.folder import CertificateFolder
from registry_proxy.tls.issuer import Authority
from registry_proxy.tls.manager import CertificateConfig, CertificateManager, Timing
from registry_proxy.tls.store import CertificateStore
from registry_proxy.tls.warnings import certificate_warnings

if TYPE_CHECKING:
    from registry_proxy.aio.tasks import BackgroundTasks
    from registry_proxy.config import Settings
    from registry_proxy.config.settings import TlsSettings
    from registry_proxy.storage.locks import FileLocks
    from registry_proxy.tls.issuer import Issuer

log = logging.getLogger(__name__)


class Tls:
    """The certificates, and the TLS of the listeners.

    Made once, before the workers, so that a session ticket of one is good for the others. Raises StartError.
    """

    def __init__(self, settings: Settings) -> None:
        assert settings.tls is not None
        self._tls = settings.tls
        self._hostnames = settings.hostnames
        self.challenges = Challenges(settings.storage.path / "tls" / "challenges")
        self._authority = _authority(self._tls)
        self._folder = issued_certificates(settings)
        self._custodian: CertificateManager | None = None
        self._locks: FileLocks | None = None
        client_ca = settings.access.client_ca
        try:
            self._store = CertificateStore(
                self._files(),
                time.time,
                self._speaks,
                client_ca=client_ca,
                issued=self._authority is not None,
            )
            pending = self.challenges if self._authority else None
            self.context = ListenerContext.create(self._store.select, pending, client_ca)
            self._load()
        except CertificateError as error:
            raise StartError(str(error)) from error
        except OSError as error:
            text = f"can't read the authorities in {client_ca}: {error.strerror or error}"
            raise StartError(f"{text}. Mend the file, or access.client_ca.") from error

    def start(self, background: BackgroundTasks, locks: FileLocks) -> None:
        """In a worker: take over what changes, and be ready to take charge of an ACME server's certificates."""
        self._locks = locks
        self._store.refresh(at_once=True)
        background.spawn(self._store.watch(), "the watch over certificates")
        if self._authority is None:
            return
        self._custodian = CertificateManager(
            CertificateConfig(self._authority.name, self._hostnames, _challenges(self._tls)),
            self._folder,
            self.challenges,
            self._connect,
            Timing(time.time, random.random),
        )
        background.spawn(self._custodian.run(locks), "the care for certificates")

    def reload(self, settings: Settings) -> None:
        """Get certificates for new host names, and try again at once what failed."""
        if self._authority is None:
            return
        self._hostnames = settings.hostnames
        for files in self._files():
            self._store.look_after(files)
        if self._custodian is not None:
            self._custodian.reconfigure(self._hostnames)

    def _speaks(self) -> bool:
        """Whether it is this worker that logs what all of them see; one that dies is succeeded by another."""
        return self._locks is None or self._locks.try_acquire("the log of certificates")

    def _files(self) -> list[CertificateFiles]:
        if self._authority is not None:
            return [self._folder.files(hostname) for hostname in self._hostnames]
        return [CertificateFiles(cert, key) for cert, key in zip(self._tls.cert, self._tls.key, strict=True)]

    def _load(self) -> None:
        if self._authority is not None:
            self._store.refresh(at_once=True)
            return
        self._store.load()
        certificates = self._store.certificates
        for warning in certificate_warnings(certificates, self._hostnames, time.time()):
            log.warning("%s", warning)
        if all(certificate.validity.stop <= time.time() for certificate in certificates):
            expired = "; ".join(map(str, certificates))
            raise CertificateError(
                f"no certificate is valid any more: {expired}. Replace what tls.cert names."
            )

    def _connect(self) -> Issuer:
        # The library is large, and only the worker in charge needs it.
        from registry_proxy.tls.acme import AcmeClient  # noqa: PLC0415

        assert self._authority is not None
        return AcmeClient(self._authority, self._folder.path.parent / "account.json", self.challenges)


def issued_certificates(settings: Settings) -> CertificateFolder:
    """Where the configured authority's certificates are, and what is known of attempts that failed."""
    assert settings.tls is not None
    home = settings.storage.path / "tls" / _folder_name(_authority(settings.tls))
    return CertificateFolder(home / "certificates")


def _authority(tls: TlsSettings) -> Authority | None:
    if tls.acme is None:
        return None
    return Authority(
        tls.acme,
        ACME_PRESETS.get(tls.acme, tls.acme),
        email=tls.email,
        agree_tos=tls.agree_tos,
        ca_root=tls.ca_root,
        eab_kid=tls.eab_kid,
        eab_hmac_key=tls.eab_hmac_key.get_secret_value() if tls.eab_hmac_key else None,
    )


def _folder_name(authority: Authority | None) -> str:
    """Another authority's certificates, a test one's above all, are not to be served; so each has its folder."""
    if authority is None or authority.name in ACME_PRESETS:
        return authority.name if authority else "own"
    account = f"{authority.directory} {authority.eab_kid or ''}"
    return f"acme-{hashlib.sha256(account.encode()).hexdigest()[:16]}"


def _challenges(tls: TlsSettings) -> tuple[str, ...]:
    """Those that can be answered."""
    return tuple(name for name in tls.challenges if name != "http-01" or tls.http)
