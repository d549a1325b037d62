"""Several processes on one store, and their sudden ends."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from tests.storage.owner import Owner
from tests.storage.stores import CONTENT, DIGEST, begin, put, read, read_open

if TYPE_CHECKING:
    from registry_proxy.storage.base import BlobStore


def test_a_process_follows_and_reads_what_another_one_ingests(store: BlobStore, address: str) -> None:
    with Owner(address) as owner:
        owner.tell("begin", DIGEST)
        assert store.begin(DIGEST) is None
        followed = store.follow(DIGEST)
        assert followed is not None
        assert owner.tell("append", "sixteen-") == "8"
        assert followed.size() == 8
        owner.tell("append", "bytes...")
        assert not followed.verified()
        owner.tell("commit")
        assert followed.verified()
        assert read_open(followed) == CONTENT
        assert read(store, DIGEST) == CONTENT
        followed.close()


def test_the_lock_is_freed_by_the_owner_s_death_and_its_bytes_are_resumed(
    store: BlobStore, address: str
) -> None:
    with Owner(address) as owner:
        owner.tell("begin", DIGEST)
        owner.tell("append", "sixteen-")
        assert store.begin(DIGEST) is None
        owner.kill()
    ingest = begin(store)
    assert ingest.size == 8
    ingest.append([b"bytes..."])
    ingest.commit()
    assert read(store, DIGEST) == CONTENT


def test_two_processes_take_turns(address: str) -> None:
    with Owner(address) as one, Owner(address) as two:
        assert one.tell("begin", DIGEST) == "0"
        assert two.tell("begin", DIGEST) == "none"
        one.tell("append", "0123")
        one.tell("close")
        assert two.tell("begin", DIGEST) == "4"
        assert one.tell("begin", DIGEST) == "none"


STEPS = (
    ("begin", DIGEST),
    ("append", "sixteen-bytes..."),
    ("truncate",),
    ("append", "sixteen-bytes..."),
    ("commit",),
)


@pytest.mark.parametrize("survived", range(len(STEPS) + 1))
def test_a_kill_after_any_step_costs_no_other_content_and_blocks_nothing(
    store: BlobStore, address: str, survived: int
) -> None:
    other = put(store, b"other")
    with Owner(address) as owner:
        for step in STEPS[:survived]:
            owner.tell(*step)
        owner.kill()
    committed = survived == len(STEPS)
    assert read(store, DIGEST) == (CONTENT if committed else None)
    assert dict(store.walk()) == ({other: 5, DIGEST: 16} if committed else {other: 5})
    ingest = begin(store)
    ingest.truncate()
    ingest.append([CONTENT])
    ingest.commit()
    assert read(store, DIGEST) == CONTENT
