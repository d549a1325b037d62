"""Tag pages and referrers as upstreams send them."""

from __future__ import annotations

import json
import time

import pytest

from registry_proxy.upstream.base import TagPage, TagQuery, cut_page
from registry_proxy.upstream.listings import (
    InvalidListingError,
    next_link,
    parse_referrers,
    parse_tags,
    referrers_index,
)


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ('</v2/a/tags/list?n=2&last=b>; rel="next"', "/v2/a/tags/list?n=2&last=b"),
        ("<https://h/v2/a/tags/list>;rel=next", "https://h/v2/a/tags/list"),
        ('<a>; title="x; y"; rel="next"', "a"),
        ('<first>; rel="first", <second>; rel="next"', "second"),
        ('<a>; REL="NEXT"', "a"),
        ('<a>; rel="prev"', None),
        ('<a>; rel="prev next"', "a"),
        ('<a>; rel="nextpage", <b>; rel=nextpage', None),
        ("<a>; title*=UTF-8''x%2Cy; rel = next ; x", "a"),
        ('<a>; title="a, <b>; rel=next"; rel=prev', None),
        ('<a>; anchor; rel="first" , <b>;rel="next"', "b"),
        ("</v2/a>", None),
        ("", None),
        ("garbage", None),
    ],
)
def test_the_next_page_is_where_the_link_says(header: str, expected: str | None) -> None:
    assert next_link(header) == expected


@pytest.mark.parametrize("piece", ["; a=b", " ", ";", "; a", "<", "<a>", "<a>;", '; a="', "; a = "])
def test_a_hostile_link_is_read_in_linear_time(piece: str) -> None:
    begun = time.process_time()
    assert next_link("<a>; x" + piece * 100_000 + "!") is None
    assert time.process_time() - begun < 5  # it takes 0.05 s; quadratic time would be minutes


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        (b'{"name":"a","tags":["1","2"]}', ("1", "2")),
        (b'{"name":"a","tags":null}', ()),
        (b'{"name":"a"}', ()),
        (b'{"tags":["ok","not a tag","-x","","../x"]}', ("ok",)),
    ],
)
def test_a_tag_page_holds_tags_by_the_grammar(raw: bytes, expected: tuple[str, ...]) -> None:
    assert parse_tags(raw) == expected


@pytest.mark.parametrize(
    "raw", [b"", b"[]", b"<html>", b'{"tags":"1"}', b'{"tags":[1]}', b'{"tags":["\xff"]}']
)
def test_what_is_no_tag_page_is_refused(raw: bytes) -> None:
    with pytest.raises(InvalidListingError):
        parse_tags(raw)


def query(**fields: str) -> TagQuery:
    return TagQuery(tuple(fields.items()))


NEXT = query(mark="x")


@pytest.mark.parametrize(
    ("tags", "asked", "following", "expected"),
    [
        (("a", "b"), query(), None, TagPage(("a", "b"))),
        (("a", "b"), query(n="2"), NEXT, TagPage(("a", "b"), NEXT)),
        (("a", "b", "c"), query(n="2"), None, TagPage(("a", "b"), query(n="2", last="b"))),
        (("a", "b", "c"), query(n="2"), NEXT, TagPage(("a", "b"), query(n="2", last="b"))),
        (("a", "b", "c"), query(n="2", last="a"), None, TagPage(("b", "c"))),
        (("a", "b", "c"), query(last="a", n="2"), NEXT, TagPage(("b", "c"), NEXT)),
        (("b", "c"), query(last="a"), None, TagPage(("b", "c"))),
        (("a", "b"), query(n="0"), NEXT, TagPage(())),
        ((), query(n="5", last="z"), None, TagPage(())),
        ((), query(n="5"), NEXT, TagPage((), NEXT)),
        (("a", "b"), query(n="x", mark="y"), None, TagPage(("a", "b"))),
    ],
)
def test_a_page_is_cut_where_the_upstream_sent_more_than_was_asked_for(
    tags: tuple[str, ...], asked: TagQuery, following: TagQuery | None, expected: TagPage
) -> None:
    assert cut_page(tags, asked, following) == expected


def test_referrers_keep_their_descriptors_as_they_are() -> None:
    raw = b'{"schemaVersion":2,"manifests":[{"digest":"a","x": 1.0e2},{"digest":"b"}]}'
    assert parse_referrers(raw) == [b'{"digest":"a","x": 1.0e2}', b'{"digest":"b"}']


@pytest.mark.parametrize("raw", [b"", b"{}", b"<html>", b'{"manifests":{}}', b'{"manifests":null}', b"[]"])
def test_what_is_no_index_is_refused(raw: bytes) -> None:
    with pytest.raises(InvalidListingError):
        parse_referrers(raw)


def test_an_index_of_referrers_is_an_oci_index() -> None:
    document = json.loads(referrers_index([b'{"digest":"a"}', b'{"digest":"b"}']))
    assert document["mediaType"] == "application/vnd.oci.image.index.v1+json"
    assert document["schemaVersion"] == 2
    assert [each["digest"] for each in document["manifests"]] == ["a", "b"]
    assert json.loads(referrers_index([]))["manifests"] == []
