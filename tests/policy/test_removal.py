from __future__ import annotations

import pytest

from registry_proxy.oci.reference import Digest, Reference, Tag
from registry_proxy.policy.removal import Holdings, Removal, everything, select_removal


def digest(name: str) -> Digest:
    return Digest.of(name.encode())


def holdings(names: dict[str, str], **children: str) -> Holdings:
    """A repository that holds all that is named; `children` are each manifest's, separated by spaces."""
    parts = {digest(of): {digest(name) for name in names.split()} for of, names in children.items()}
    held = {*parts, *(part for each in parts.values() for part in each), *map(digest, names.values())}
    return Holdings({name: digest(of) for name, of in names.items()}, held, parts)


TWO_TAGS = holdings({"3": "image", "latest": "image"}, image="config layer")
TWO_IMAGES = holdings({"old": "one", "new": "two"}, one="config base first", two="setup base second")
INDEX = holdings({"latest": "list", "amd": "amd"}, list="amd arm", amd="base amdlayer", arm="base armlayer")
SIGNED = holdings(
    {"latest": "image", f"referrers:{digest('image')}": "refs"}, image="layer", refs="signature"
)


@pytest.mark.parametrize(
    ("held", "references", "names", "digests"),
    [
        (TWO_TAGS, ["3"], {"3"}, ""),
        (TWO_TAGS, ["3", "latest"], {"3", "latest"}, "image config layer"),
        (TWO_TAGS, ["3", "3"], {"3"}, ""),
        (TWO_TAGS, [digest("image")], {"3", "latest"}, "image config layer"),
        (TWO_TAGS, [digest("image"), digest("image")], {"3", "latest"}, "image config layer"),
        (TWO_TAGS, [digest("layer")], set(), "layer"),
        (TWO_IMAGES, ["old"], {"old"}, "one config first"),
        (TWO_IMAGES, ["old", "new"], {"old", "new"}, "one two config setup base first second"),
        (INDEX, ["latest"], {"latest"}, "list arm armlayer"),
        (INDEX, ["amd"], {"amd"}, ""),
        (INDEX, [digest("amd")], {"amd"}, "amd amdlayer"),
        (INDEX, ["amd", "latest"], {"amd", "latest"}, "list amd arm base amdlayer armlayer"),
        (SIGNED, ["latest"], set(SIGNED.names), "image layer refs signature"),
    ],
)
def test_what_nothing_else_needs_goes_along(
    held: Holdings, references: list[str | Digest], names: set[str], digests: str
) -> None:
    asked = [Tag(each) if isinstance(each, str) else each for each in references]
    assert select_removal(held, asked) == Removal(
        frozenset(names), frozenset(digest(name) for name in digests.split())
    )


@pytest.mark.parametrize("reference", [Tag("4"), digest("else")])
def test_what_is_not_there_is_told(reference: Reference) -> None:
    assert select_removal(TWO_TAGS, [reference]) == Removal(frozenset(), frozenset(), (reference,))


def test_a_tag_whose_manifest_was_evicted_goes_alone() -> None:
    held = Holdings({"latest": digest("image")}, {digest("layer")}, {})
    assert select_removal(held, [Tag("latest")]) == Removal(frozenset({"latest"}), frozenset())


def test_a_manifest_that_the_repository_lost_needs_nothing() -> None:
    held = Holdings({"old": digest("old")}, {digest("old")}, {digest("lost"): {digest("old")}})
    assert select_removal(held, [Tag("old")]).digests == {digest("old")}


def test_everything_is_all_names_and_links() -> None:
    assert everything(INDEX) == Removal(frozenset(INDEX.names), frozenset(INDEX.links))
