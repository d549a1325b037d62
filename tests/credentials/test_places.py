"""Passwords in files that change, and credentials by a repository's path."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from tests.credentials.conftest import APP

from registry_proxy.oci.reference import Repository
from registry_proxy.upstream.auth.credentials import Credentials, CredentialsByPath, StaticCredentials
from registry_proxy.upstream.auth.password_files import FileCredentials

if TYPE_CHECKING:
    from pathlib import Path

OLD = Credentials("me", "correct horse")


class Kept:
    """A password file and the provider over it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        path.write_text(f"{OLD.password}\n")
        self.provider = FileCredentials(OLD, path)

    async def password(self) -> str:
        credentials = await self.provider.get(APP)
        assert credentials is not None
        assert credentials.username == "me"
        return credentials.password


@pytest.fixture
def kept(tmp_path: Path) -> Kept:
    return Kept(tmp_path / "password")


async def test_a_file_that_is_written_anew_is_read(kept: Kept) -> None:
    assert await kept.password() == OLD.password
    kept.path.write_text("battery staple\n")
    assert await kept.password() == "battery staple"


async def test_a_file_that_is_replaced_is_read(kept: Kept, tmp_path: Path) -> None:
    await kept.password()
    (tmp_path / "new").write_text("battery staple")
    (tmp_path / "new").rename(kept.path)
    assert await kept.password() == "battery staple"


async def test_a_link_that_leads_elsewhere_is_followed(tmp_path: Path) -> None:
    """As Kubernetes changes mounted secrets."""
    for name, text in (("1", OLD.password), ("2", "battery staple")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "password").write_text(text)
    (tmp_path / "data").symlink_to("1")
    provider = FileCredentials(OLD, tmp_path / "data" / "password")
    assert await provider.get(APP) == OLD
    (tmp_path / "new").symlink_to("2")
    (tmp_path / "new").rename(tmp_path / "data")
    assert await provider.get(APP) == Credentials("me", "battery staple")


async def test_a_refusal_finds_what_has_changed(kept: Kept) -> None:
    assert await kept.provider.refresh(APP, OLD) == OLD
    kept.path.write_text("battery staple")
    assert await kept.provider.refresh(APP, OLD) == Credentials("me", "battery staple")


@pytest.mark.parametrize("content", [None, b"", b"two\nlines", b"\xff"])
async def test_what_is_no_password_changes_nothing(
    kept: Kept, content: bytes | None, caplog: pytest.LogCaptureFixture
) -> None:
    await kept.password()
    if content is None:
        kept.path.unlink()
    else:
        kept.path.write_bytes(content)
    assert [await kept.password() for _ in range(3)] == [OLD.password] * 3
    assert caplog.text.count("password not reloaded, the previous one stays in use") == (content is not None)
    assert str(kept.path) in caplog.text or content is None
    kept.path.write_text("battery staple")
    assert await kept.password() == "battery staple"


GENERAL, ACME, PRIVATE, APP_ONLY = (StaticCredentials(Credentials(name, "x")) for name in "gapo")


@pytest.mark.parametrize(
    ("repository", "expected"),
    [
        ("other", "g"),
        ("other/acme", "g"),
        ("acme", "a"),
        ("acme/tool", "a"),
        ("acme-corp/tool", "g"),
        ("acme/private", "p"),
        ("acme/private/x/y", "p"),
        ("acme/private2", "a"),
        ("acme/private/app", "o"),
        ("acme/private/app/x", "o"),
    ],
)
async def test_the_longest_path_that_a_name_begins_with_counts(repository: str, expected: str) -> None:
    provider = CredentialsByPath(
        GENERAL, {"acme": ACME, "acme/private": PRIVATE, "acme/private/app": APP_ONLY}
    )
    for found in (
        await provider.get(Repository(repository)),
        await provider.refresh(Repository(repository), OLD),
    ):
        assert found is not None
        assert found.username == expected


async def test_without_general_credentials_other_names_are_asked_for_anonymously() -> None:
    provider = CredentialsByPath(StaticCredentials(), {"acme": ACME})
    assert await provider.get(Repository("other")) is None
