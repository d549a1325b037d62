"""Tags, referrers and the catalog."""

from __future__ import annotations

import dataclasses
import json

import pytest
from tests.cache.harness import HASTY, REPOSITORY, Site, Worker, together
from tests.kit import images
from tests.kit.faults import Answer, Body, Hang

from registry_proxy.cache.results import Outcome
from registry_proxy.oci.errors import ErrorCode, RegistryError
from registry_proxy.oci.reference import Digest, Repository, Source
from registry_proxy.upstream.base import TagQuery

IMAGE = images.image()
SIGNATURE = images.artifact("application/vnd.example.signature", b"signed", subject=IMAGE.manifest)
STATEMENT = images.attestation(IMAGE.manifest)
TAGS = ("1.0", "1.1", "2.0", "latest")


@pytest.fixture(autouse=True)
async def pushed(site: Site) -> None:
    site.simulated.push(REPOSITORY, IMAGE, *TAGS)
    site.upstream = site.client(site.simulated, timeouts=HASTY)


async def tags(
    worker: Worker, n: int | None = None, last: str | None = None, *, may_be_stale: bool = False
) -> tuple[tuple[str, ...], bool, Outcome]:
    fields = {"n": n, "last": last}
    page, outcome = await worker.cache.tags.get(
        worker.site.upstream.repository(Repository(REPOSITORY)),
        TagQuery(tuple((name, str(value)) for name, value in fields.items() if value is not None)),
        may_be_stale=may_be_stale,
    )
    return page.tags, page.following is not None, outcome


async def referrers(worker: Worker, kind: str | None = None) -> tuple[list[str], Outcome]:
    raw, outcome = await worker.cache.referrers.get(
        worker.site.upstream.repository(Repository(REPOSITORY)), Digest.parse(IMAGE.digest), kind
    )
    return sorted(entry["digest"] for entry in json.loads(raw)["manifests"]), outcome


class TestTags:
    async def test_the_list_is_the_upstreams(self, site: Site) -> None:
        async with site.worker() as worker:
            assert await tags(worker) == (TAGS, False, Outcome.UPSTREAM)
            site.simulated.push(REPOSITORY, IMAGE, "3.0")
            assert "3.0" in (await tags(worker))[0]

    async def test_pages(self, site: Site) -> None:
        async with site.worker() as worker:
            assert await tags(worker, 2) == (TAGS[:2], True, Outcome.UPSTREAM)
            assert await tags(worker, 2, "1.1") == (TAGS[2:], False, Outcome.UPSTREAM)
            assert await tags(worker, 2, "latest") == ((), False, Outcome.UPSTREAM)
            assert await tags(worker, 0) == ((), False, Outcome.UPSTREAM)

    async def test_many_who_ask_cause_one_request(self, site: Site) -> None:
        async with site.worker() as worker:
            await together(*(tags(worker) for _ in range(10)))
        assert site.simulated.count(kind="tags") == 1

    @pytest.mark.parametrize("fault", [Answer(status=503), Hang(), Body(b"nonsense"), Answer(status=429)])
    async def test_in_an_outage_a_list_is_an_error_and_not_short(
        self, site: Site, fault: Answer | Hang | Body
    ) -> None:
        async with site.worker() as worker:
            await worker.manifest("1.0")
            site.simulated.arm("tags", fault, times=None)
            for _ in range(2):
                with pytest.raises(RegistryError, match="not the whole list") as caught:
                    await tags(worker)
                assert caught.value.code in {
                    ErrorCode.UPSTREAM_BROKEN,
                    ErrorCode.UPSTREAM_TIMEOUT,
                    ErrorCode.TOOMANYREQUESTS,
                }

    @pytest.mark.parametrize("fault", [Answer(status=503), Hang(), Body(b"nonsense"), Answer(status=429)])
    async def test_in_an_outage_the_cached_tags_are_listed_for_those_who_accept_them(
        self, site: Site, fault: Answer | Hang | Body
    ) -> None:
        async with site.worker() as worker:
            for tag in ("1.0", "2.0", "latest"):
                await worker.manifest(tag)
            site.simulated.arm("tags", fault, times=None)
            for limit, last, expected in (
                (None, None, (("1.0", "2.0", "latest"), False)),
                (1, None, (("1.0",), True)),
                (1, "1.1", (("2.0",), True)),
                (5, "2.0", (("latest",), False)),
                (0, None, ((), False)),
            ):
                listed = await tags(worker, limit, last, may_be_stale=True)
                assert listed == (*expected, Outcome.STALE)

    async def test_of_those_who_accept_cached_tags_only_the_first_waits_for_a_dead_registry(
        self, site: Site
    ) -> None:
        async with site.worker() as worker:
            await worker.manifest("latest")
            site.simulated.arm("tags", Hang(), times=None)
            for _ in range(3):
                assert await tags(worker, may_be_stale=True) == (("latest",), False, Outcome.STALE)
            assert site.simulated.count(kind="tags") == 1

    @pytest.mark.parametrize(
        ("status", "code"),
        [(404, ErrorCode.NAME_UNKNOWN), (401, ErrorCode.UNAUTHORIZED), (403, ErrorCode.DENIED)],
    )
    async def test_a_refusal_is_told_whatever_is_cached(
        self, site: Site, status: int, code: ErrorCode
    ) -> None:
        async with site.worker() as worker:
            await worker.manifest("latest")
            site.simulated.arm("tags", Answer(status=status))
            with pytest.raises(RegistryError) as caught:
                await tags(worker, may_be_stale=True)
            assert caught.value.code is code

    async def test_an_outage_without_cached_tags_is_an_error(self, site: Site) -> None:
        site.simulated.arm("tags", Answer(status=503))
        async with site.worker() as worker:
            with pytest.raises(RegistryError) as caught:
                await tags(worker, may_be_stale=True)
            assert caught.value.code is ErrorCode.UPSTREAM_BROKEN


