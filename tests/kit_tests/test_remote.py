"""Upstreams in a process of their own do what those in the test's process do."""

from __future__ import annotations

import subprocess
import threading
import urllib.error
import urllib.request
from typing import TYPE_CHECKING

import pytest
from tests.kit import images
from tests.kit.certificates import Authority
from tests.kit.faults import Answer, Tamper
from tests.kit.processes import ROOT, python
from tests.kit.profiles import FIVE
from tests.kit.remote import RefusedError, Simulators

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

from tests.kit.remote import RemoteUpstream

IMAGE = images.image(layers=1, layer_size=300_000)
LAYER = IMAGE.layers[0]
MANIFEST = "/v2/acme/app/manifests/latest"
BLOB = f"/v2/acme/app/blobs/{LAYER.digest}"


@pytest.fixture
def upstream(tmp_path: Path) -> Iterator[RemoteUpstream]:
    with Simulators(["plain"], tmp_path) as upstreams:
        upstreams["plain"].push("acme/app", IMAGE, "latest")
        yield upstreams["plain"]


def _get(url: str) -> bytes:
    with urllib.request.urlopen(url, timeout=10) as answer:
        body: bytes = answer.read()
        return body


def test_pushed_content_is_served_and_logged(upstream: RemoteUpstream) -> None:
    assert _get(upstream.url + MANIFEST) == IMAGE.raw
    assert _get(upstream.url + BLOB) == LAYER.raw
    assert (upstream.count(), upstream.count("GET", "manifest"), upstream.transfers(LAYER.digest)) == (
        2,
        1,
        1,
    )
    assert upstream.requests[1].sent == LAYER.size


def test_armed_fault_strikes_once(upstream: RemoteUpstream) -> None:
    upstream.arm("manifest", Answer(status=503, code="UNAVAILABLE"), method="GET")
    with pytest.raises(urllib.error.HTTPError, match="503") as caught:
        _get(upstream.url + MANIFEST)
    caught.value.close()
    assert _get(upstream.url + MANIFEST) == IMAGE.raw


def test_gate_orders_events(upstream: RemoteUpstream) -> None:
    received: list[bytes] = []
    upstream.arm("blob", Tamper(headers={"X-Fault": "too"}))  # a gate leaves armed faults to the request
    puller = threading.Thread(target=lambda: received.append(_get(upstream.url + BLOB)))
    with upstream.gate("blob", after=100_000) as gate:
        puller.start()
        gate.wait_reached()
        upstream.wait("GET", "blob", sent=100_000)
        assert [each.sent for each in upstream.requests] == [100_000]
    puller.join()
    assert received == [LAYER.raw]


def test_waiting_in_vain_is_an_error_with_the_log(upstream: RemoteUpstream) -> None:
    _get(upstream.url + MANIFEST)
    with pytest.raises(RefusedError, match="GET /v2/acme/app/manifests/latest"):
        upstream.wait("GET", "blob", seconds=0.01)


def test_stop_and_start_keep_the_address(upstream: RemoteUpstream) -> None:
    upstream.stop()
    with pytest.raises(urllib.error.URLError, match="refused"):
        _get(upstream.url + MANIFEST)
    upstream.start()
    assert _get(upstream.url + MANIFEST) == IMAGE.raw


def test_private_repository(upstream: RemoteUpstream) -> None:
    upstream.admit("ann", "secret", only_to="acme/app")
    with pytest.raises(urllib.error.HTTPError, match="404") as caught:
        _get(upstream.url + MANIFEST)
    caught.value.close()


def test_clear_forgets_faults_and_log(upstream: RemoteUpstream) -> None:
    upstream.arm("manifest", Answer(status=500), times=None)
    upstream.set_pace(1e9)
    upstream.kill_tokens()
    upstream.clear()
    assert _get(upstream.url + MANIFEST) == IMAGE.raw
    assert upstream.count() == 1


def test_several_upstreams_over_tls(tmp_path: Path) -> None:
    authority = Authority.create()
    with Simulators(["plain", "k8s"], tmp_path, authority=authority) as upstreams:
        for name in ("plain", "k8s"):
            upstreams[name].push("acme/app", IMAGE, "latest")
            url = upstreams[name].url + MANIFEST
            with urllib.request.urlopen(url, context=authority.client_context()) as answer:
                assert answer.read() == IMAGE.raw


def test_program_serves_all_five_and_ends_with_its_input(tmp_path: Path) -> None:
    command = python("-m", "tests.kit.serve", "--all", "--control", str(tmp_path / "control"))
    with subprocess.Popen(
        command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as program:
        assert program.stdout is not None
        assert program.stdin is not None
        lines = dict(program.stdout.readline().split(": ") for _ in FIVE)
        assert list(lines) == [each.name for each in FIVE]
        assert all(url.startswith("http://127.0.0.1:") for url in lines.values())
        program.stdin.close()
        assert program.wait(10) == 0
