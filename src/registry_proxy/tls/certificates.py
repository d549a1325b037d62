"""Reading and checking of certificate files."""

from __future__ import annotations

import datetime
import ssl
from dataclasses import dataclass
from typing import TYPE_CHECKING

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.x509.oid import AuthorityInformationAccessOID

from registry_proxy.policy.renewal import Span
from registry_proxy.tls.contexts import HTTP, harden

if TYPE_CHECKING:
    from pathlib import Path


class CertificateError(Exception):
    """A certificate or its key cannot be used. The text has the file, the reason and a fix."""


@dataclass(frozen=True, slots=True)
class CertificateFiles:
    """Paths of a certificate with its intermediates, and of its key. Both may be in one file."""

    cert: Path
    key: Path


@dataclass(frozen=True, slots=True)
class Certificate:
    """A certificate that can be served. `names` are in lower case and may begin with `*.`.

    `complete`: the file contains the intermediates, or needs none.
    """

    names: tuple[str, ...]
    validity: Span
    leaf: x509.Certificate
    complete: bool
    context: ssl.SSLContext

    def covers(self, hostname: str) -> bool:
        """Return whether a name matches `hostname`. A wildcard matches one label (RFC 9525, section 6.3)."""
        return hostname in self.names or wildcard_of(hostname) in self.names

    def __str__(self) -> str:
        stop = datetime.datetime.fromtimestamp(self.validity.stop, datetime.UTC)
        return f"the certificate for {', '.join(self.names) or 'no host name'}, valid until {stop:%Y-%m-%d %H:%M}Z"


def wildcard_of(hostname: str) -> str:
    """Return the wildcard that matches `hostname`."""
    return "*." + hostname.partition(".")[2]


def read_certificate(files: CertificateFiles, client_ca: Path | None = None) -> Certificate:
    """Read a certificate and its key. The caller checks the dates. Raise CertificateError.

    `client_ca`: file of the CA certificates that verify client certificates.
    """
    leaf, *intermediates = _parse_chain(files.cert)
    _check_key(files.key, leaf, files.cert)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    try:
        harden(context, HTTP, client_ca)
        context.load_cert_chain(files.cert, files.key, password="")
        return Certificate(
            names=_names(leaf),
            validity=Span(leaf.not_valid_before_utc.timestamp(), leaf.not_valid_after_utc.timestamp()),
            leaf=leaf,
            complete=bool(intermediates) or not _has_issuer_url(leaf),
            context=context,
        )
    except (OSError, ValueError) as error:
        # The key is too weak, an extension is invalid, or a file was replaced just now.
        raise CertificateError(f"{files.cert} can't be served: {error}. Replace it.") from None


def _read(path: Path, what: str) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        remedy = "Fix the path, or let the server's user read the file."
        raise CertificateError(f"can't read the {what} {path}: {error.strerror}. {remedy}") from None


def _parse_chain(path: Path) -> list[x509.Certificate]:
    try:
        return x509.load_pem_x509_certificates(_read(path, "certificate"))
    except ValueError:
        remedy = "Put the certificate and its intermediates into the file, in PEM."
        raise CertificateError(f"{path} contains no readable certificate. {remedy}") from None


def _check_key(path: Path, leaf: x509.Certificate, cert: Path) -> None:
    try:
        key = serialization.load_pem_private_key(_read(path, "key"), password=None)
    except TypeError:
        raise CertificateError(f"the key {path} is encrypted. Decrypt the file (openssl pkey).") from None
    except (ValueError, UnsupportedAlgorithm):
        raise CertificateError(
            f"{path} contains no readable private key. Put the key into the file, in PEM."
        ) from None
    try:
        belongs = key.public_key() == leaf.public_key()
    except (ValueError, UnsupportedAlgorithm):
        belongs = False
    if not belongs:
        raise CertificateError(f"the key {path} does not match the certificate {cert}. Use a matching pair.")


def _names(leaf: x509.Certificate) -> tuple[str, ...]:
    """Return the DNS names. Clients ignore the common name (RFC 9525, section 2)."""
    try:
        names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return ()
    return tuple(name.lower() for name in names.get_values_for_type(x509.DNSName))


def _has_issuer_url(leaf: x509.Certificate) -> bool:
    """Return whether the certificate has its issuer's URL: then clients need the issuer's certificate, too."""
    try:
        access = leaf.extensions.get_extension_for_class(x509.AuthorityInformationAccess).value
    except x509.ExtensionNotFound:
        return False
    return any(entry.access_method == AuthorityInformationAccessOID.CA_ISSUERS for entry in access)