class TestReferrers:
    @pytest.fixture(params=["api", "fallback tag"])
    async def referred(self, site: Site, request: pytest.FixtureRequest) -> None:
        """Two artifacts refer to the image, by the API or by the tag that replaces it."""
        if request.param == "fallback tag":
            simulated = await site.simulate(referrers="not-found")
            simulated.push(REPOSITORY, IMAGE, "latest")
            site.simulated, site.upstream = simulated, site.client(simulated, timeouts=HASTY)
        for artifact in (SIGNATURE, STATEMENT):
            site.simulated.push(REPOSITORY, artifact)
        if request.param == "fallback tag":
            repository = site.simulated.contents.repository(REPOSITORY)
            index = images.Content.of(images.OCI_INDEX, repository.referrers(IMAGE.digest))
            repository.manifests[index.digest] = index
            repository.tags[IMAGE.digest.replace(":", "-")] = index.digest

    @pytest.mark.usefixtures("referred")
    async def test_all_are_listed(self, site: Site) -> None:
        async with site.worker() as worker:
            assert await referrers(worker) == (sorted([SIGNATURE.digest, STATEMENT.digest]), Outcome.MISS)
            assert (await referrers(worker))[1] is Outcome.HIT
            assert (await referrers(worker, images.IN_TOTO))[0] == [STATEMENT.digest]
            assert (await referrers(worker, "application/vnd.other"))[0] == []

    async def test_many_on_many_pages_are_all_listed(self, site: Site) -> None:
        simulated = await site.simulate(max_page=100)
        simulated.push(REPOSITORY, IMAGE, "latest")
        many = [
            images.artifact("application/vnd.example", b"%d" % n, subject=IMAGE.manifest) for n in range(2501)
        ]
        for artifact in many:
            simulated.push(REPOSITORY, artifact)
        site.upstream = site.client(simulated)
        async with site.worker() as worker:
            assert (await referrers(worker))[0] == sorted(each.digest for each in many)
            assert (await referrers(worker, "application/vnd.example"))[0] == sorted(
                each.digest for each in many
            )

    @pytest.mark.usefixtures("referred")
    async def test_those_listed_can_be_pulled(self, site: Site) -> None:
        async with site.worker() as worker:
            for digest in (await referrers(worker))[0]:
                await worker.manifest(digest)
            assert await worker.pull(STATEMENT.layers[0].digest) == STATEMENT.layers[0].raw

    async def test_a_question_about_nothing_is_not_remembered(self, site: Site) -> None:
        async with site.worker() as worker:
            source = Repository("library/nothing")
            raw, outcome = await worker.cache.referrers.get(
                site.upstream.repository(source), Digest.parse(IMAGE.digest), None
            )
            assert (outcome, json.loads(raw)["manifests"]) == (Outcome.UPSTREAM, [])
            assert worker.cache.catalog.get(None, 10, "") == ([], False)

    async def test_a_new_one_shows_after_the_ttl(self, site: Site) -> None:
        async with site.worker() as worker:
            await worker.manifest("latest")
            assert (await referrers(worker))[0] == []
            site.simulated.push(REPOSITORY, SIGNATURE)
            assert (await referrers(worker))[0] == []
            site.now.advance(site.rules.tag_ttl)
            assert (await referrers(worker))[0] == [SIGNATURE.digest]

    @pytest.mark.usefixtures("referred")
    @pytest.mark.parametrize("fault", [Answer(status=503), Hang(), Answer(status=429)])
    async def test_they_outlive_an_outage(self, site: Site, fault: Answer | Hang) -> None:
        async with site.worker() as worker:
            listed, _ = await referrers(worker)
            site.now.advance(site.rules.tag_ttl)
            for kind in ("referrers", "manifest"):
                site.simulated.arm(kind, fault, times=None)
            assert await referrers(worker) == (listed, Outcome.STALE)

    @pytest.mark.usefixtures("referred")
    async def test_their_list_is_no_tag(self, site: Site) -> None:
        async with site.worker() as worker:
            await worker.manifest("latest")
            await referrers(worker)
            source = Source(site.upstream.registry, Repository(REPOSITORY))
            assert worker.index.tags(source) == ["latest"]

    async def test_withdrawn_access_withdraws_them(self, site: Site) -> None:
        async with site.worker() as worker:
            await referrers(worker)
            site.now.advance(site.rules.access_ttl + 1)
            for kind in ("referrers", "manifest"):
                site.simulated.arm(kind, Answer(status=401), times=None)
            with pytest.raises(RegistryError) as caught:
                await referrers(worker)
            assert caught.value.code is ErrorCode.UNAUTHORIZED

    async def test_what_was_deleted_is_dropped(self, site: Site) -> None:
        rules = dataclasses.replace(site.rules, keep_deleted=False)
        site.simulated.push(REPOSITORY, SIGNATURE)
        async with site.worker(rules=rules) as worker:
            assert (await referrers(worker))[0] == [SIGNATURE.digest]
            del site.simulated.contents.repositories[REPOSITORY].manifests[SIGNATURE.digest]
            site.now.advance(site.rules.tag_ttl)
            assert (await referrers(worker))[0] == []


