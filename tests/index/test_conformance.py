"""What every index must do: one suite, run on each kind of index."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from tests.index.indexes import open_index
from tests.index.values import ALPINE, DEBIAN, TOOL, blob, digest, index_of, manifest

from registry_proxy.index.base import (
    Content,
    Count,
    Delivery,
    Image,
    IndexFailedError,
    Link,
    Outage,
    RegistryUsage,
    TagRecord,
)
from registry_proxy.oci.manifest import Descriptor
from registry_proxy.oci.media_types import OCI_MANIFEST
from registry_proxy.oci.reference import Digest, Repository, Source
from registry_proxy.policy.removal import Holdings, Removal, everything

if TYPE_CHECKING:
    from registry_proxy.index.base import Index


def test_an_empty_index_knows_nothing(index: Index) -> None:
    assert index.link(ALPINE, digest("a")) is None
    assert index.tag(ALPINE, "latest") is None
    assert index.content(digest("a")) is None
    assert index.tags(ALPINE) == []
    assert index.repositories(None, "", 10) == []
    assert index.used_bytes() == 0
    assert index.least_recently_used(10) == []
    assert index.reserved() == {}


class TestManifest:
    async def test_is_content_of_its_repository_and_confirms_no_child(self, index: Index) -> None:
        await index.record_manifest(ALPINE, manifest("image", blob("layer", 70)), None, 5.0)
        assert index.content(digest("image")) == Content(digest("image"), 5, OCI_MANIFEST, 5.0)
        assert index.link(ALPINE, digest("image")) == Link(digest("image"), 5, 5.0)
        assert index.link(ALPINE, digest("layer")) == Link(digest("layer"), 70, 0.0)
        assert index.content(digest("layer")) is None
        assert index.link(DEBIAN, digest("layer")) is None

    async def test_keeps_the_confirmation_of_a_child(self, index: Index) -> None:
        await index.record_link(ALPINE, digest("layer"), None, 3.0)
        await index.record_manifest(ALPINE, manifest("image", blob("layer", 70)), None, 5.0)
        assert index.link(ALPINE, digest("layer")) == Link(digest("layer"), 70, 3.0)
        await index.record_blob(ALPINE, blob("layer", 70), 6.0)
        assert index.link(ALPINE, digest("layer")) == Link(digest("layer"), 70, 6.0)

    async def test_records_at_most_a_thousand_children(self, index: Index) -> None:
        await index.record_manifest(
            ALPINE, manifest("image", *(blob(f"layer {number}") for number in range(1001))), None, 5.0
        )
        known = [index.link(ALPINE, digest(f"layer {number}")) is not None for number in range(1001)]
        assert known == [True] * 1000 + [False]

    async def test_is_what_its_tag_points_to(self, index: Index) -> None:
        await index.record_manifest(ALPINE, manifest("old"), "latest", 5.0)
        await index.record_manifest(ALPINE, manifest("new"), "latest", 6.0)
        assert index.tag(ALPINE, "latest") == TagRecord(digest("new"), 6.0)
        assert index.tag(DEBIAN, "latest") is None

    async def test_without_a_tag_leaves_the_tags_alone(self, index: Index) -> None:
        await index.record_manifest(ALPINE, manifest("old"), "latest", 5.0)
        await index.record_manifest(ALPINE, manifest("new"), None, 6.0)
        assert index.tag(ALPINE, "latest") == TagRecord(digest("old"), 5.0)
        assert index.tags(ALPINE) == ["latest"]

    async def test_ends_its_reservation(self, index: Index) -> None:
        await index.reserve(digest("image"), 1000, 1.0)
        await index.record_manifest(ALPINE, manifest("image"), None, 5.0)
        assert index.reserved() == {}
        assert index.used_bytes() == 5

    async def test_may_name_a_child_twice(self, index: Index) -> None:
        await index.record_manifest(ALPINE, manifest("image", blob("a"), blob("a")), None, 5.0)
        assert index.link(ALPINE, digest("a")) == Link(digest("a"), 100, 0.0)

    async def test_of_sha512_is_told_from_others(self, index: Index) -> None:
        long = Digest.of(b"image", "sha512")
        await index.record_link(ALPINE, long, 5, 1.0)
        await index.adopt([(long, 5)], 1.0)
        assert index.link(ALPINE, long) == Link(long, 5, 1.0)
        assert [content.digest for content in index.least_recently_used(1)] == [long]


class TestBlob:
    async def test_is_content_of_its_repository(self, index: Index) -> None:
        await index.record_blob(ALPINE, blob("layer", 70), 5.0)
        assert index.content(digest("layer")) == Content(digest("layer"), 70, None, 5.0)
        assert index.link(ALPINE, digest("layer")) == Link(digest("layer"), 70, 5.0)

    async def test_ends_its_reservation_and_no_other(self, index: Index) -> None:
        await index.reserve(digest("layer"), 70, 1.0)
        await index.reserve(digest("other"), 30, 1.0)
        await index.record_blob(ALPINE, blob("layer", 70), 5.0)
        assert index.reserved() == {digest("other"): 30}

    async def test_fetched_again_keeps_its_media_type_and_latest_use(self, index: Index) -> None:
        await index.record_manifest(ALPINE, manifest("image"), None, 9.0)
        await index.record_blob(ALPINE, Descriptor(digest("image"), 5), 8.0)
        assert index.content(digest("image")) == Content(digest("image"), 5, OCI_MANIFEST, 9.0)


class TestConfirmation:
    async def test_is_the_registry_s_for_any_of_its_repositories(self, index: Index) -> None:
        await index.record_manifest(ALPINE, manifest("image", blob("layer")), None, 5.0)
        assert index.is_confirmed(ALPINE.registry, digest("image"))
        assert not index.is_confirmed(TOOL.registry, digest("image"))
        assert not index.is_confirmed(ALPINE.registry, digest("layer"))
        await index.record_blob(DEBIAN, blob("layer"), 6.0)
        assert index.is_confirmed(ALPINE.registry, digest("layer"))


class TestLink:
    async def test_is_confirmed_again(self, index: Index) -> None:
        await index.record_link(ALPINE, digest("a"), 10, 1.0)
        await index.record_link(ALPINE, digest("a"), 10, 2.0)
        assert index.link(ALPINE, digest("a")) == Link(digest("a"), 10, 2.0)

    async def test_without_a_size_keeps_the_known_one(self, index: Index) -> None:
        await index.record_link(ALPINE, digest("a"), None, 1.0)
        assert index.link(ALPINE, digest("a")) == Link(digest("a"), None, 1.0)
        await index.record_link(ALPINE, digest("a"), 10, 2.0)
        await index.record_link(ALPINE, digest("a"), None, 3.0)
        assert index.link(ALPINE, digest("a")) == Link(digest("a"), 10, 3.0)

    async def test_belongs_to_one_repository(self, index: Index) -> None:
        await index.record_link(ALPINE, digest("a"), 10, 1.0)
        await index.record_link(DEBIAN, digest("a"), 10, 1.0)
        await index.drop_link(ALPINE, digest("a"))
        await index.drop_link(TOOL, digest("a"))
        assert index.link(ALPINE, digest("a")) is None
        assert index.link(DEBIAN, digest("a")) is not None

    async def test_tells_registries_apart(self, index: Index) -> None:
        mirror = Source("ghcr.io", ALPINE.repository)
        await index.record_link(mirror, digest("a"), 10, 1.0)
        assert index.link(ALPINE, digest("a")) is None


class TestTag:
    async def test_refreshed_confirms_tag_and_link(self, index: Index) -> None:
        await index.record_manifest(ALPINE, manifest("image"), "latest", 1.0)
        await index.refresh_tag(ALPINE, "latest", digest("image"), 2.0)
        assert index.tag(ALPINE, "latest") == TagRecord(digest("image"), 2.0)
        assert index.link(ALPINE, digest("image")) == Link(digest("image"), 5, 2.0)

    async def test_refreshed_after_the_index_was_lost_is_known(self, index: Index) -> None:
        await index.refresh_tag(ALPINE, "latest", digest("image"), 2.0)
        assert index.tag(ALPINE, "latest") == TagRecord(digest("image"), 2.0)
        assert index.link(ALPINE, digest("image")) == Link(digest("image"), None, 2.0)

    async def test_dropped_leaves_the_others(self, index: Index) -> None:
        for source, tag in ((ALPINE, "3"), (ALPINE, "latest"), (DEBIAN, "3")):
            await index.record_manifest(source, manifest("image"), tag, 1.0)
        await index.drop_tag(ALPINE, "3")
        await index.drop_tag(TOOL, "3")
        assert index.tags(ALPINE) == ["latest"]
        assert index.tags(DEBIAN) == ["3"]

    async def test_list_is_sorted_and_without_other_keys(self, index: Index) -> None:
        for tag in ("b", "a", "10", "9", "B", "_"):
            await index.record_manifest(ALPINE, manifest("image"), tag, 1.0)
        key = f"referrers:{digest('image')}"
        await index.record_manifest(ALPINE, manifest("list"), key, 1.0)
        assert index.tags(ALPINE) == sorted(["b", "a", "10", "9", "B", "_"])
        assert index.tag(ALPINE, key) == TagRecord(digest("list"), 1.0)

    async def test_of_a_digest_come_those_checked_last_first(self, index: Index) -> None:
        for number, tag in enumerate(("2", "3", "1")):
            await index.record_manifest(ALPINE, manifest("image"), tag, number + 1.0)
        await index.record_manifest(ALPINE, manifest("other"), "4", 9.0)
        await index.record_manifest(ALPINE, manifest("image"), f"referrers:{digest('image')}", 9.0)
        await index.record_manifest(DEBIAN, manifest("image"), "5", 9.0)
        assert index.tags_of(ALPINE, digest("image")) == ["1", "3", "2"]
        assert index.tags_of(TOOL, digest("image")) == []

    async def test_outlives_its_content(self, index: Index) -> None:
        await index.record_manifest(ALPINE, manifest("image"), "latest", 1.0)
        await index.forget([digest("image")])
        assert index.tag(ALPINE, "latest") == TagRecord(digest("image"), 1.0)


class TestRepositories:
    async def test_come_in_pages_by_full_name(self, index: Index) -> None:
        names = ["docker.io-x/a", "docker.io/b", "docker.io.example/a", "docker.io/a/c", "docker.io/a"]
        for name in names:
            registry, _, repository = name.partition("/")
            await index.record_link(Source(registry, Repository(repository)), digest("a"), 1, 1.0)
        pages, after = [], ""
        while page := index.repositories(None, after, 2):
            pages.append([str(source) for source in page])
            after = pages[-1][-1]
        assert pages == [sorted(names)[:2], sorted(names)[2:4], sorted(names)[4:]]

    async def test_of_one_registry(self, index: Index) -> None:
        for source in (TOOL, DEBIAN, ALPINE):
            await index.record_link(source, digest("a"), 1, 1.0)
        assert index.repositories("docker.io", "", 10) == [ALPINE, DEBIAN]
        assert index.repositories("docker.io", str(ALPINE), 10) == [DEBIAN]
        assert index.repositories("quay.io", "", 10) == []

    async def test_without_links_are_left_out(self, index: Index) -> None:
        await index.record_link(ALPINE, digest("a"), 1, 1.0)
        await index.drop_link(ALPINE, digest("a"))
        assert index.repositories(None, "", 10) == []

    async def test_removed_are_gone_with_all_they_hold(self, index: Index) -> None:
        for source in (ALPINE, DEBIAN):
            await index.record_manifest(source, manifest("image", blob("layer")), "latest", 1.0)
        await index.remove(ALPINE, everything(index.holdings(ALPINE)))
        assert index.repositories(None, "", 10) == [DEBIAN]
        assert index.tags(ALPINE) == []
        assert index.link(ALPINE, digest("layer")) is None
        assert index.link(DEBIAN, digest("layer")) is not None
        assert index.tags(DEBIAN) == ["latest"]


class TestAccounting:
    async def test_content_counts_once(self, index: Index) -> None:
        await index.record_blob(ALPINE, blob("a", 10), 1.0)
        await index.record_blob(DEBIAN, blob("a", 10), 2.0)
        await index.record_blob(TOOL, blob("b", 5), 2.0)
        assert index.used_bytes() == 15

    async def test_a_reservation_counts_until_its_digest_is_content(self, index: Index) -> None:
        await index.record_blob(ALPINE, blob("a", 10), 1.0)
        await index.reserve(digest("a"), 10, 2.0)
        await index.reserve(digest("b"), 7, 2.0)
        assert index.used_bytes() == 17
        await index.reserve(digest("b"), 8, 3.0)
        assert index.used_bytes() == 18
        assert index.reserved() == {digest("a"): 10, digest("b"): 8}
        await index.release(digest("b"))
        await index.release(digest("never reserved"))
        assert index.used_bytes() == 10

    async def test_reservations_of_any_size_can_be_counted(self, index: Index) -> None:
        for number in range(4):
            await index.reserve(digest(f"{number}"), 2**63 - 1, 1.0)
        assert index.used_bytes() >= 2**62

    async def test_a_reservation_shows_which_repository_delivers(self, index: Index) -> None:
        await index.reserve(digest("a"), 10, 2.0, ALPINE)
        assert index.delivery(digest("a")) == Delivery(ALPINE, 2.0)
        await index.reserve(digest("a"), 20, 3.0, TOOL)
        assert index.delivery(digest("a")) == Delivery(TOOL, 3.0)
        await index.reserve(digest("a"), 20, 4.0)
        assert index.delivery(digest("a")) is None
        await index.reserve(digest("a"), 20, 5.0, TOOL)
        await index.release(digest("a"))
        assert index.delivery(digest("a")) is None

    async def test_forgotten_content_counts_no_more_and_is_linked_no_more(self, index: Index) -> None:
        for source in (ALPINE, DEBIAN):
            await index.record_blob(source, blob("a", 10), 1.0)
        await index.record_blob(ALPINE, blob("b", 5), 1.0)
        await index.forget([digest("a"), digest("never there")])
        assert index.used_bytes() == 5
        assert index.content(digest("a")) is None
        assert index.link(ALPINE, digest("a")) is None
        assert index.link(DEBIAN, digest("a")) is None

    async def test_adopted_content_counts_with_the_size_that_was_found(self, index: Index) -> None:
        await index.record_manifest(ALPINE, manifest("image"), None, 1.0)
        await index.adopt([(digest("image"), 3), (digest("found"), 20)], 2.0)
        assert index.used_bytes() == 23
        assert index.content(digest("found")) == Content(digest("found"), 20, None, 2.0)
        assert index.content(digest("image")) == Content(digest("image"), 3, OCI_MANIFEST, 1.0)
        assert index.link(ALPINE, digest("found")) is None


class TestUse:
    async def test_orders_the_coldest_first(self, index: Index) -> None:
        for name, used in (("b", 2.0), ("a", 1.0), ("c", 3.0)):
            await index.record_blob(ALPINE, blob(name), used)
        assert [content.digest for content in index.least_recently_used(2)] == [digest("a"), digest("b")]
        await index.touch({digest("a"): 4.0})
        assert [content.digest for content in index.least_recently_used(9)] == [
            digest(name) for name in "bca"
        ]

    async def test_never_goes_back_and_adds_nothing(self, index: Index) -> None:
        await index.record_blob(ALPINE, blob("a"), 5.0)
        await index.touch({digest("a"): 4.0, digest("unknown"): 6.0})
        assert index.least_recently_used(9) == [Content(digest("a"), 100, None, 5.0)]


class TestSurvey:
    async def test_usage_counts_content_once_a_registry(self, index: Index) -> None:
        image = manifest("image", blob("layer", 70), blob("absent", 1000))
        for source in (ALPINE, DEBIAN, TOOL):
            await index.record_manifest(source, image, "latest", 1.0)
            await index.record_blob(source, blob("layer", 70), 1.0)
        await index.record_manifest(ALPINE, manifest("list"), f"referrers:{digest('image')}", 1.0)
        assert await index.usage() == [
            RegistryUsage("docker.io", repositories=2, tags=2, size=79),
            RegistryUsage("ghcr.io", repositories=1, tags=1, size=75),
        ]

    async def test_usage_leaves_out_what_has_no_links(self, index: Index) -> None:
        await index.record_blob(ALPINE, blob("a"), 1.0)
        await index.record_blob(TOOL, blob("a"), 1.0)
        await index.drop_link(TOOL, digest("a"))
        assert [usage.registry for usage in await index.usage()] == ["docker.io"]

    async def test_an_image_is_as_large_as_what_is_kept_of_it(self, index: Index) -> None:
        amd, arm = manifest("amd", blob("base", 10), blob("amd layer", 20)), manifest("arm", blob("base", 10))
        await index.record_manifest(ALPINE, index_of("list", amd, arm), "latest", 1.0)
        await index.record_manifest(ALPINE, amd, "amd", 2.0)
        await index.record_blob(ALPINE, blob("base", 10), 2.0)
        await index.record_blob(ALPINE, blob("amd layer", 20), 2.0)
        assert await index.images(None) == [
            Image(ALPINE, "amd", digest("amd"), 3 + 10 + 20, 2.0, 2.0),
            Image(ALPINE, "latest", digest("list"), 4 + 3 + 10 + 20, 1.0, 1.0),
        ]

    async def test_an_image_without_its_manifest_was_never_used(self, index: Index) -> None:
        await index.record_manifest(ALPINE, manifest("image", blob("layer")), "latest", 1.0)
        await index.record_blob(ALPINE, blob("layer"), 1.0)
        await index.forget([digest("image")])
        assert await index.images(None) == [Image(ALPINE, "latest", digest("image"), 0, 1.0, None)]

    async def test_manifests_that_nothing_leads_to_are_images_without_a_tag(self, index: Index) -> None:
        part = manifest("part", blob("layer", 30))
        await index.record_manifest(ALPINE, index_of("list", part), "latest", 1.0)
        await index.record_manifest(ALPINE, part, None, 1.0)
        await index.record_blob(ALPINE, blob("layer", 30), 1.0)
        await index.record_manifest(ALPINE, manifest("moved on", blob("layer", 30)), None, 3.0)
        await index.record_manifest(DEBIAN, part, None, 2.0)
        await index.record_manifest(ALPINE, manifest("refs"), f"referrers:{digest('part')}", 1.0)
        assert await index.images("docker.io") == [
            Image(ALPINE, "latest", digest("list"), 4 + 4 + 30, 1.0, 1.0),
            Image(ALPINE, None, digest("moved on"), 8 + 30, 3.0, 3.0),
            Image(DEBIAN, None, digest("part"), 4 + 30, 2.0, 2.0),
        ]

    async def test_images_are_sorted_and_those_of_one_registry_can_be_had(self, index: Index) -> None:
        for source, tag in ((TOOL, "v1"), (DEBIAN, "12"), (DEBIAN, "11"), (ALPINE, "3")):
            await index.record_manifest(source, manifest("image"), tag, 1.0)
        await index.record_manifest(ALPINE, manifest("list"), f"referrers:{digest('image')}", 1.0)
        found = [f"{image.source}:{image.tag}" for image in await index.images(None)]
        docker = ["docker.io/library/alpine:3", "docker.io/library/debian:11", "docker.io/library/debian:12"]
        assert found == [*docker, "ghcr.io/acme/tool:v1"]
        assert [f"{image.source}:{image.tag}" for image in await index.images("docker.io")] == docker
        assert await index.images("quay.io") == []


class TestOutages:
    async def test_an_outage_begins_once_and_ends_once_for_all_processes(
        self, index: Index, address: str
    ) -> None:
        other = open_index(address)
        assert await index.begin_outage("quay.io", 1.0, 6.0, "refused")
        assert await index.begin_outage("docker.io", 2.0, 7.0, "timed out")
        assert not await other.begin_outage("quay.io", 3.0, 13.0, "refused again")
        assert (
            index.outages()
            == other.outages()
            == [
                Outage("docker.io", 2.0, 7.0, "timed out"),
                Outage("quay.io", 1.0, 13.0, "refused again"),
            ]
        )
        assert await other.end_outage("quay.io") == 1.0
        assert await index.end_outage("quay.io") is None
        assert [outage.registry for outage in index.outages()] == ["docker.io"]
        await other.close()


class TestRemoval:
    async def test_holdings_are_all_of_one_repository(self, index: Index) -> None:
        await index.record_manifest(ALPINE, manifest("image", blob("layer")), "latest", 1.0)
        await index.record_manifest(DEBIAN, manifest("other", blob("layer")), "latest", 1.0)
        assert index.holdings(ALPINE) == Holdings(
            {"latest": digest("image")},
            {digest("image"), digest("layer")},
            {digest("image"): {digest("layer")}},
        )
        assert index.holdings(TOOL) == Holdings({}, set(), {})

    async def test_content_that_nobody_else_holds_is_told_and_no_longer_counted(self, index: Index) -> None:
        await index.record_blob(ALPINE, blob("own", 10), 1.0)
        await index.record_blob(ALPINE, blob("shared", 20), 1.0)
        await index.record_blob(DEBIAN, blob("shared", 20), 1.0)
        await index.record_link(ALPINE, digest("absent"), 1, 1.0)
        gone = everything(index.holdings(ALPINE))
        assert set(await index.remove(ALPINE, gone)) == {digest("own"), digest("absent")}
        assert index.used_bytes() == 20

    async def test_only_what_is_named_goes(self, index: Index) -> None:
        for tag in ("old", "new"):
            await index.record_manifest(ALPINE, manifest(tag, blob("layer")), tag, 1.0)
        removal = Removal(frozenset({"old"}), frozenset({digest("old")}))
        assert await index.remove(ALPINE, removal) == [digest("old")]
        assert index.tags(ALPINE) == ["new"]
        assert index.link(ALPINE, digest("layer")) is not None

    async def test_what_is_being_filled_stays_reserved(self, index: Index) -> None:
        await index.record_link(ALPINE, digest("a"), 10, 1.0)
        await index.reserve(digest("a"), 10, 2.0)
        assert await index.remove(ALPINE, everything(index.holdings(ALPINE))) == [digest("a")]
        assert index.reserved() == {digest("a"): 10}

    async def test_each_is_seen_by_the_other_processes(self, index: Index, address: str) -> None:
        other = open_index(address)
        before = other.removals
        await index.remove(ALPINE, everything(index.holdings(ALPINE)))
        assert other.removals == before + 1
        await other.close()

    async def test_the_repositories_that_hold_a_digest_are_known(self, index: Index) -> None:
        for source in (TOOL, ALPINE):
            await index.record_blob(source, blob("a"), 1.0)
        assert index.holders(digest("a")) == [ALPINE, TOOL]
        assert index.holders(digest("b")) == []


class TestInheritance:
    async def test_a_manifest_links_its_children_and_its_tags_were_never_checked(self, index: Index) -> None:
        image = manifest("image", blob("layer", 70))
        await index.adopt([(image.digest, 5)], 3.0)
        await index.import_manifest(ALPINE, image, ["latest", "v1"], 2.0)
        assert index.tag(ALPINE, "v1") == TagRecord(image.digest, 0.0)
        assert index.link(ALPINE, image.digest) == Link(image.digest, 5, 2.0)
        assert index.link(ALPINE, digest("layer")) == Link(digest("layer"), 70, 0.0)
        assert index.content(image.digest) == Content(image.digest, 5, OCI_MANIFEST, 3.0)
        assert [image.tag for image in await index.images(None)] == ["latest", "v1"]

    async def test_what_the_upstream_told_us_stays(self, index: Index) -> None:
        await index.record_manifest(ALPINE, manifest("new", blob("layer")), "latest", 9.0)
        await index.record_link(ALPINE, digest("layer"), None, 9.0)
        await index.import_manifest(ALPINE, manifest("old", blob("layer")), ["latest"], 2.0)
        await index.import_links(ALPINE, [Link(digest("new"), 7, 3.0)])
        assert index.tag(ALPINE, "latest") == TagRecord(digest("new"), 9.0)
        assert index.link(ALPINE, digest("layer")) == Link(digest("layer"), 100, 9.0)
        assert index.link(ALPINE, digest("new")) == Link(digest("new"), 3, 9.0)

    async def test_access_times_in_the_future_are_limited(self, index: Index) -> None:
        await index.record_blob(ALPINE, blob("a", 1), 5.0)
        await index.record_blob(ALPINE, blob("b", 1), 9.0)
        await index.limit_access_times(6.0)
        assert [content.used_at for content in index.least_recently_used(2)] == [5.0, 6.0]

    async def test_rows_that_nothing_needs_are_collected(self, index: Index) -> None:
        await index.record_manifest(ALPINE, manifest("gone", blob("part")), "old", 1.0)
        await index.record_manifest(ALPINE, manifest("here", blob("child")), "latest", 1.0)
        await index.record_blob(DEBIAN, blob("layer"), 1.0)
        await index.record_link(TOOL, digest("elsewhere"), 7, 1.0)
        await index.record_link(TOOL, digest("recent"), 7, 5.0)
        await index.forget([digest("gone"), digest("layer")])
        after: int | None = 0
        while after is not None:
            after = await index.collect(5.0, after)
        assert index.tag(ALPINE, "old") is None
        assert index.link(ALPINE, digest("part")) is None
        assert index.tag(ALPINE, "latest") == TagRecord(digest("here"), 1.0)
        assert index.link(ALPINE, digest("here")) is not None
        assert index.link(ALPINE, digest("child")) is not None
        assert index.link(TOOL, digest("elsewhere")) is None
        assert index.link(TOOL, digest("recent")) is not None
        assert index.repositories(None, "", 10) == [ALPINE, TOOL]

    async def test_the_size_of_its_file_grows_with_its_rows(self, index: Index) -> None:
        before = index.file_bytes()
        await index.import_links(ALPINE, [Link(digest(f"{number}"), 1, 1.0) for number in range(1000)])
        assert index.file_bytes() > before + 1000 * 32
        await index.collect(5.0, 0)
        assert index.file_bytes() < before + 1000 * 32

    async def test_a_refusal_withdraws_what_is_old(self, index: Index) -> None:
        await index.record_manifest(ALPINE, manifest("old", blob("layer", 70)), "latest", 1.0)
        await index.record_blob(ALPINE, blob("layer", 70), 5.0)
        await index.record_blob(DEBIAN, blob("layer", 70), 1.0)
        await index.record_link(ALPINE, digest("future"), 7, 9.0)
        await index.withdraw(ALPINE, 1.0, 8.0)
        assert index.link(ALPINE, digest("future")) == Link(digest("future"), 7, 0.0)
        assert index.link(ALPINE, digest("old")) == Link(digest("old"), 3, 0.0)
        assert index.link(ALPINE, digest("layer")) == Link(digest("layer"), 70, 5.0)
        assert index.link(DEBIAN, digest("layer")) == Link(digest("layer"), 70, 1.0)
        assert index.tag(ALPINE, "latest") == TagRecord(digest("old"), 1.0)

    async def test_a_later_word_of_the_other_cache_counts(self, index: Index) -> None:
        await index.import_manifest(ALPINE, manifest("old"), ["latest"], 2.0)
        await index.import_manifest(ALPINE, manifest("new"), ["latest"], 3.0)
        await index.import_links(ALPINE, [Link(digest("old"), None, 4.0)])
        assert index.tag(ALPINE, "latest") == TagRecord(digest("new"), 0.0)
        assert index.link(ALPINE, digest("old")) == Link(digest("old"), 3, 4.0)


class TestCounts:
    async def test_add_up_from_the_first_one_on(self, index: Index) -> None:
        await index.count({("docker.io", "hit"): 2, ("ghcr.io", "served"): 2**40}, 5.0)
        await index.count({("docker.io", "hit"): 3, ("docker.io", "miss"): 1}, 6.0)
        assert index.counts() == [
            Count("docker.io", "hit", 5, 5.0),
            Count("docker.io", "miss", 1, 6.0),
            Count("ghcr.io", "served", 2**40, 5.0),
        ]


class TestLife:
    async def test_all_is_there_after_it_was_closed_and_opened(self, address: str) -> None:
        index = open_index(address)
        await index.record_manifest(ALPINE, manifest("image", blob("layer")), "latest", 1.0)
        await index.reserve(digest("layer"), 100, 1.0)
        await index.close()
        again = open_index(address)
        assert again.tag(ALPINE, "latest") == TagRecord(digest("image"), 1.0)
        assert again.link(ALPINE, digest("layer")) is not None
        assert again.used_bytes() == 105
        await again.close()

    async def test_closed_it_refuses_to_read_and_write(self, index: Index) -> None:
        await index.close()
        await index.close()
        with pytest.raises(IndexFailedError):
            index.used_bytes()
        with pytest.raises(IndexFailedError):
            await index.release(digest("a"))

    async def test_is_new_until_a_scan_of_the_store_has_ended(self, address: str) -> None:
        for _ in range(2):
            index = open_index(address)
            assert index.is_new
            await index.adopt([(digest("a"), 10)], 1.0)
            await index.close()
        index = open_index(address)
        await index.end_scan()
        await index.close()
        index = open_index(address)
        assert not index.is_new
        await index.close()

    async def test_is_new_to_one_of_several_openers(self, index: Index, address: str) -> None:
        other = open_index(address)
        assert (index.is_new, other.is_new) == (True, False)
        await other.close()
