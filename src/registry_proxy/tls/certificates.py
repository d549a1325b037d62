"""Certificates as they lie on disk: read, checked, and turned into what serves them."""

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
    """A certificate or its key can't be used; the text says which file, why, and what to do."""


@dataclass(frozen=True, slots=True)
class CertificateFiles:
    """Where a certificate with its intermediates is, and its key; it may be one file for both."""

    cert: Path
    key: Path


@dataclass(frozen=True, slots=True)
class Certificate:
    """A certificate that can be served. `names` are in lower case, and may begin with `*.`."""

    names: tuple[str, ...]
    validity: Span
    leaf: x509.Certificate
    complete: bool
    context: ssl.SSLContext

    def covers(self, hostname: str) -> bool:
        """Whether it is good for `hostname`; a wildcard stands for one label (RFC 9525, section 6.3)."""
        return hostname in self.names or wildcard_of(hostname) in self.names

    def __str__(self) -> str:
        stop = datetime.datetime.fromtimestamp(self.validity.stop, datetime.UTC)
        return f"the certificate for {', '.join(self.names) or 'no host name'}, valid until {stop:%Y-%m-%d %H:%M}Z"


def wildcard_of(hostname: str) -> str:
    """The wildcard that covers `hostname`."""
    return "*." + hostname.partition(".")[2]


def read_certificate(files: CertificateFiles, client_ca: Path | None = None) -> Certificate:
    """Read a certificate and its key. Its dates are the caller's to check. Raises CertificateError.

    `client_ca`: the authorities that clients' certificates are checked against.
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
            complete=bool(intermediates) or not _names_its_issuer(leaf),
            context=context,
        )
    except (OSError, ValueError) as error:
        # Too weak a key, an odd extension, or a file that was replaced just now.
        raise CertificateError(f"{files.cert} can't be served: {error}. Replace it.") from None


def _read(path: Path, what: str) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        remedy = "Mend the path, or let the server's user read the file."
        raise CertificateError(f"can't read the {what} {path}: {error.strerror}. {remedy}") from None


def _parse_chain(path: Path) -> list[x509.Certificate]:
    try:
        return x509.load_pem_x509_certificates(_read(path, "certificate"))
    except ValueError:
        remedy = "Write the certificate and its intermediates into it, in PEM."
        raise CertificateError(f"{path} holds no certificate that can be read. {remedy}") from None


def _check_key(path: Path, leaf: x509.Certificate, cert: Path) -> None:
    try:
        key = serialization.load_pem_private_key(_read(path, "key"), password=None)
    except TypeError:
        raise CertificateError(f"the key {path} is encrypted. Write it unencrypted (openssl pkey).") from None
    except (ValueError, UnsupportedAlgorithm):
        raise CertificateError(f"{path} holds no private key that can be read. Write it in PEM.") from None
    try:
        belongs = key.public_key() == leaf.public_key()
    except (ValueError, UnsupportedAlgorithm):
        belongs = False
    if not belongs:
        raise CertificateError(
            f"the key {path} is not that of the certificate {cert}. Put the two that belong together."
        )


def _names(leaf: x509.Certificate) -> tuple[str, ...]:
    """The DNS names; clients have long stopped looking at the common name (RFC 9525, section 2)."""
    try:
        names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return ()
    return tuple(name.lower() for name in names.get_values_for_type(x509.DNSName))


def _names_its_issuer(leaf: x509.Certificate) -> bool:
    """Whether it says where its issuer's certificate is to be had: then clients need that one, too."""
    try:
        access = leaf.extensions.get_extension_for_class(x509.AuthorityInformationAccess).value
    except x509.ExtensionNotFound:
        return False
    return any(entry.access_method == AuthorityInformationAccessOID.CA_ISSUERS for entry in access)
