"""Certificates as files: what is read, what is refused, what is warned of."""

from __future__ import annotations

import datetime
from typing import TYPE_CHECKING

import pytest
import trustme
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import AuthorityInformationAccessOID
from tests.tls.issued import NOW, issue

from registry_proxy.tls.certificates import CertificateError, CertificateFiles, read_certificate
from registry_proxy.tls.warnings import certificate_warnings

if TYPE_CHECKING:
    from pathlib import Path

    from tests.kit.certificates import Authority

DAY = 86400.0
NAME = "a.example.com"


@pytest.fixture
def files(authority: Authority, tmp_path: Path) -> CertificateFiles:
    return issue(authority.ca, tmp_path, NAME, "*.b.example.com")


def test_names_and_dates_are_read(files: CertificateFiles) -> None:
    certificate = read_certificate(files)
    assert certificate.names == (NAME, "*.b.example.com")
    assert certificate.validity.start == pytest.approx(NOW.timestamp() - DAY, abs=1)
    assert certificate.validity.stop == pytest.approx(NOW.timestamp() + 90 * DAY, abs=1)


@pytest.mark.parametrize(
    ("hostname", "covered"),
    [(NAME, True), ("x.b.example.com", True), ("x.y.b.example.com", False), ("b.example.com", False)],
)
def test_a_wildcard_stands_for_one_label(hostname: str, covered: bool, files: CertificateFiles) -> None:
    assert read_certificate(files).covers(hostname) is covered


def test_one_file_may_be_both(files: CertificateFiles) -> None:
    files.cert.write_bytes(files.key.read_bytes() + files.cert.read_bytes())
    assert read_certificate(CertificateFiles(files.cert, files.cert)).covers(NAME)


def encrypt(files: CertificateFiles) -> None:
    key = serialization.load_pem_private_key(files.key.read_bytes(), None)
    encryption = serialization.BestAvailableEncryption(b"secret")
    files.key.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, encryption)
    )


def exchange_key(files: CertificateFiles) -> None:
    trustme.CA().issue_cert(NAME).private_key_pem.write_to_path(files.key)


def break_end(files: CertificateFiles) -> None:
    files.cert.write_bytes(files.cert.read_bytes()[:-60])


@pytest.mark.parametrize(
    ("damage", "text", "step"),
    [
        (lambda files: files.cert.unlink(), "can't read the certificate", "Fix the path"),
        (lambda files: files.key.unlink(), "can't read the key", "Fix the path"),
        (lambda files: files.cert.write_text(""), "contains no readable certificate", "in PEM"),
        (break_end, "contains no readable certificate", "in PEM"),
        (lambda files: files.cert.write_bytes(b"\x30\x82"), "contains no readable certificate", "in PEM"),
        (lambda files: files.key.write_text("x"), "contains no readable private key", "in PEM"),
        (
            lambda files: files.key.write_bytes(files.cert.read_bytes()),
            "contains no readable private key",
            "in PEM",
        ),
        (encrypt, "is encrypted", "Decrypt the file"),
        (exchange_key, "does not match the certificate", "Use a matching pair"),
    ],
)
def test_what_cannot_be_served_is_told_with_what_to_do(
    damage: object, text: str, step: str, files: CertificateFiles
) -> None:
    assert callable(damage)
    damage(files)
    with pytest.raises(CertificateError) as caught:
        read_certificate(files)
    assert text in str(caught.value)
    assert step in str(caught.value)
    assert str(files.cert.with_suffix("")) in str(caught.value)


def test_sound_certificates_are_not_spoken_of(files: CertificateFiles) -> None:
    assert (
        list(certificate_warnings([read_certificate(files)], [NAME, "x.b.example.com"], NOW.timestamp()))
        == []
    )


@pytest.mark.parametrize(
    ("days", "age", "text"),
    [(-0.5, 90, "has expired"), (6, 84, "expires soon"), (90, -1, "not valid yet")],
)
def test_dates_are_warned_of(
    days: float, age: float, text: str, authority: Authority, tmp_path: Path
) -> None:
    certificate = read_certificate(issue(authority.ca, tmp_path, NAME, days=days, age=age))
    (warning,) = certificate_warnings([certificate], [NAME], NOW.timestamp())
    assert text in warning
    assert NAME in warning


def test_a_hostname_that_no_certificate_covers_is_warned_of(files: CertificateFiles) -> None:
    (warning,) = certificate_warnings([read_certificate(files)], ["c.example.com"], NOW.timestamp())
    assert "no certificate covers c.example.com" in warning


@pytest.mark.parametrize("whole", [False, True])
def test_missing_intermediates_are_warned_of_where_there_are_any(
    whole: bool, authority: Authority, tmp_path: Path
) -> None:
    """Public authorities name the place of their intermediate; a private root that issues itself doesn't."""
    key = ec.generate_private_key(ec.SECP256R1())
    access = x509.AccessDescription(
        AuthorityInformationAccessOID.CA_ISSUERS, x509.UniformResourceIdentifier("http://ca.example.com/i")
    )
    leaf = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([]))
        .issuer_name(x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "Intermediate")]))
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(NOW - datetime.timedelta(days=1))
        .not_valid_after(NOW + datetime.timedelta(days=80))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(NAME)]), critical=True)
        .add_extension(x509.AuthorityInformationAccess([access]), critical=False)
        .sign(key, hashes.SHA256())
    )
    files = CertificateFiles(tmp_path / "cert.pem", tmp_path / "key.pem")
    files.key.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    )
    intermediate = authority.pem if whole else b""
    files.cert.write_bytes(leaf.public_bytes(serialization.Encoding.PEM) + intermediate)
    warnings = list(certificate_warnings([read_certificate(files)], [NAME], NOW.timestamp()))
    assert ["lacks its intermediates" in warning for warning in warnings] == ([] if whole else [True])
