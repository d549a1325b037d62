"""What becomes of transfers that break, stall or bring something wrong."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest
from tests.cache.harness import HASTY, REPOSITORY, Reading, Site
from tests.kit import images
from tests.kit.faults import (
    Answer,
    Break,
    Corrupt,
    Fault,
    Hang,
    IgnoreRange,
    Reset,
    Stall,
    Tamper,
    WrongLength,
)
from tests.kit.waiting import until

from registry_proxy.cache.results import Outcome
from registry_proxy.oci.errors import ErrorCode, RegistryError
from registry_proxy.oci.reference import Digest
from registry_proxy.upstream.pace import Pace
from registry_proxy.upstream.response import Timeouts

if TYPE_CHECKING:
    from tests.kit.journal import Request

SIZE = 3_000_000
IMAGE = images.image(layers=1, layer_size=SIZE)
BLOB = IMAGE.layers[0]


@pytest.fixture(autouse=True)
async def pushed(site: Site) -> None:
    site.simulated.push(REPOSITORY, IMAGE, "latest")


@pytest.fixture
async def hasty(site: Site) -> None:
    """Nobody waits long for this upstream."""
    site.upstream = site.client(site.simulated, timeouts=HASTY)


def transfers(site: Site) -> list[Request]:
    return site.simulated.journal.select("GET", "blob", BLOB.digest)


def ranges(site: Site) -> list[str | None]:
    return [request.headers.get("Range") for request in transfers(site)]


class TestTrickle:
    @pytest.fixture(autouse=True)
    async def demanding(self, site: Site) -> None:
        """Each 0.1 s of waiting must bring 5 MB per second."""
        timeouts = Timeouts(period=0.1, least_rate=5_000_000)
        site.upstream = site.client(site.simulated, timeouts=timeouts)

    async def test_a_slow_transfer_is_resumed_on_another_connection(self, site: Site) -> None:
        site.simulated.pace.bytes_per_second = 500_000
        async with site.worker() as worker:
            reading = Reading(await worker.blob(BLOB.digest))
            await until(lambda: len(transfers(site)) > 1)
            site.simulated.pace.bytes_per_second = 0
            assert await reading.whole() == BLOB.raw
        assert ranges(site)[0] is None
        assert all(each is not None for each in ranges(site)[1:])

    async def test_it_is_given_up_although_it_brings_bytes(self, site: Site) -> None:
        site.simulated.pace.bytes_per_second = 500_000
        async with site.worker() as worker:
            reading = Reading(await worker.blob(BLOB.digest))
            with pytest.raises(RegistryError, match="least_rate") as given_up:
                await reading.whole()
            assert given_up.value.code is ErrorCode.UPSTREAM_TIMEOUT
            assert 0 < len(reading.received) < BLOB.size
        assert len(transfers(site)) == 5

    async def test_the_time_in_which_nobody_waits_for_it_does_not_count(self) -> None:
        pace = Pace(least=1000, period=30)
        assert not any(pace.is_too_slow(100, 0.05) for _ in range(599))
        assert not pace.is_too_slow(100, 0.05)
        assert not any(pace.is_too_slow(10, 1.0) for _ in range(29))
        assert pace.is_too_slow(10, 1.0)


@pytest.mark.usefixtures("hasty")
class TestResuming:
    @pytest.mark.parametrize("at", [1, 1_000_000, BLOB.size - 1])
    async def test_a_broken_transfer_resumes_where_it_broke(self, site: Site, at: int) -> None:
        site.simulated.arm("blob", Break(after=at))
        async with site.worker() as worker:
            assert await worker.pull(BLOB.digest) == BLOB.raw
            await worker.settled(BLOB.digest)
            assert worker.is_stored(BLOB.digest)
        # Of the bytes before the break some may be lost with the connection.
        first, second = ranges(site)
        assert first is None
        assert int((second or "bytes=0-").removeprefix("bytes=").removesuffix("-")) <= at

    async def test_a_stalled_transfer_resumes(self, site: Site) -> None:
        site.simulated.arm("blob", Stall(after=1_000_000))
        async with site.worker() as worker:
            assert await worker.pull(BLOB.digest) == BLOB.raw
        assert ranges(site) == [None, "bytes=1000000-"]

    async def test_an_upstream_that_ignores_ranges_is_read_past_what_is_there(self, site: Site) -> None:
        site.simulated.arm("blob", Stall(after=1_000_000))
        site.simulated.arm("blob", IgnoreRange())
        async with site.worker() as worker:
            assert await worker.pull(BLOB.digest) == BLOB.raw
        assert ranges(site) == [None, "bytes=1000000-"]

    @pytest.mark.slow
    async def test_breaks_in_a_row_are_all_resumed_as_long_as_bytes_come(self, site: Site) -> None:
        site.simulated.arm("blob", Stall(after=200_000), times=5)
        async with site.worker() as worker:
            assert await worker.pull(BLOB.digest) == BLOB.raw
        assert ranges(site) == [None, *(f"bytes={at}-" for at in range(200_000, 1_200_000, 200_000))]

    @pytest.mark.parametrize(
        "fault", [Reset(), Hang(), Break(after=0), Answer(status=503), Answer(status=429)], ids=repr
    )
    async def test_four_attempts_that_bring_nothing_end_it(self, site: Site, fault: Fault) -> None:
        site.simulated.arm("blob", Stall(after=1_000_000))
        site.simulated.arm("blob", fault, times=None)
        async with site.worker() as worker:
            reading = Reading(await worker.blob(BLOB.digest))
            with pytest.raises(RegistryError, match=r"registry\.test"):
                await reading.whole()
            assert bytes(reading.received) == BLOB.raw[:1_000_000]
            assert site.pauses == [0.2, 1.0, 3.0, 8.0]
            if not isinstance(fault, Reset):  # after a reset the HTTP client tries once more by itself
                assert len(transfers(site)) == 5
            site.simulated.faults.clear()
            # What had come is kept for the next pull.
            assert await worker.pull(BLOB.digest) == BLOB.raw
        assert ranges(site)[-1] == "bytes=1000000-"

    async def test_a_limited_transfer_waits_as_long_as_the_registry_wants(self, site: Site) -> None:
        site.simulated.arm("blob", Break(after=1_000_000))
        site.simulated.arm("blob", Answer(status=429, headers={"Retry-After": "7"}))
        async with site.worker() as worker:
            assert await worker.pull(BLOB.digest) == BLOB.raw
        assert site.pauses == [0.2, 7]

    async def test_an_access_withdrawn_in_the_middle_ends_it(self, site: Site) -> None:
        site.simulated.arm("blob", Stall(after=1_000_000))
        site.simulated.arm("blob", Answer(status=403, code="DENIED"), times=None)
        async with site.worker() as worker:
            reading = Reading(await worker.blob(BLOB.digest))
            with pytest.raises(RegistryError) as caught:
                await reading.whole()
            assert caught.value.code is ErrorCode.DENIED
        assert len(transfers(site)) == 2


class TestNothingComes:
    @pytest.mark.parametrize(
        ("fault", "code", "attempts"),
        [
            (Reset(), ErrorCode.UPSTREAM_BROKEN, 4),  # of which the HTTP client makes two by itself
            (Answer(status=500), ErrorCode.UPSTREAM_BROKEN, 2),
            (Answer(status=429, headers={"Retry-After": "7"}), ErrorCode.TOOMANYREQUESTS, 1),
            (Answer(status=404, code="BLOB_UNKNOWN"), ErrorCode.BLOB_UNKNOWN, 1),
            (Answer(status=403, code="DENIED"), ErrorCode.DENIED, 1),
        ],
    )
    async def test_the_error_comes_before_any_header(
        self, site: Site, fault: Fault, code: ErrorCode, attempts: int
    ) -> None:
        site.simulated.arm("blob", fault, times=None)
        async with site.worker() as worker:
            with pytest.raises(RegistryError) as caught:
                await worker.blob(BLOB.digest)
            assert caught.value.code is code
            assert caught.value.detail == {"upstream": "registry.test"}
            await worker.settled(BLOB.digest)
            assert not site.files("ingest")
            assert not worker.index.reserved()
        assert len(transfers(site)) == attempts

    @pytest.mark.usefixtures("hasty")
    async def test_a_hanging_upstream_is_not_tried_twice(self, site: Site) -> None:
        site.simulated.arm("blob", Hang(), times=None)
        async with site.worker() as worker:
            with pytest.raises(RegistryError) as caught:
                await worker.blob(BLOB.digest)
            assert caught.value.code is ErrorCode.UPSTREAM_TIMEOUT
        assert len(transfers(site)) == 1

    async def test_all_who_wait_get_the_error(self, site: Site) -> None:
        site.simulated.arm("blob", Answer(status=404, code="BLOB_UNKNOWN"))
        async with site.worker() as worker, site.simulated.gate("blob") as gate:
            waiting = [asyncio.create_task(worker.blob(BLOB.digest)) for _ in range(5)]
            await gate.reached.wait()
            gate.release()
            results = await asyncio.gather(*waiting, return_exceptions=True)
            assert all(isinstance(result, RegistryError) for result in results)

    async def test_a_break_before_the_first_byte_is_tried_again_at_once(self, site: Site) -> None:
        site.simulated.arm("blob", Reset())
        async with site.worker() as worker:
            assert await worker.pull(BLOB.digest) == BLOB.raw


class TestWrongBytes:
    @pytest.mark.parametrize("at", [0, 1_500_000, -1])
    async def test_a_corrupt_body_is_never_completed_nor_stored(self, site: Site, at: int) -> None:
        site.simulated.arm("blob", Corrupt(at))
        async with site.worker() as worker:
            readings = [Reading(await worker.blob(BLOB.digest)) for _ in range(3)]
            late = Reading(await worker.blob(BLOB.digest), BLOB.size - 1, BLOB.size)
            for reading in [*readings, late]:
                with pytest.raises(RegistryError, match="do not match"):
                    await reading.whole()
            assert all(len(reading.received) == BLOB.size - 1 for reading in readings)
            assert not late.received
            await worker.settled(BLOB.digest)
            assert not worker.is_stored(BLOB.digest)
            assert not site.files("ingest")
            assert not worker.index.reserved()
            assert await worker.pull(BLOB.digest) == BLOB.raw
        assert len(transfers(site)) == 2

    async def test_the_last_byte_waits_for_the_digest(self, site: Site) -> None:
        async with site.worker() as worker, site.simulated.gate("blob", after=BLOB.size - 1) as gate:
            reading = Reading(await worker.blob(BLOB.digest))
            await reading.until(BLOB.size - 1)
            gate.release()
            assert await reading.whole() == BLOB.raw

    @pytest.mark.parametrize("by", [-5, 5])
    async def test_a_wrong_length_is_an_error_before_the_first_byte_when_the_manifest_states_the_size(
        self, site: Site, by: int
    ) -> None:
        async with site.worker() as worker:
            await worker.manifest("latest")
            site.simulated.arm("blob", WrongLength(by), times=None)
            with pytest.raises(RegistryError) as caught:
                await worker.blob(BLOB.digest)
            assert caught.value.code is ErrorCode.UPSTREAM_BROKEN
            await worker.settled(BLOB.digest)
            assert not worker.is_stored(BLOB.digest)
            site.simulated.faults.clear()
            assert await worker.pull(BLOB.digest) == BLOB.raw

    @pytest.mark.parametrize("by", [-5, 5])
    async def test_a_wrong_length_never_completes_when_only_the_upstream_tells_it(
        self, site: Site, by: int
    ) -> None:
        site.simulated.arm("blob", WrongLength(by), times=None)
        async with site.worker() as worker:
            with pytest.raises(RegistryError):
                await worker.pull(BLOB.digest)
            await worker.settled(BLOB.digest)
            assert not worker.is_stored(BLOB.digest)
            site.simulated.faults.clear()
            assert await worker.pull(BLOB.digest) == BLOB.raw

    async def test_more_bytes_than_the_manifest_says_are_refused(self, site: Site) -> None:
        async with site.worker() as worker:
            await worker.manifest("latest")
            longer = BLOB.raw + b"more"
            site.simulated.contents.repository(REPOSITORY).blobs[BLOB.digest] = images.Content(
                BLOB.media_type, longer, BLOB.digest
            )
            site.simulated.arm("blob", Tamper(remove=("Content-Length",)), times=None)
            with pytest.raises(RegistryError, match="do not match the digest"):
                await worker.pull(BLOB.digest)
            await worker.settled(BLOB.digest)
            assert not worker.is_stored(BLOB.digest)


class TestSizes:
    async def test_a_blob_of_unknown_size_is_served_whole_once_it_is_verified(self, site: Site) -> None:
        site.simulated.arm("blob", Tamper(remove=("Content-Length",)))
        async with site.worker() as worker:
            assert await worker.pull(BLOB.digest) == BLOB.raw
            await worker.settled(BLOB.digest)
            assert worker.is_stored(BLOB.digest)

    async def test_a_blob_of_unknown_size_with_the_manifests_size_is_streamed(self, site: Site) -> None:
        site.simulated.arm("blob", Tamper(remove=("Content-Length",)))
        async with site.worker() as worker:
            await worker.manifest("latest")
            async with site.simulated.gate("blob", after=1000) as gate:
                reading = Reading(await worker.blob(BLOB.digest))
                await reading.until(1000)
                gate.release()
                assert await reading.whole() == BLOB.raw

    async def test_a_corrupt_blob_of_unknown_size_is_an_error(self, site: Site) -> None:
        site.simulated.arm("blob", Tamper(remove=("Content-Length",)), Corrupt(7))
        async with site.worker() as worker:
            with pytest.raises(RegistryError, match="do not match the digest"):
                await worker.blob(BLOB.digest)

    async def test_an_empty_blob(self, site: Site) -> None:
        empty = images.Content.of("application/octet-stream", b"")
        image = images.compose(images.OCI_MANIFEST, IMAGE.config, [empty])
        site.simulated.push(REPOSITORY, image, "empty")
        async with site.worker() as worker:
            await worker.manifest("empty")
            for _ in range(2):
                assert await worker.pull(empty.digest) == b""
                await worker.settled(empty.digest)
            assert worker.is_stored(empty.digest)
            assert not worker.index.reserved()

    async def test_a_blob_by_its_sha512_digest(self, site: Site) -> None:
        digest = str(Digest.of(BLOB.raw, "sha512"))
        held = site.simulated.contents.repository(REPOSITORY).blobs
        held[digest] = images.Content(BLOB.media_type, BLOB.raw, digest)
        async with site.worker() as worker:
            await worker.store_blob(digest)
            assert await worker.outcome(digest) is Outcome.HIT
            site.simulated.arm("blob", Corrupt(3))
            wrong = str(Digest.of(b"other", "sha512"))
            held[wrong] = images.Content(BLOB.media_type, BLOB.raw, wrong)
            with pytest.raises(RegistryError, match="digest"):
                await worker.pull(wrong)

    async def test_a_blob_of_one_byte(self, site: Site) -> None:
        single = images.Content.of("application/octet-stream", b"x")
        site.simulated.contents.repository(REPOSITORY).blobs[single.digest] = single
        async with site.worker() as worker:
            assert await worker.pull(single.digest) == b"x"
            await worker.settled(single.digest)
            assert await worker.pull(single.digest) == b"x"


class TestLeftovers:
    async def interrupt(self, site: Site, at: int = 1_000_000, *, known: bool = True) -> None:
        """A process ends in the middle of a fill."""
        async with site.worker() as worker, site.simulated.gate("blob", after=at):
            if known:
                await worker.manifest("latest")
            reading = Reading(await worker.blob(BLOB.digest))
            await reading.until(min(at, BLOB.size - 1))
            await worker.kill()
            with pytest.raises(ConnectionError):
                await reading.whole()

    async def test_the_next_process_resumes(self, site: Site) -> None:
        await self.interrupt(site)
        async with site.worker() as worker:
            assert await worker.pull(BLOB.digest) == BLOB.raw
            await worker.settled(BLOB.digest)
            assert worker.is_stored(BLOB.digest)
            assert not worker.index.reserved()
        assert ranges(site) == [None, "bytes=1000000-"]
        assert not site.files("ingest")

    async def test_its_bytes_go_out_before_the_upstream_answers(self, site: Site) -> None:
        await self.interrupt(site)
        async with site.worker() as worker:
            site.simulated.arm("blob", Hang())
            reading = Reading(await worker.blob(BLOB.digest))
            await reading.until(1_000_000)
            site.simulated.faults.clear()
            assert await reading.whole() == BLOB.raw

    async def test_a_complete_one_takes_no_transfer(self, site: Site) -> None:
        await self.interrupt(site, BLOB.size - 1)
        [leftover] = site.files("ingest")
        leftover.write_bytes(BLOB.raw)
        async with site.worker() as worker:
            assert await worker.pull(BLOB.digest) == BLOB.raw
            await worker.settled(BLOB.digest)
            assert worker.is_stored(BLOB.digest)
        assert ranges(site) == [None]

    async def test_a_complete_one_without_a_link_costs_one_small_request(self, site: Site) -> None:
        await self.interrupt(site, BLOB.size - 1)
        [leftover] = site.files("ingest")
        leftover.write_bytes(BLOB.raw)
        site.now.advance(site.rules.access_ttl + 1)
        async with site.worker() as worker:
            assert await worker.pull(BLOB.digest) == BLOB.raw
        assert ranges(site) == [None, "bytes=0-0"]

    async def test_one_longer_than_the_blob_is_thrown_away(self, site: Site) -> None:
        await self.interrupt(site)
        [leftover] = site.files("ingest")
        leftover.write_bytes(BLOB.raw + b"more")
        async with site.worker() as worker:
            assert await worker.pull(BLOB.digest) == BLOB.raw
        assert ranges(site) == [None, None]

    async def test_one_without_a_known_size_is_thrown_away(self, site: Site) -> None:
        await self.interrupt(site, known=False)
        (site.root / "index.db").unlink()
        async with site.worker() as worker:
            assert await worker.pull(BLOB.digest) == BLOB.raw
        assert ranges(site) == [None, None]

    async def test_a_damaged_one_fails_one_pull_at_most(self, site: Site) -> None:
        await self.interrupt(site)
        [leftover] = site.files("ingest")
        with leftover.open("r+b") as file:
            file.write(b"damage")
        async with site.worker() as worker:
            with pytest.raises(RegistryError, match="digest"):
                await worker.pull(BLOB.digest)
            await until(lambda: not site.files("ingest"))
            assert await worker.pull(BLOB.digest) == BLOB.raw
