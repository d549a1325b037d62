"""Answers to an ACME server's challenges, as files: whichever worker the server comes to has them."""

from __future__ import annotations

import datetime
import hashlib
import os
import re
import ssl
from typing import TYPE_CHECKING

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from registry_proxy.tls.contexts import ACME, harden
from registry_proxy.tls.files import write_private

if TYPE_CHECKING:
    from pathlib import Path

# RFC 8555, section 8.3: base64url.
_TOKEN = re.compile(r"[A-Za-z0-9_-]{1,255}", re.ASCII)
_HOSTNAME = re.compile(r"[a-z0-9.-]{1,253}", re.ASCII)
# RFC 8737, section 6.1: id-pe-acmeIdentifier.
_ACME_IDENTIFIER = x509.ObjectIdentifier("1.3.6.1.5.5.7.1.31")


class Challenges:
    """What is to be answered at this moment. The files are small and rarely there, so they are read each time."""

    def __init__(self, folder: Path) -> None:
        self._http = folder / "http-01"
        self._tls = folder / "tls-alpn-01"

    def over_http(self, token: str) -> bytes | None:
        """The key authorization for `token` (RFC 8555, section 8.3)."""
        if not _TOKEN.fullmatch(token):
            return None
        try:
            return (self._http / token).read_bytes()
        except OSError:
            return None

    def any_over_tls(self) -> bool:
        """Whether there is a `tls-alpn-01` to answer."""
        try:
            with os.scandir(self._tls) as entries:
                return any(not entry.name.startswith(".") for entry in entries)
        except OSError:
            return False

    def over_tls(self, hostname: str) -> ssl.SSLContext | None:
        """The TLS that answers `tls-alpn-01` for `hostname`."""
        if not _HOSTNAME.fullmatch(hostname):
            return None
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        harden(context, ACME)
        try:
            context.load_cert_chain(self._tls / f"{hostname}.pem")
        except (OSError, ssl.SSLError):
            return None
        return context

    def put_http(self, token: str, authorization: str) -> Path:
        """Answer an `http-01`; the file, which the caller removes at the end. Raises ValueError, OSError."""
        if not _TOKEN.fullmatch(token):
            raise ValueError("the ACME server sent a token that is not base64url")
        write_private(self._http / token, authorization.encode())
        return self._http / token

    def put_tls(self, hostname: str, authorization: str) -> Path:
        """Answer a `tls-alpn-01`; the file, which the caller removes at the end. Raises OSError."""
        path = self._tls / f"{hostname}.pem"
        write_private(path, _answering_certificate(hostname, authorization))
        return path

    def clear(self) -> None:
        """Remove what a process that died has left."""
        for folder in (self._http, self._tls):
            for left in folder.glob("*"):
                left.unlink(missing_ok=True)


def _answering_certificate(hostname: str, authorization: str) -> bytes:
    """Key and self-signed certificate with the authorization's digest (RFC 8737, section 3), in PEM."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "ACME challenge")])
    now = datetime.datetime.now(datetime.UTC)
    # DER: an OCTET STRING of 32 bytes.
    digest = b"\x04\x20" + hashlib.sha256(authorization.encode()).digest()
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(hostname)]), critical=False)
        .add_extension(x509.UnrecognizedExtension(_ACME_IDENTIFIER, digest), critical=True)
        .sign(key, hashes.SHA256())
    )
    return private_pem(key) + certificate.public_bytes(serialization.Encoding.PEM)


def private_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    """A private key in PEM, unencrypted."""
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
