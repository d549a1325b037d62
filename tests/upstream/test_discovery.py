"""Tag lists and referrers of upstreams that have odd ones, or none."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from tests.kit import images
from tests.kit.faults import (
    Answer,
    Body,
    Hang,
    Redirect,
    Tamper,
    too_many_requests,
)
from tests.kit.upstream import SimulatedUpstream
from tests.upstream.connecting import REPOSITORY, stored

from registry_proxy.oci.reference import Digest, referrers_tag
from registry_proxy.upstream.base import (
    TagPage,
    TagQuery,
    UpstreamBrokenError,
    UpstreamError,
    UpstreamLimitedError,
    UpstreamTimeoutError,
)

if TYPE_CHECKING:
    from tests.upstream.connecting import Connector

    from registry_proxy.upstream.upstream import RegistryUpstream


async def test_a_tag_list_that_is_none_is_broken(
    upstream: RegistryUpstream, plain: SimulatedUpstream
) -> None:
    plain.arm("tags", Body(b"<html>"))
    with pytest.raises(UpstreamBrokenError, match="not a list of tags"):
        await upstream.repository(REPOSITORY).tags(TagQuery())


async def test_a_tag_list_over_8_mib_is_refused(upstream: RegistryUpstream, plain: SimulatedUpstream) -> None:
    plain.arm("tags", Body(b" " * ((8 << 20) + 1)))
    with pytest.raises(UpstreamBrokenError, match="longer than"):
        await upstream.repository(REPOSITORY).tags(TagQuery())


ABSENT = [
    Answer(status=404),
    Answer(status=405),
    Answer(status=400),
    Answer(status=303),
    Answer(status=501),
    Redirect("/nowhere", status=303),
    Redirect("ftp://nowhere"),
    Redirect(),
    Redirect("http://10.0.0.1/login"),
    Body(b"<html>sign in</html>"),
    Body(b'{"manifests":7}'),
]


@pytest.mark.parametrize("fault", ABSENT, ids=repr)
async def test_without_a_referrers_api_the_tag_stands_for_it(
    upstream: RegistryUpstream, plain: SimulatedUpstream, image: images.Image, fault: Answer
) -> None:
    subject = Digest.parse(image.digest)
    plain.arm("referrers", fault)
    assert json.loads(await upstream.repository(REPOSITORY).referrers(subject))["manifests"] == []
    listed = images.index(images.image(seed=7))
    plain.push(REPOSITORY.name, listed, referrers_tag(subject).name)
    plain.arm("referrers", fault)
    found = json.loads(await upstream.repository(REPOSITORY).referrers(subject))["manifests"]
    assert [each["digest"] for each in found] == [each.digest for each in listed.images]


@pytest.mark.parametrize(
    ("fault", "expected"),
    [
        (Answer(status=500), UpstreamBrokenError),
        (too_many_requests(5), UpstreamLimitedError),
        (Hang(), UpstreamTimeoutError),
    ],
)
async def test_a_failing_referrers_api_is_not_a_missing_one(
    upstream: RegistryUpstream,
    plain: SimulatedUpstream,
    image: images.Image,
    fault: Answer,
    expected: type[UpstreamError],
) -> None:
    plain.arm("referrers", fault)
    with pytest.raises(expected):
        await upstream.repository(REPOSITORY).referrers(Digest.parse(image.digest))


async def test_referrers_of_all_pages_are_one_index(
    upstream: RegistryUpstream, plain: SimulatedUpstream, image: images.Image
) -> None:
    subject = Digest.parse(image.digest)
    path = f"/v2/{REPOSITORY}/referrers/{subject}"
    for number, link in enumerate((f"<{path}?p=2>", f"<{plain.url}{path}?p=3>", None)):
        headers = {"Link": f'{link}; rel="next"'} if link else {}
        plain.arm("referrers", Tamper(headers=headers), Body(b'{"manifests":[{"digest":"%d"}]}' % number))
    found = json.loads(await upstream.repository(REPOSITORY).referrers(subject))["manifests"]
    assert [each["digest"] for each in found] == ["0", "1", "2"]
    assert [each.query for each in plain.requests] == [{}, {"p": "2"}, {"p": "3"}]


@pytest.mark.parametrize("target", ["", "?", "?begin=1", "http://[", "#x", "http://elsewhere.test/v2/x"])
async def test_a_link_that_leads_nowhere_is_an_error_and_no_end(
    upstream: RegistryUpstream, plain: SimulatedUpstream, image: images.Image, target: str
) -> None:
    for kind in ("tags", "referrers"):
        plain.arm(kind, Tamper(headers={"Link": f'<{target}>; rel="next"'}), times=None)
    repository = upstream.repository(REPOSITORY)
    for each in (
        repository.tags(TagQuery((("begin", "1"),))),
        repository.referrers(Digest.parse(image.digest)),
    ):
        with pytest.raises(UpstreamBrokenError, match=r"leads to no other page|form a loop"):
            await each


async def test_pages_without_end_are_an_error(
    upstream: RegistryUpstream, plain: SimulatedUpstream, image: images.Image
) -> None:
    subject = Digest.parse(image.digest)
    plain.arm("referrers", Tamper(headers={"Link": '<?p=1>; rel="next"'}))
    plain.arm("referrers", Tamper(headers={"Link": '<?p=2>; rel="next"'}))
    plain.arm("referrers", Tamper(headers={"Link": '<?p=1>; rel="next"'}))
    with pytest.raises(UpstreamBrokenError, match="form a loop"):
        await upstream.repository(REPOSITORY).referrers(subject)
    large = b'{"manifests":[{"a":"%s"}]}' % (b"x" * (3 << 20))
    plain.arm("referrers", Tamper(headers={"Link": '<?p=1>; rel="next"'}), Body(large))
    plain.arm("referrers", Body(large))
    with pytest.raises(UpstreamBrokenError, match="longer than"):
        await upstream.repository(REPOSITORY).referrers(subject)


async def test_the_next_page_is_on_the_upstream_itself(
    upstream: RegistryUpstream, plain: SimulatedUpstream, image: images.Image
) -> None:
    """Registries behind a proxy link to names of their own, which lead nowhere from outside."""
    async with SimulatedUpstream("plain") as other:
        path = f"/v2/{REPOSITORY}/referrers/{image.digest}"
        plain.arm("referrers", Tamper(headers={"Link": f'<{other.url}{path}?p=2>; rel="next"'}))
        await upstream.repository(REPOSITORY).referrers(Digest.parse(image.digest))
        assert [each.query for each in plain.requests] == [{}, {"p": "2"}]
        assert other.requests == []


async def test_a_link_that_is_too_long_to_be_read_is_an_error(
    upstream: RegistryUpstream, plain: SimulatedUpstream
) -> None:
    plain.arm("tags", Tamper(headers={"Link": f'<?mark={"x" * 20_000}>; rel="next"'}))
    with pytest.raises(UpstreamBrokenError, match="Link header is longer"):
        await upstream.repository(REPOSITORY).tags(TagQuery())


async def test_a_link_in_a_second_header_counts(
    upstream: RegistryUpstream, plain: SimulatedUpstream, image: images.Image
) -> None:
    path = f"/v2/{REPOSITORY}/referrers/{image.digest}"
    # A dict can't have a name twice, except in two cases.
    links = {"Link": "<https://docs.test>; rel=help", "LINK": f'<{path}?p=2>; rel="next"'}
    plain.arm("referrers", Tamper(headers=links))
    await upstream.repository(REPOSITORY).referrers(Digest.parse(image.digest))
    assert [each.query for each in plain.requests] == [{}, {"p": "2"}]


async def test_the_registrys_own_mark_leads_to_the_next_page(connect: Connector, image: images.Image) -> None:
    async with SimulatedUpstream("plain", opaque_pages=True, max_page=2, absolute_links=True) as simulated:
        stored(simulated, image)
        for tag in "abcde":
            simulated.push(REPOSITORY.name, image, tag)
        query: TagQuery | None = TagQuery()
        pages = []
        while query is not None:
            page = await connect(simulated.url).repository(REPOSITORY).tags(query)
            pages.append(page.tags)
            query = page.following
        assert pages == [("a", "b"), ("c", "d"), ("e", "latest")]


async def test_the_pages_behind_a_redirect_that_drops_the_query_are_one_list(
    connect: Connector, image: images.Image
) -> None:
    async with SimulatedUpstream("k8s", opaque_pages=True, max_page=2) as simulated:
        for tag in "abcde":
            simulated.push(REPOSITORY.name, image, tag)
        repository = connect(simulated.url).repository(REPOSITORY)
        assert await repository.tags(TagQuery()) == TagPage(tuple("abcde"))
        page = await repository.tags(TagQuery((("n", "3"),)))
        assert page.tags == ("a", "b", "c")
        assert page.following is not None
        assert await repository.tags(page.following) == TagPage(("d", "e"))


async def test_a_page_that_fails_fails_the_whole(
    upstream: RegistryUpstream, plain: SimulatedUpstream, image: images.Image
) -> None:
    subject = Digest.parse(image.digest)
    link = Tamper(headers={"Link": f'</v2/{REPOSITORY}/referrers/{subject}?p=2>; rel="next"'})
    plain.arm("referrers", link)
    plain.arm("referrers", Answer(status=404))
    with pytest.raises(UpstreamBrokenError, match="returned 404"):
        await upstream.repository(REPOSITORY).referrers(subject)


async def test_a_tag_that_holds_no_list_is_an_error(
    upstream: RegistryUpstream, plain: SimulatedUpstream, image: images.Image
) -> None:
    subject = Digest.parse(image.digest)
    plain.arm("referrers", Answer(status=404), times=None)
    plain.push(REPOSITORY.name, image, referrers_tag(subject).name)
    with pytest.raises(UpstreamBrokenError, match=f"by tag {referrers_tag(subject)}"):
        await upstream.repository(REPOSITORY).referrers(subject)
