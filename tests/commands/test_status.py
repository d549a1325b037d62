from __future__ import annotations

import signal
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pexpect
from tests.commands.server import PROGRAM, outage
from tests.kit import images

if TYPE_CHECKING:
    from tests.commands.server import Site
    from tests.kit.remote import RemoteUpstream

ZEROS = dict.fromkeys(("hit", "stale", "revalidated", "miss", "joined", "passed", "asked"), 0)


def of_hub(status: Any) -> Any:
    [found] = [each for each in status["registries"] if each["registry"] == "docker.io"]
    return found


def test_what_is_kept_and_what_was_saved_is_told(site: Site, hub: RemoteUpstream) -> None:
    pushed = images.image(layers=1, layer_size=100_000)
    [layer] = pushed.layers
    hub.push("library/alpine", pushed, "latest")
    with site.serving() as server:
        for _ in range(3):
            server.get("library/alpine/manifests/latest")
        server.blob(layer)
        server.get(f"library/alpine/blobs/{layer.digest}", Range="bytes=0-99")
        server.get(f"library/alpine/blobs/{layer.digest}", method="HEAD")
    told = of_hub(site.json("status"))
    assert (told["repositories"], told["tags"]) == (1, 1)
    assert told["bytes"] == pushed.manifest.size + layer.size
    assert told["answers"] == ZEROS | {"miss": 2, "hit": 4}
    assert told["bytes_served"] == 3 * pushed.manifest.size + layer.size + 100
    sent_by_hub = sum(request.sent for request in hub.requests)
    assert told["bytes_fetched"] == sent_by_hub
    assert told["bytes_saved"] == told["bytes_served"] - sent_by_hub


def test_hits_from_memory_and_of_other_methods_count_as_what_they_are(
    site: Site, hub: RemoteUpstream
) -> None:
    pushed = images.image()
    hub.push("library/alpine", pushed, "latest")
    with site.serving() as server:
        server.get("library/alpine/manifests/latest")
        before = 5
        for _ in range(before):
            server.get("library/alpine/manifests/latest", method="HEAD")
        server.get("library/alpine/manifests/latest", method="POST")
        reply = server.get("library/alpine/manifests/latest", If_None_Match=f'"{pushed.digest}"')
        assert reply.status == 304
    told = of_hub(site.json("status"))
    assert told["answers"] == ZEROS | {"miss": 1, "hit": before + 1}
    assert told["bytes_served"] == pushed.manifest.size


def test_stale_and_passed_answers_are_told_apart(site: Site, hub: RemoteUpstream) -> None:
    site.settings |= {"storage_max_size": "50KB", "cache_tag_ttl": "0s"}
    pushed = images.image(layers=1, layer_size=100_000)
    hub.push("library/alpine", pushed, "latest")
    with site.serving() as server:
        server.get("library/alpine/manifests/latest")
        server.get("library/alpine/manifests/latest")
        assert server.get(f"library/alpine/blobs/{pushed.layers[0].digest}").body == pushed.layers[0].raw
        with outage(hub):
            server.get("library/alpine/manifests/latest")
    assert of_hub(site.json("status"))["answers"] == ZEROS | {
        "miss": 1,
        "revalidated": 1,
        "passed": 1,
        "stale": 1,
    }
    assert site.json("status")["bytes_allowed"] == 50_000


def test_the_first_pull_saves_nothing_and_the_second_one_its_size(site: Site, hub: RemoteUpstream) -> None:
    pushed = images.image(layers=1, layer_size=100_000)
    [layer] = pushed.layers
    hub.push("library/alpine", pushed, "latest")
    with site.serving() as server:
        server.get("library/alpine/manifests/latest")
        # The whole layer is downloaded, and the client receives one byte of it.
        server.get(f"library/alpine/blobs/{layer.digest}", Range="bytes=0-0")
        server.until(lambda: site.file(layer.digest).exists())
    first = of_hub(site.json("status"))
    assert first["bytes_fetched"] > first["bytes_served"] + 90_000
    assert first["bytes_saved"] == 0
    assert " 0 B" in next(line for line in site.run("status").stdout.splitlines() if "docker.io" in line)
    with site.serving() as server:
        for _ in range(2):
            server.blob(layer)
    assert 90_000 < of_hub(site.json("status"))["bytes_saved"] <= layer.size


def test_counts_outlive_the_server_and_add_up(site: Site, hub: RemoteUpstream) -> None:
    hub.push("library/alpine", images.image(), "latest")
    for _ in range(2):
        with site.serving() as server:
            server.get("library/alpine/manifests/latest")
    status = site.json("status")
    assert of_hub(status)["answers"] == ZEROS | {"miss": 1, "hit": 1}
    assert status["counted_since"] is not None


