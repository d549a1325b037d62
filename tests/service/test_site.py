"""The one place that opens a store."""

from __future__ import annotations

from pathlib import Path

import pytest

import registry_proxy
from registry_proxy.oci.reference import Digest
from registry_proxy.service.site import (
    STORE_ENTRIES,
    damage_of_index,
    has_index,
    open_site,
    read_site,
    running_workers,
)
from registry_proxy.storage.base import StoreError

SOURCE = Path(registry_proxy.__file__).parent


async def test_a_store_that_does_not_exist_is_created_only_on_request(tmp_path: Path) -> None:
    root = tmp_path / "store"
    with pytest.raises(StoreError, match=r"no store in .*; start the server once, or check storage\.path"):
        async with open_site(root, create=False):
            pass
    with pytest.raises(StoreError, match="no store in"), read_site(root):
        pass
    assert (has_index(root), running_workers(root), root.exists()) == (False, 0, False)
    async with open_site(root, create=True) as site:
        assert site.index.is_new
    assert has_index(root)
    assert damage_of_index(root) is None


async def test_a_site_can_be_read_while_another_process_writes(tmp_path: Path) -> None:
    digest = Digest.of(b"content")
    async with open_site(tmp_path, create=True) as site:
        ingest = site.store.begin(digest)
        assert ingest is not None
        ingest.append([b"content"])
        ingest.commit()
        await site.index.adopt([(digest, 7)], 1.0)
        with read_site(tmp_path) as reading:
            assert reading.index.used_bytes() == 7
            assert list(reading.store.walk()) == [(digest, 7)]


async def test_the_entries_are_all_that_a_store_consists_of(tmp_path: Path) -> None:
    async with open_site(tmp_path, create=True):
        found = {path.name for path in tmp_path.iterdir()}
        assert found == {path.name for pattern in STORE_ENTRIES for path in tmp_path.glob(pattern)}


@pytest.mark.parametrize("name", ['"index.db"', '"locks"'])
def test_no_other_module_names_the_files(name: str) -> None:
    naming = {str(path.relative_to(SOURCE)) for path in SOURCE.rglob("*.py") if name in path.read_text()}
    assert naming == {"service/site.py"}
