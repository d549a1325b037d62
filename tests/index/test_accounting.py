"""Any sequence of writes leaves the index as a plain model of it."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test
from tests.index.indexes import KINDS, address_of, open_index
from tests.index.values import ALPINE, DEBIAN, TOOL, digest, manifest

from registry_proxy.oci.manifest import Descriptor
from registry_proxy.policy.removal import everything

if TYPE_CHECKING:
    from registry_proxy.oci.reference import Digest, Source

SOURCES = (ALPINE, DEBIAN, TOOL)
NAMES = ("a", "bb", "ccc")
TAGS = ("latest", "v1")

sources = st.sampled_from(SOURCES)
digests = st.sampled_from([digest(name) for name in NAMES])
names = st.sampled_from(NAMES)
tags = st.sampled_from(TAGS)
sizes = st.integers(0, 1000)
times = st.floats(0, 100)


class Accounting(RuleBasedStateMachine):
    kind: ClassVar[str]

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp())
        self.runner = asyncio.Runner()
        self.address = address_of(self.kind, self.folder)
        self.index = open_index(self.address)
        self.contents: dict[Digest, tuple[int, float]] = {}
        self.reservations: dict[Digest, int] = {}
        self.links: dict[tuple[Source, Digest], int | None] = {}
        self.tags: dict[tuple[Source, str], Digest] = {}

    def teardown(self) -> None:
        self.runner.run(self.index.close())
        self.runner.close()
        shutil.rmtree(self.folder)

    def _put(self, of: Digest, size: int, now: float) -> None:
        self.contents[of] = (size, max(now, self.contents.get(of, (0, 0.0))[1]))
        self.reservations.pop(of, None)

    @rule(source=sources, of=digests, size=sizes, now=times)
    def record_blob(self, source: Source, of: Digest, size: int, now: float) -> None:
        self.runner.run(self.index.record_blob(source, Descriptor(of, size), now))
        self._put(of, size, now)
        self.links[source, of] = size

    @rule(source=sources, name=names, child=digests, size=sizes, tag=st.none() | tags, now=times)
    def record_manifest(
        self, source: Source, name: str, child: Digest, size: int, tag: str | None, now: float
    ) -> None:
        image = manifest(name, Descriptor(child, size))
        self.runner.run(self.index.record_manifest(source, image, tag, now))
        self._put(image.digest, len(name), now)
        self.links[source, child] = size
        self.links[source, image.digest] = len(name)
        if tag:
            self.tags[source, tag] = image.digest

    @rule(source=sources, of=digests, size=st.none() | sizes)
    def record_link(self, source: Source, of: Digest, size: int | None) -> None:
        self.runner.run(self.index.record_link(source, of, size, 1.0))
        self.links[source, of] = self.links.get((source, of)) if size is None else size

    @rule(source=sources, tag=tags, of=digests)
    def refresh_tag(self, source: Source, tag: str, of: Digest) -> None:
        self.runner.run(self.index.refresh_tag(source, tag, of, 1.0))
        self.tags[source, tag] = of
        self.links.setdefault((source, of), None)

    @rule(source=sources, tag=tags)
    def drop_tag(self, source: Source, tag: str) -> None:
        self.runner.run(self.index.drop_tag(source, tag))
        self.tags.pop((source, tag), None)

    @rule(source=sources, of=digests)
    def drop_link(self, source: Source, of: Digest) -> None:
        self.runner.run(self.index.drop_link(source, of))
        self.links.pop((source, of), None)

    @rule(source=sources)
    def remove(self, source: Source) -> None:
        removal = everything(self.index.holdings(source))
        orphans = set(self.runner.run(self.index.remove(source, removal)))
        mine = {of for holder, of in self.links if holder == source}
        self.links = {key: size for key, size in self.links.items() if key[0] != source}
        self.tags = {key: of for key, of in self.tags.items() if key[0] != source}
        held = {of for _, of in self.links}
        assert orphans == mine - held
        self.contents = {of: content for of, content in self.contents.items() if of not in orphans}

    @rule(of=digests, size=sizes)
    def reserve(self, of: Digest, size: int) -> None:
        self.runner.run(self.index.reserve(of, size, 1.0))
        self.reservations[of] = size

    @rule(of=digests)
    def release(self, of: Digest) -> None:
        self.runner.run(self.index.release(of))
        self.reservations.pop(of, None)

    @rule(gone=st.sets(digests))
    def forget(self, gone: set[Digest]) -> None:
        self.runner.run(self.index.forget(gone))
        self.contents = {of: content for of, content in self.contents.items() if of not in gone}
        self.links = {key: size for key, size in self.links.items() if key[1] not in gone}

    @rule(found=st.dictionaries(digests, sizes), now=times)
    def adopt(self, found: dict[Digest, int], now: float) -> None:
        self.runner.run(self.index.adopt(found.items(), now))
        self.contents |= {of: (size, self.contents.get(of, (0, now))[1]) for of, size in found.items()}

    @rule(uses=st.dictionaries(digests, times))
    def touch(self, uses: dict[Digest, float]) -> None:
        self.runner.run(self.index.touch(uses))
        for of in uses.keys() & self.contents.keys():
            size, used = self.contents[of]
            self.contents[of] = (size, max(used, uses[of]))

    @rule()
    def restart(self) -> None:
        self.runner.run(self.index.close())
        self.index = open_index(self.address)

    @invariant()
    def counts_each_byte_once(self) -> None:
        reserved = sum(size for of, size in self.reservations.items() if of not in self.contents)
        assert self.index.used_bytes() == reserved + sum(size for size, _ in self.contents.values())
        assert self.index.reserved() == self.reservations

    @invariant()
    def knows_the_content_coldest_first(self) -> None:
        least_recently_used = self.index.least_recently_used(100)
        assert {
            content.digest: (content.size, content.used_at) for content in least_recently_used
        } == self.contents
        assert [content.used_at for content in least_recently_used] == sorted(
            used for _, used in self.contents.values()
        )

    @invariant()
    def knows_links_and_tags(self) -> None:
        links = {
            (source, link.digest): link.size
            for source in SOURCES
            for name in NAMES
            if (link := self.index.link(source, digest(name)))
        }
        assert links == self.links
        assert self.index.repositories(None, "", 10) == sorted({source for source, _ in links}, key=str)
        assert {
            (source, tag): record.digest
            for source in SOURCES
            for tag in self.index.tags(source)
            if (record := self.index.tag(source, tag))
        } == self.tags


@pytest.mark.parametrize("kind", KINDS)
def test_any_sequence_of_writes_is_accounted_for(kind: str) -> None:
    machine = type("Accounting", (Accounting,), {"kind": kind})
    run_state_machine_as_test(
        machine, settings=settings(max_examples=40, stateful_step_count=25, deadline=None)
    )
