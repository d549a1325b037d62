"""Certificates as files, as an administrator has them."""

from __future__ import annotations

import datetime
from typing import TYPE_CHECKING

import trustme

from registry_proxy.tls.certificates import CertificateFiles

if TYPE_CHECKING:
    from pathlib import Path

NOW = datetime.datetime.now(datetime.UTC)


def issue(
    ca: trustme.CA, folder: Path, *names: str, days: float = 90, age: float = 1, file: str = ""
) -> CertificateFiles:
    """Write a certificate for `names` that expires in `days` and was issued `age` days ago, and its key."""
    leaf = ca.issue_cert(
        *names,
        not_before=NOW - datetime.timedelta(days=age),
        not_after=NOW + datetime.timedelta(days=days),
        key_type=trustme.KeyType.ECDSA,
    )
    stem = file or names[0].replace("*", "wildcard")
    files = CertificateFiles(folder / f"{stem}.pem", folder / f"{stem}.key")
    leaf.private_key_pem.write_to_path(files.key)
    files.cert.write_bytes(b"".join(pem.bytes() for pem in leaf.cert_chain_pems))
    return files
