"""What every store must do: one suite, run on each kind of store."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from io import FileIO
from pathlib import Path
from threading import Barrier
from typing import TYPE_CHECKING

import pytest
from tests.storage.stores import CONTENT, DIGEST, begin, open_store, put, read, read_open

from registry_proxy.oci.reference import Digest
from registry_proxy.storage.base import StoreError

if TYPE_CHECKING:
    from registry_proxy.storage.base import BlobStore, Ingest


class TestContent:
    @pytest.mark.parametrize("algorithm", ["sha256", "sha512"])
    @pytest.mark.parametrize("content", [b"", b"x", CONTENT * 100_000], ids=["empty", "a byte", "megabytes"])
    def test_what_was_committed_is_read_again(self, store: BlobStore, content: bytes, algorithm: str) -> None:
        digest = put(store, content, algorithm)
        assert read(store, digest) == content

    def test_unknown_content_is_none(self, store: BlobStore) -> None:
        assert store.open(DIGEST) is None

    def test_nothing_is_content_before_its_commit(self, store: BlobStore) -> None:
        ingest = begin(store)
        ingest.append([CONTENT])
        assert store.open(DIGEST) is None
        assert list(store.walk()) == []
        ingest.close()

    def test_a_second_commit_of_a_digest_leaves_readers_of_the_first_alone(self, store: BlobStore) -> None:
        put(store, CONTENT)
        first = store.open(DIGEST)
        assert first is not None
        put(store, CONTENT)
        assert read_open(first) == CONTENT
        assert read(store, DIGEST) == CONTENT
        first.close()

    def test_deleted_content_is_gone_but_for_who_has_it_open(self, store: BlobStore) -> None:
        put(store, CONTENT)
        blob = store.open(DIGEST)
        assert blob is not None
        store.delete(DIGEST)
        assert store.open(DIGEST) is None
        assert read_open(blob) == CONTENT
        blob.close()

    def test_deleting_what_is_not_there_is_no_error(self, store: BlobStore) -> None:
        store.delete(DIGEST)
        assert list(store.walk()) == []

    def test_each_opener_reads_at_an_offset_of_its_own(self, store: BlobStore) -> None:
        put(store, CONTENT)
        one, two = store.open(DIGEST), store.open(DIGEST)
        assert one is not None
        assert two is not None
        assert read_open(one, 7) == b"sixteen"
        assert read_open(two, 7) == b"sixteen"
        one.close()
        two.close()

    def test_walk_finds_all_content_with_its_size(self, store: BlobStore) -> None:
        contents = {put(store, b"x" * size, of): size for size in range(20) for of in ("sha256", "sha512")}
        begin(store).close()
        assert dict(store.walk()) == contents

    def test_another_opener_of_the_same_store_sees_the_content(self, store: BlobStore, address: str) -> None:
        put(store, CONTENT)
        assert read(open_store(address), DIGEST) == CONTENT


class TestIngest:
    def test_appends_follow_each_other(self, store: BlobStore) -> None:
        ingest = begin(store)
        ingest.append([b"sixteen", b"-", b""])
        assert ingest.size == 8
        ingest.append([])
        ingest.append([b"bytes..."])
        assert ingest.size == 16
        assert ingest.digest == DIGEST
        ingest.commit()
        assert read(store, DIGEST) == CONTENT

    def test_one_append_takes_more_chunks_than_one_system_call(self, store: BlobStore) -> None:
        chunks = [bytes([number % 251]) * (number % 7) for number in range(5000)]
        ingest = begin(store)
        ingest.append(chunks)
        with ingest.view() as view:
            assert view.readall() == b"".join(chunks)
        ingest.discard()

    def test_has_one_owner(self, store: BlobStore, address: str) -> None:
        ingest = begin(store)
        assert store.begin(DIGEST) is None
        assert open_store(address).begin(DIGEST) is None
        ingest.close()
        begin(store).close()

    def test_of_many_who_begin_at_once_one_becomes_the_owner(self, address: str) -> None:
        barrier = Barrier(8)

        def race(_: int) -> Ingest | None:
            store = open_store(address)
            barrier.wait()
            return store.begin(DIGEST)

        with ThreadPoolExecutor(8) as threads:
            owners = [ingest for ingest in threads.map(race, range(8)) if ingest]
        assert len(owners) == 1
        owners[0].close()

    def test_different_digests_don_t_wait_for_each_other(self, store: BlobStore) -> None:
        one, two = begin(store), begin(store, Digest.of(CONTENT, "sha512"))
        one.append([CONTENT])
        assert two.size == 0
        one.close()
        two.close()

    def test_closed_keeps_its_bytes_for_the_next_one(self, store: BlobStore) -> None:
        ingest = begin(store)
        ingest.append([CONTENT[:5]])
        ingest.close()
        resumed = begin(store)
        assert resumed.size == 5
        resumed.append([CONTENT[5:]])
        resumed.commit()
        assert read(store, DIGEST) == CONTENT

    def test_discarded_leaves_nothing(self, store: BlobStore) -> None:
        ingest = begin(store)
        ingest.append([CONTENT])
        ingest.discard()
        assert store.follow(DIGEST) is None
        again = begin(store)
        assert again.size == 0
        again.discard()

    def test_committed_leaves_nothing_but_the_content(self, store: BlobStore) -> None:
        put(store, CONTENT)
        assert store.follow(DIGEST) is None
        again = begin(store)
        assert again.size == 0
        again.discard()
        assert read(store, DIGEST) == CONTENT

    def test_truncated_begins_anew(self, store: BlobStore) -> None:
        ingest = begin(store)
        ingest.append([b"not these"])
        ingest.truncate()
        assert ingest.size == 0
        assert store.begin(DIGEST) is None
        ingest.append([CONTENT])
        ingest.commit()
        assert read(store, DIGEST) == CONTENT

    @pytest.mark.parametrize("end", ["commit", "discard", "close"])
    def test_after_its_end_it_can_be_ended_again_but_not_used(self, store: BlobStore, end: str) -> None:
        ingest = begin(store)
        ingest.append([CONTENT])
        getattr(ingest, end)()
        successor = begin(store)
        ingest.close()
        ingest.discard()
        with pytest.raises(StoreError, match="has ended"):
            ingest.append([b"x"])
        for method in (ingest.truncate, ingest.commit):
            with pytest.raises(StoreError, match="has ended"):
                method()
        assert store.begin(DIGEST) is None, "the successor's lock is untouched"
        assert successor.size == (16 if end == "close" else 0), "and so are its bytes"
        successor.discard()


class TestView:
    def test_shows_the_bytes_as_they_come(self, store: BlobStore) -> None:
        ingest = begin(store)
        with ingest.view() as view:
            assert view.read() == b""
            ingest.append([CONTENT[:7]])
            assert view.read() == CONTENT[:7]
            ingest.append([CONTENT[7:]])
            assert view.read() == CONTENT[7:]
        ingest.discard()

    def test_has_an_offset_of_its_own(self, store: BlobStore) -> None:
        ingest = begin(store)
        ingest.append([CONTENT])
        with ingest.view() as one, ingest.view() as two:
            assert one.read() == CONTENT
            assert two.read() == CONTENT
        ingest.discard()

    @pytest.mark.parametrize("end", ["commit", "discard", "close"])
    def test_stays_readable_after_the_end(self, store: BlobStore, end: str) -> None:
        ingest = begin(store)
        ingest.append([CONTENT])
        with ingest.view() as view:
            getattr(ingest, end)()
            store.delete(DIGEST)
            assert view.read() == CONTENT

    def test_does_not_keep_the_lock(self, store: BlobStore) -> None:
        ingest = begin(store)
        with ingest.view():
            ingest.close()
            begin(store).discard()

    def test_can_be_had_after_the_commit(self, store: BlobStore) -> None:
        ingest = begin(store)
        ingest.append([CONTENT])
        ingest.commit()
        with ingest.view() as view:
            assert view.read() == CONTENT

    @pytest.mark.parametrize("end", ["discard", "close"])
    def test_can_t_be_had_after_another_end(self, store: BlobStore, end: str) -> None:
        ingest = begin(store)
        getattr(ingest, end)()
        with pytest.raises(StoreError, match="has ended"):
            ingest.view()

    def test_from_before_a_truncation_never_shows_the_new_bytes(self, store: BlobStore) -> None:
        ingest = begin(store)
        ingest.append([b"wrong"])
        with ingest.view() as old:
            ingest.truncate()
            ingest.append([CONTENT])
            assert old.read() == b""
            with ingest.view() as new:
                assert new.read() == CONTENT
        ingest.discard()


class TestFollowedIngest:
    def test_is_none_without_an_ingest(self, store: BlobStore) -> None:
        assert store.follow(DIGEST) is None

    def test_sees_the_bytes_come_and_prove_right(self, store: BlobStore, address: str) -> None:
        ingest = begin(store)
        followed = open_store(address).follow(DIGEST)
        assert followed is not None
        assert followed.size() == 0
        ingest.append([CONTENT])
        assert followed.size() == 16
        assert not followed.verified()
        ingest.commit()
        assert followed.verified()
        assert not followed.discarded()
        assert read_open(followed) == CONTENT
        followed.close()

    def test_of_the_same_process_sees_the_commit(self, store: BlobStore) -> None:
        ingest = begin(store)
        followed = store.follow(DIGEST)
        assert followed is not None
        ingest.commit()
        assert followed.verified()
        followed.close()

    def test_is_not_discarded_when_the_content_is_deleted(self, store: BlobStore) -> None:
        ingest = begin(store)
        followed = store.follow(DIGEST)
        assert followed is not None
        ingest.commit()
        store.delete(DIGEST)
        assert not followed.discarded()
        followed.close()

    @pytest.mark.parametrize("reason", ["discard", "truncate"])
    def test_learns_that_the_bytes_were_thrown_away(self, store: BlobStore, reason: str) -> None:
        ingest = begin(store)
        ingest.append([b"wrong"])
        followed = store.follow(DIGEST)
        assert followed is not None
        assert not followed.discarded()
        getattr(ingest, reason)()
        assert followed.discarded()
        assert not followed.verified()
        followed.close()
        ingest.close()

    def test_is_not_discarded_when_the_owner_only_stops(self, store: BlobStore) -> None:
        ingest = begin(store)
        ingest.append([CONTENT[:3]])
        followed = store.follow(DIGEST)
        assert followed is not None
        ingest.close()
        successor = begin(store)
        successor.append([CONTENT[3:]])
        assert not followed.discarded()
        assert read_open(followed) == CONTENT
        followed.close()
        successor.discard()


class TestAbandonedIngests:
    def test_old_ones_are_removed(self, store: BlobStore) -> None:
        begin(store).close()
        assert store.remove_abandoned_ingests(time.time() + 60) == [DIGEST]
        assert store.follow(DIGEST) is None

    def test_of_both_algorithms(self, store: BlobStore) -> None:
        digests = {DIGEST, Digest.of(CONTENT, "sha512")}
        for digest in digests:
            begin(store, digest).close()
        assert set(store.remove_abandoned_ingests(time.time() + 60)) == digests

    def test_recent_ones_stay(self, store: BlobStore) -> None:
        begin(store).close()
        assert store.remove_abandoned_ingests(time.time() - 60) == []
        followed = store.follow(DIGEST)
        assert followed is not None
        followed.close()

    def test_ones_with_an_owner_stay(self, store: BlobStore, address: str) -> None:
        ingest = begin(store)
        ingest.append([CONTENT])
        assert open_store(address).remove_abandoned_ingests(time.time() + 60) == []
        ingest.commit()
        assert read(store, DIGEST) == CONTENT

    def test_content_stays(self, store: BlobStore) -> None:
        put(store, CONTENT)
        assert store.remove_abandoned_ingests(time.time() + 60) == []
        assert read(store, DIGEST) == CONTENT


def test_no_descriptor_is_left_open(store: BlobStore) -> None:
    def use() -> int:
        put(store, CONTENT)
        ingest = begin(store)
        ingest.append([CONTENT])
        assert store.begin(DIGEST) is None
        ingest.truncate()
        ingest.close()
        store.remove_abandoned_ingests(time.time() + 60)
        read(store, DIGEST)
        list(store.walk())
        return len(list(Path("/proc/self/fd").iterdir()))

    assert use() == use()


class TestLinks:
    """Files from elsewhere that become content without a copy, where the store can do that."""

    def test_a_linked_file_is_content_or_nothing_happened(self, store: BlobStore, tmp_path: Path) -> None:
        path = tmp_path / "file"
        path.write_bytes(CONTENT)
        with FileIO(path) as file:
            linked = store.link(DIGEST, file)
        assert read(store, DIGEST) == (CONTENT if linked else None)

    def test_deleting_linked_content_leaves_the_file(self, store: BlobStore, tmp_path: Path) -> None:
        path = tmp_path / "file"
        path.write_bytes(CONTENT)
        with FileIO(path) as file:
            store.link(DIGEST, file)
        store.delete(DIGEST)
        assert store.open(DIGEST) is None
        assert path.read_bytes() == CONTENT
