"""Documents that a hostile registry sends: errors of the upstream, and no pause for other clients."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from tests.cache.harness import REPOSITORY, Site
from tests.kit.faults import Answer, Body, Tamper
from tests.kit.pauses import measured_pauses
from tests.server.conftest import IMAGE
from tests.server.harness import serving

if TYPE_CHECKING:
    from tests.kit.faults import Fault
    from tests.kit.wire import Kind
    from tests.server.harness import Edge

MIB = 1024 * 1024
DIGEST = "sha256:" + "a" * 64
MANIFEST = f"/v2/{REPOSITORY}/manifests/latest"
TAGS = f"/v2/{REPOSITORY}/tags/list"
REFERRERS = f"/v2/{REPOSITORY}/referrers/{IMAGE.digest}?artifactType=a"
# In seconds of processor time. Measured: 0.03; without limits and threads these documents take up to 4.
PAUSE = 0.3


def filled(before: str, piece: str, after: str, size: int) -> bytes:
    """A document of almost `size` bytes that repeats a piece."""
    return (before + piece * ((size - len(before) - len(after)) // len(piece)) + after).encode()


def nested(before: str) -> bytes:
    return filled(before, "[", "", MIB)


HOSTILE = [
    ("manifest", MANIFEST, nested('{"schemaVersion":2,"a":')),
    ("manifest", MANIFEST, filled('{"schemaVersion":2,"layers":[', '{"digest":""},', "{}]}", 4 * MIB)),
    ("tags", TAGS, nested('{"a":')),
    ("tags", TAGS, filled('{"tags":[', '"",', '""]}', 8 * MIB)),
    ("tags", TAGS, filled('{"tags":[', '"a",', '""]}', 8 * MIB)),
]


@pytest.mark.parametrize(("kind", "target", "raw"), HOSTILE, ids=lambda value: str(value)[:40])
async def test_hostile_documents_are_errors_of_the_upstream(
    edge: Edge, kind: Kind, target: str, raw: bytes
) -> None:
    edge.site.simulated.arm(kind, Body(raw), times=None)
    async with measured_pauses() as pauses:
        response = await edge.get(target)
    assert response.status == 502
    [error] = json.loads(response.body)["errors"]
    assert error["code"] == "UPSTREAM_BROKEN"
    assert pauses.busy < PAUSE, str(pauses)


@pytest.mark.parametrize(
    "raw",
    [
        nested('{"a":'),
        filled('{"manifests":[', "{},", "{}]}", 4 * MIB),
        b'{"manifests":[5]}',
        b'{"manifests":[{"digest":"a"}]}',
    ],
    ids=["nested", "many", "no objects", "no digests"],
)
async def test_hostile_lists_of_referrers_are_no_defect(edge: Edge, raw: bytes) -> None:
    edge.site.simulated.arm("referrers", Body(raw), times=None)
    async with measured_pauses() as pauses:
        response = await edge.get(REFERRERS)
    # What is no list shows that the registry has no such API.
    assert response.status in {200, 502}
    assert pauses.busy < PAUSE, str(pauses)


@pytest.mark.parametrize(
    ("document", "status"), [(nested('{"a":'), 502), (b'{"token":"a","expires_in":1%s}' % (b"0" * 400), 200)]
)
async def test_hostile_responses_of_a_token_service_are_no_defect(
    site: Site, document: bytes, status: int
) -> None:
    simulated = site.simulated
    simulated.push(REPOSITORY, IMAGE, "latest")
    async with site.worker() as worker, serving(site, worker) as edge:
        simulated.arm("manifest", _challenge(f'Bearer realm="{simulated.url}/token"'), times=1)
        simulated.arm("token", Answer(status=200, body=document), times=None)
        assert (await edge.get(MANIFEST)).status == status


@pytest.mark.parametrize(
    "header", ["a " * 30_000, 'Bearer realm="http://' + "\xe4." * 15_000 + '"', "Bearer realm=a," * 4_000]
)
async def test_hostile_challenges_take_no_time(edge: Edge, header: str) -> None:
    edge.site.simulated.arm("manifest", _challenge(header), times=None)
    async with measured_pauses() as pauses:
        response = await edge.get(MANIFEST)
    assert response.status == 401
    assert pauses.busy < PAUSE, str(pauses)


def _challenge(header: str) -> Fault:
    return Answer(status=401, headers={"WWW-Authenticate": header})


@pytest.mark.parametrize("link", ['<a>;a="b"' * 3_000, "<" * 50_000, "<>;" * 20_000])
async def test_hostile_links_take_no_time(edge: Edge, link: str) -> None:
    edge.site.simulated.arm("tags", Tamper(headers={"Link": link}), times=None)
    async with measured_pauses() as pauses:
        await edge.get(TAGS)
    assert pauses.busy < PAUSE, str(pauses)


async def test_a_large_manifest_is_served_without_a_pause(edge: Edge) -> None:
    raw = (
        filled('{"schemaVersion":2,"layers":[', f'{{"digest":"{DIGEST}","size":1}},', "", 4 * MIB)[:-1]
        + b"]}"
    )
    edge.site.simulated.arm("manifest", Body(raw), Tamper(remove=("Docker-Content-Digest",)), times=None)
    async with measured_pauses() as pauses:
        response = await edge.get(MANIFEST)
    assert response.status == 200
    assert response.body == raw
    assert pauses.busy < PAUSE, str(pauses)