def test_counts_show_while_the_server_runs(site: Site, hub: RemoteUpstream) -> None:
    hub.push("library/alpine", images.image(), "latest")
    with site.serving() as server:
        server.get("library/alpine/manifests/latest")
        server.until(lambda: of_hub(site.json("status"))["answers"]["miss"] == 1)


def test_workers_are_counted_as_long_as_they_live(site: Site) -> None:
    site.settings["server_workers"] = "3"
    with site.serving():
        assert site.json("status")["workers"] == 3
        assert "running, 3 workers" in site.run("status").stdout
    assert site.json("status")["workers"] == 0
    assert "not running" in site.run("status").stdout
    with site.serving() as server:
        server.kill()
        assert site.json("status")["workers"] == 0


def test_a_transfer_shows_its_source_and_how_far_it_is(site: Site, hub: RemoteUpstream) -> None:
    pushed = images.image(layers=1, layer_size=3_000_000)
    [layer] = pushed.layers
    hub.push("library/alpine", pushed, "latest")
    with ThreadPoolExecutor() as threads, site.serving() as server:
        server.get("library/alpine/manifests/latest")
        with hub.gate("blob", after=1_000_000, reference=layer.digest):
            client = threads.submit(server.blob, layer)
            server.until(
                lambda: [each["bytes_stored"] for each in site.json("status")["fills"]] == [1_000_000]
            )
            [fill] = site.json("status")["fills"]
            assert (fill["digest"], fill["sources"], fill["bytes"]) == (
                layer.digest,
                ["docker.io/library/alpine"],
                layer.size,
            )
            assert f"{layer.digest[7:19]}" in site.run("status").stdout
            assert f"33 % of {layer.size / 1e6:.1f} MB" in site.run("status").stdout
        client.result()
        assert site.json("status")["fills"] == []


def test_an_interrupted_transfer_shows_while_the_server_is_down(site: Site, hub: RemoteUpstream) -> None:
    pushed = images.image(layers=1, layer_size=3_000_000)
    [layer] = pushed.layers
    hub.push("library/alpine", pushed, "latest")
    with ThreadPoolExecutor() as threads, site.serving() as server, hub.gate("blob", after=1_000_000):
        server.get("library/alpine/manifests/latest")
        client = threads.submit(server.get, f"library/alpine/blobs/{layer.digest}")
        server.until(lambda: [each["bytes_stored"] for each in site.json("status")["fills"]] == [1_000_000])
        server.kill()
        assert client.exception() is not None
    status = site.json("status")
    assert [(each["digest"], each["bytes_stored"]) for each in status["fills"]] == [(layer.digest, 1_000_000)]
    assert status["bytes_used"] == pushed.manifest.size + layer.size


def test_a_registry_that_is_no_longer_configured_is_still_told(site: Site, hub: RemoteUpstream) -> None:
    hub.push("library/alpine", images.image(), "latest")
    with site.serving() as server:
        server.get("library/alpine/manifests/latest")
    site.settings["dockerhub_enabled"] = "false"
    assert of_hub(site.json("status"))["repositories"] == 1


def test_status_changes_no_file_of_a_store_without_a_server(site: Site) -> None:
    with site.serving():
        pass
    before = {path: path.stat().st_mtime_ns for path in site.store.rglob("*") if path.is_file()}
    site.run("status")
    after = {path: path.stat().st_mtime_ns for path in site.store.rglob("*") if path.is_file()}
    assert after == before


def test_without_a_store_it_says_where_it_looked(site: Site) -> None:
    assert f"no store in {site.store}; start the server once" in site.run("status", code=1).stderr
    assert not site.store.exists()


def end_with_interrupt() -> None:
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def test_status_is_shown_again_until_it_is_interrupted(site: Site) -> None:
    with site.serving():
        pass
    terminal: pexpect.spawn[str] = pexpect.spawn(
        str(PROGRAM),
        ["status", "--watch"],
        env=site.env,
        encoding="utf-8",
        timeout=60,
        dimensions=(40, 120),
        cwd=str(site.folder),
        # A shell starts what runs in its background with Ctrl-C ignored.
        preexec_fn=end_with_interrupt,
    )
    try:
        for _ in range(2):
            terminal.expect("not running")
        terminal.sendintr()
        terminal.expect(pexpect.EOF)
    finally:
        terminal.close()
    assert terminal.exitstatus == 0
