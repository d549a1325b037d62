"""The certificates in use follow their files."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import pytest
from tests.tls.issued import NOW, issue

from registry_proxy.tls.certificate_store import CertificateStore
from registry_proxy.tls.certificates import CertificateError, CertificateFiles

if TYPE_CHECKING:
    from pathlib import Path

    import trustme
    from tests.kit.certificates import Authority

A, B = "a.example.com", "b.example.com"


def store_of(*files: CertificateFiles, issued: bool = False) -> CertificateStore:
    return CertificateStore(files, NOW.timestamp, lambda: True, issued=issued)


def stops(store: CertificateStore) -> list[float]:
    return [certificate.validity.stop for certificate in store.certificates]


@pytest.fixture
def files(authority: Authority, tmp_path: Path) -> CertificateFiles:
    return issue(authority.ca, tmp_path, A, days=30)


@pytest.fixture
def store(files: CertificateFiles) -> CertificateStore:
    store = store_of(files)
    store.load()
    return store


def test_a_replaced_certificate_is_taken_over_once_its_files_are_at_rest(
    store: CertificateStore, files: CertificateFiles, authority: Authority, tmp_path: Path
) -> None:
    before = stops(store)
    issue(authority.ca, tmp_path, A, days=90)
    store.refresh()
    assert stops(store) == before
    store.refresh()
    assert stops(store) > before


def test_an_untouched_certificate_keeps_its_context(store: CertificateStore) -> None:
    context = store.select(A)
    for _ in range(3):
        store.refresh()
    assert store.select(A) is context


def test_a_link_that_leads_elsewhere_is_a_change(
    files: CertificateFiles, authority: Authority, tmp_path: Path
) -> None:
    (tmp_path / "new").mkdir()
    new = issue(authority.ca, tmp_path / "new", A, days=90)
    links = CertificateFiles(tmp_path / "cert", tmp_path / "key")
    links.cert.symlink_to(files.cert)
    links.key.symlink_to(files.key)
    store = store_of(links)
    store.load()
    before = stops(store)
    for link, target in ((links.cert, new.cert), (links.key, new.key)):
        link.unlink()
        link.symlink_to(target)
    store.refresh(at_once=True)
    assert stops(store) > before


def expire(files: CertificateFiles, ca: trustme.CA) -> None:
    issue(ca, files.cert.parent, A, days=-1, age=30)


def forge_key(files: CertificateFiles, ca: trustme.CA) -> None:
    ca.issue_cert(A).private_key_pem.write_to_path(files.key)


def postdate(files: CertificateFiles, ca: trustme.CA) -> None:
    issue(ca, files.cert.parent, A, days=30, age=-1)


def remove(files: CertificateFiles, _: trustme.CA) -> None:
    files.cert.unlink()


@pytest.mark.parametrize(
    ("damage", "text"),
    [
        (expire, "has expired"),
        (postdate, "is not valid yet"),
        (forge_key, "does not match the certificate"),
        (remove, "can't read the certificate"),
    ],
)
def test_a_useless_file_leaves_the_old_certificate_in_force_and_is_told_once(
    damage: object,
    text: str,
    store: CertificateStore,
    files: CertificateFiles,
    authority: Authority,
    caplog: pytest.LogCaptureFixture,
) -> None:
    context = store.select(A)
    assert callable(damage)
    damage(files, authority.ca)
    with caplog.at_level(logging.INFO):
        for _ in range(4):
            store.refresh()
    (record,) = caplog.records
    assert text in record.getMessage()
    assert f"Serving the certificate for {A}" in record.getMessage()
    assert record.getMessage().endswith(" until then.")
    assert store.select(A) is context


def test_one_of_several_workers_tells_of_it(
    files: CertificateFiles, authority: Authority, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    stores = [
        CertificateStore([files], NOW.timestamp, lambda: True),
        CertificateStore([files], NOW.timestamp, lambda: False),
    ]
    with caplog.at_level(logging.INFO):
        for damage in (forge_key, lambda *_: issue(authority.ca, tmp_path, A, days=90)):
            damage(files, authority.ca)
            for store in stores:
                store.refresh(at_once=True)
    assert [record.levelname for record in caplog.records] == ["ERROR", "INFO"]


def test_what_was_mended_is_taken_over(
    store: CertificateStore, files: CertificateFiles, authority: Authority, tmp_path: Path
) -> None:
    before = stops(store)
    forge_key(files, authority.ca)
    store.refresh(at_once=True)
    issue(authority.ca, tmp_path, A, days=90)
    store.refresh(at_once=True)
    assert stops(store) > before


def test_a_certificate_for_other_names_changes_what_is_served(
    store: CertificateStore, authority: Authority, tmp_path: Path
) -> None:
    issue(authority.ca, tmp_path, B, file=A)
    store.refresh(at_once=True)
    assert store.select(A) is None
    assert store.select(B) is not None


def test_useless_files_are_an_error_at_the_start(files: CertificateFiles) -> None:
    files.key.unlink()
    with pytest.raises(CertificateError, match="can't read the key"):
        store_of(files).load()


def test_issued_certificates_may_come_later(
    authority: Authority, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    store = store_of(CertificateFiles(tmp_path / "both.pem", tmp_path / "both.pem"), issued=True)
    store.refresh()
    assert store.select(None) is None
    assert not caplog.records
    files = issue(authority.ca, tmp_path, A)
    (tmp_path / "both.pem").write_bytes(files.key.read_bytes() + files.cert.read_bytes())
    # Whoever asks for it first needn't wait for the next look.
    assert store.select(A) is not None


def test_further_files_can_be_looked_after(
    store: CertificateStore, authority: Authority, tmp_path: Path
) -> None:
    store.watch_file(issue(authority.ca, tmp_path, B))
    store.refresh(at_once=True)
    assert store.select(B) is not None


def test_the_first_of_two_certificates_for_a_name_counts(authority: Authority, tmp_path: Path) -> None:
    first, second = issue(authority.ca, tmp_path, A, file="1"), issue(authority.ca, tmp_path, A, file="2")
    store = store_of(first, second)
    store.load()
    assert store.select(A) is store.certificates[0].context


def test_an_exact_name_counts_more_than_a_wildcard(authority: Authority, tmp_path: Path) -> None:
    store = store_of(issue(authority.ca, tmp_path, "*.example.com"), issue(authority.ca, tmp_path, A))
    store.load()
    assert store.select(A) is store.certificates[1].context
    assert store.select(B) is store.certificates[0].context
