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
from tests.upstream.connecting import REPOSITORY

from registry_proxy.oci.reference import Digest, referrers_tag
from registry_proxy.upstream.base import (
    UpstreamBrokenError,
    UpstreamError,
    UpstreamLimitedError,
    UpstreamTimeoutError,
)

if TYPE_CHECKING:
    from registry_proxy.upstream.upstream import RegistryUpstream


async def test_a_tag_list_that_is_none_is_broken(
    upstream: RegistryUpstream, plain: SimulatedUpstream
) -> None:
    plain.arm("tags", Body(b"<html>"))
    with pytest.raises(UpstreamBrokenError, match="not a list of tags"):
        await upstream.repository(REPOSITORY).tags(None, None)


async def test_a_tag_list_over_8_mib_is_refused(upstream: RegistryUpstream, plain: SimulatedUpstream) -> None:
    plain.arm("tags", Body(b" " * ((8 << 20) + 1)))
    with pytest.raises(UpstreamBrokenError, match="longer than"):
        await upstream.repository(REPOSITORY).tags(None, None)


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


async def test_pages_of_referrers_have_an_end(
    upstream: RegistryUpstream, plain: SimulatedUpstream, image: images.Image
) -> None:
    subject = Digest.parse(image.digest)
    path = f"/v2/{REPOSITORY}/referrers/{subject}"
    plain.arm("referrers", Tamper(headers={"Link": f'<{path}?p=1>; rel="next"'}), times=None)
    await upstream.repository(REPOSITORY).referrers(subject)
    assert plain.count(kind="referrers") == 20


async def test_the_next_page_is_on_the_upstream_itself(
    upstream: RegistryUpstream, plain: SimulatedUpstream, image: images.Image
) -> None:
    async with SimulatedUpstream("plain") as other:
        link = Tamper(headers={"Link": f'<{other.url}/v2/page2>; rel="next"'})
        plain.arm("referrers", link)
        await upstream.repository(REPOSITORY).referrers(Digest.parse(image.digest))
        assert other.requests == []


async def test_a_page_that_fails_fails_the_whole(
    upstream: RegistryUpstream, plain: SimulatedUpstream, image: images.Image
) -> None:
    subject = Digest.parse(image.digest)
    link = Tamper(headers={"Link": f'</v2/{REPOSITORY}/referrers/{subject}?p=2>; rel="next"'})
    plain.arm("referrers", link)
    plain.arm("referrers", Answer(status=404))
    with pytest.raises(UpstreamBrokenError):
        await upstream.repository(REPOSITORY).referrers(subject)
