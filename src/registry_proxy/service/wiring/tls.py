"""Construction of the certificate service from the settings.

Imported only if TLS is on, to save memory in every worker.
"""

from __future__ import annotations

import hashlib
import random
import time
from typing import TYPE_CHECKING

from registry_proxy.config.types import ACME_PRESETS
from registry_proxy.service.errors import StartError
from registry_proxy.tls.certificates import CertificateError, CertificateFiles
from registry_proxy.tls.challenges import Challenges
from registry_proxy.tls.contexts import ListenerContext
from registry_proxy.tls.issued import IssuedCertificates
from registry_proxy.tls.issuer import CertificateAuthority
from registry_proxy.tls.last_failure import LastFailure
from registry_proxy.tls.manager import Timing
from registry_proxy.tls.service import CertificateService, Issuance

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from registry_proxy.config import Settings
    from registry_proxy.config.settings import TlsSettings
    from registry_proxy.tls.issuer import Issuer


def build_certificates(settings: Settings) -> CertificateService:
    """Return the certificate service. Raise StartError if the certificates or the client CA cannot be used."""
    assert settings.tls is not None
    tls, directory, client_ca = settings.tls, settings.storage.path / "tls", settings.access.client_ca
    challenges = Challenges(directory / "challenges")
    source = _issuance(tls, directory, challenges) if tls.acme else _own_files(tls)
    timing = Timing(time.time, random.random)
    try:
        return CertificateService(source, settings.hostnames, challenges, timing, client_ca)
    except CertificateError as error:
        raise StartError(str(error)) from error
    except OSError as error:
        raise _unusable_client_ca(client_ca, error) from error


def check_certificates(settings: Settings) -> None:
    """Raise StartError if your certificate files or the client CA cannot be used.

    The issued certificates are not checked: only the server's user can read them.
    """
    tls = settings.tls
    if tls is not None and tls.acme is None:
        build_certificates(settings)
    elif settings.access.client_ca is not None:
        _check_client_ca(settings.access.client_ca)


def _check_client_ca(path: Path) -> None:
    try:
        ListenerContext.create(lambda _: None, None, path)
    except OSError as error:
        raise _unusable_client_ca(path, error) from error


def _unusable_client_ca(path: Path | None, error: OSError) -> StartError:
    text = f"can't read the CA certificates in {path}: {error.strerror or error}"
    return StartError(f"{text}. Fix the file, or access.client_ca.")


def _own_files(tls: TlsSettings) -> list[CertificateFiles]:
    return [CertificateFiles(cert, key) for cert, key in zip(tls.cert, tls.key, strict=True)]


def _issuance(tls: TlsSettings, directory: Path, challenges: Challenges) -> Issuance:
    ca = _authority(tls)
    home = directory / _directory_name(ca)

    def connect() -> Issuer:
        # The ACME library is large, and only the worker that obtains certificates needs it.
        from registry_proxy.tls.acme import AcmeClient  # noqa: PLC0415

        return AcmeClient(ca, home / "account.json", challenges)

    types = _challenge_types(tls)
    return Issuance(ca.name, types, _fingerprint(ca, types), _issued(home), connect)


def last_failure(settings: Settings, hostname: str) -> LastFailure | None:
    """Return the last attempt to obtain a certificate for a host name, None if it succeeded or there was none."""
    if settings.tls is None or settings.tls.acme is None:
        return None
    home = settings.storage.path / "tls" / _directory_name(_authority(settings.tls))
    return LastFailure.load(_issued(home).failure(hostname))


def _issued(home: Path) -> IssuedCertificates:
    return IssuedCertificates(home / "certificates")


def _fingerprint(ca: CertificateAuthority, challenge_types: Sequence[str]) -> str:
    """Return a hash of the values, and of the content of the file, that the CA's response depends on."""
    values = (ca.directory, ca.email, ca.agree_tos, ca.eab_kid, ca.eab_hmac_key, *challenge_types)
    try:
        root = ca.root.read_bytes() if ca.root else b""
    except OSError:
        root = b"unreadable"
    return hashlib.sha256(repr(values).encode() + root).hexdigest()


def _authority(tls: TlsSettings) -> CertificateAuthority:
    assert tls.acme is not None
    return CertificateAuthority(
        tls.acme,
        ACME_PRESETS.get(tls.acme, tls.acme),
        email=tls.email,
        agree_tos=tls.agree_tos,
        root=tls.ca_root,
        eab_kid=tls.eab_kid,
        eab_hmac_key=tls.eab_hmac_key.get_secret_value() if tls.eab_hmac_key else None,
    )


def _directory_name(ca: CertificateAuthority) -> str:
    """Return the name of the CA's directory. One per CA, so that the certificates of a staging CA are not served."""
    if ca.name in ACME_PRESETS:
        return ca.name
    account = f"{ca.directory} {ca.eab_kid or ''}"
    return f"acme-{hashlib.sha256(account.encode()).hexdigest()[:16]}"


def _challenge_types(tls: TlsSettings) -> tuple[str, ...]:
    """Return the configured challenges that this server can answer: http-01 requires `tls.http`."""
    return tuple(name for name in tls.challenges if name != "http-01" or tls.http)