class TestCatalog:
    async def test_pages_of_what_is_cached(self, site: Site) -> None:
        names = ["acme/a", "acme/b", "library/alpine"]
        elsewhere = await site.simulate()
        other = site.client(elsewhere, "elsewhere.test")
        for name in names:
            site.simulated.push(name, IMAGE, "latest")
        elsewhere.push("acme/z", IMAGE, "latest")
        async with site.worker() as worker:
            for name in names:
                await worker.manifest("latest", name)
            await worker.manifest("latest", "acme/z", upstream=other)
            catalog = worker.cache.catalog
            everything = ["elsewhere.test/acme/z", *(f"registry.test/{name}" for name in names)]

            def page(registry: str | None, limit: int, last: str) -> tuple[list[str], bool]:
                found, more = catalog.get(registry, limit, last)
                return [str(source) for source in found], more

            assert page(None, 100, "") == (everything, False)
            assert page(None, 2, "") == (everything[:2], True)
            assert page(None, 2, everything[1]) == (everything[2:], False)
            assert page("elsewhere.test", 100, "") == (everything[:1], False)
            assert page("registry.test", 100, "registry.test/acme/a") == (everything[2:], False)
            assert page("registry.test", 0, "") == ([], True)

    async def test_it_is_empty_at_first(self, site: Site) -> None:
        async with site.worker() as worker:
            assert worker.cache.catalog.get(None, 100, "") == ([], False)
            with pytest.raises(RegistryError):
                await worker.manifest("missing")
            assert worker.cache.catalog.get(None, 100, "") == ([], False)
