"""Pending ACME challenges, as files: every worker can answer the CA's validation."""

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

from registry_proxy.atomic_files import write_private
from registry_proxy.tls.contexts import ACME, harden

if TYPE_CHECKING:
    from pathlib import Path

# RFC 8555, section 8.3: base64url.
_TOKEN = re.compile(r"[A-Za-z0-9_-]{1,255}", re.ASCII)
_HOSTNAME = re.compile(r"[a-z0-9.-]{1,253}", re.ASCII)
# RFC 8737, section 6.1: id-pe-acmeIdentifier.
_ACME_IDENTIFIER = x509.ObjectIdentifier("1.3.6.1.5.5.7.1.31")


class Challenges:
    """The pending challenges. The files are small and rarely exist, so each call reads them."""

    def __init__(self, directory: Path) -> None:
        self._http = directory / "http-01"
        self._tls = directory / "tls-alpn-01"

    def key_authorization(self, token: str) -> bytes | None:
        """Return the key authorization of `token` (RFC 8555, section 8.3), or None without such a challenge."""
        if not _TOKEN.fullmatch(token):
            return None
        try:
            return (self._http / token).read_bytes()
        except OSError:
            return None

    def has_tls(self) -> bool:
        """Return whether a `tls-alpn-01` challenge is pending."""
        try:
            with os.scandir(self._tls) as entries:
                return any(not entry.name.startswith(".") for entry in entries)
        except OSError:
            return False

    def tls_context(self, hostname: str) -> ssl.SSLContext | None:
        """Return the context that answers `tls-alpn-01` for `hostname`, or None without such a challenge."""
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
        """Add an `http-01` challenge and return its file, which the caller removes. Raise ValueError or OSError."""
        if not _TOKEN.fullmatch(token):
            raise ValueError("the ACME server sent a token that is not base64url")
        write_private(self._http / token, authorization.encode())
        return self._http / token

    def put_tls(self, hostname: str, authorization: str) -> Path:
        """Add a `tls-alpn-01` challenge and return its file, which the caller removes. Raise OSError."""
        path = self._tls / f"{hostname}.pem"
        write_private(path, _answering_certificate(hostname, authorization))
        return path

    def clear(self) -> None:
        """Remove all challenges, such as those of a process that died."""
        for directory in (self._http, self._tls):
            for path in directory.glob("*"):
                path.unlink(missing_ok=True)


def _answering_certificate(hostname: str, authorization: str) -> bytes:
    """Return a key and a self-signed certificate with the authorization's digest in PEM (RFC 8737, section 3)."""
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
    """Return a private key in PEM, unencrypted."""
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
