from __future__ import annotations

from typing import TYPE_CHECKING

import pexpect
import pytest
from tests.commands.server import PROGRAM, outage
from tests.kit import images

if TYPE_CHECKING:
    from tests.commands.server import Server, Site
    from tests.kit.remote import RemoteUpstream

ALPINE = "library/alpine"
# So many connections reach all workers of a server.
MANY = 24


def is_forgotten(server: Server, hub: RemoteUpstream, path: str) -> bool:
    """Whether no worker has it any more: while the upstream can't be asked, none can answer."""
    with outage(hub):
        return {server.get(path).status for _ in range(MANY)} == {502}


def pull(server: Server, image: images.Image, tag: str, repository: str = ALPINE) -> None:
    """All of an image, by way of all workers' memory."""
    for _ in range(MANY):
        assert server.get(f"{repository}/manifests/{tag}").body == image.raw
        server.get(f"{repository}/manifests/{image.digest}")
    for content in image.blobs:
        server.blob(content, repository)


def test_an_image_is_gone_from_disk_and_from_the_memory_of_all_workers(
    site: Site, hub: RemoteUpstream
) -> None:
    site.settings["cache_tag_ttl"] = "1h"
    image = images.image()
    hub.push(ALPINE, image, "3", "latest")
    with site.serving() as server:
        pull(server, image, "3")
        server.get("alpine/manifests/latest")
        told = site.json("rm", "alpine", "--yes")
        assert told["removed"]
        [repository] = told["repositories"]
        assert (repository["image"], repository["tags"]) == ("docker.io/library/alpine", ["3", "latest"])
        assert sorted(told["deleted"]) == sorted(each.digest for each in (*image.manifests, *image.blobs))
        assert told["bytes_freed"] == sum(each.size for each in (*image.manifests, *image.blobs))
        assert not any(site.file(each.digest).exists() for each in (*image.manifests, *image.blobs))
        assert site.json("status")["bytes_used"] == 0
        assert is_forgotten(server, hub, f"{ALPINE}/manifests/3")
        assert is_forgotten(server, hub, f"{ALPINE}/blobs/{image.layers[0].digest}")
        pull(server, image, "3")
        assert hub.transfers(image.layers[0].digest) == 2


def test_by_digest_no_worker_remembers_it_either(site: Site, hub: RemoteUpstream) -> None:
    image = images.image()
    hub.push(ALPINE, image, "3")
    with site.serving() as server:
        pull(server, image, "3")
        site.run("rm", f"docker.io/{ALPINE}@{image.digest}", "--yes")
        assert site.json("ls") == []
        assert is_forgotten(server, hub, f"{ALPINE}/manifests/{image.digest}")


def test_what_other_images_need_stays(site: Site, hub: RemoteUpstream) -> None:
    base = images.random_layer(50_000)
    old = images.assemble([base, images.random_layer(10_000, 1)], seed=1)
    new = images.assemble([base, images.random_layer(10_000, 2)], seed=2)
    hub.push(ALPINE, old, "old")
    hub.push(ALPINE, new, "new")
    hub.push("acme/app", old, "1")
    with site.serving() as server:
        pull(server, old, "old")
        pull(server, new, "new")
        told = site.json("rm", "alpine:old", "--yes")
        assert sorted(told["deleted"]) == sorted([old.digest, old.config.digest, old.layers[1].digest])
        assert site.file(new.layers[0].digest).exists()
        assert new.layers[0].digest == old.layers[0].digest
        assert "hit" in server.get(f"{ALPINE}/manifests/new").cache_status
        assert server.get(f"{ALPINE}/blobs/{new.layers[0].digest}").cache_status == "registry-proxy; hit"
        pull(server, old, "1", "acme/app")
        assert site.json("rm", "alpine", "--yes")["bytes_freed"] == sum(
            each.size for each in (new.manifest, new.config, new.layers[1])
        )
        assert all("hit" in server.get(f"acme/app/blobs/{each.digest}").cache_status for each in old.layers)


def test_a_tag_of_two_goes_alone(site: Site, hub: RemoteUpstream) -> None:
    image = images.image()
    hub.push(ALPINE, image, "3", "latest")
    with site.serving() as server:
        server.get("alpine/manifests/3")
        server.get("alpine/manifests/latest")
    assert site.json("rm", "alpine:3", "--yes")["deleted"] == []
    assert [each["tag"] for each in site.json("ls")] == ["latest"]


def test_without_a_server_it_works_as_well(site: Site, hub: RemoteUpstream) -> None:
    image = images.image(layers=1)
    hub.push(ALPINE, image, "3")
    with site.serving() as server:
        pull(server, image, "3")
    assert "Removed." in site.run("rm", "alpine:3", "--yes").stdout
    assert list((site.store / "blobs").rglob("sha256/*/*")) == []
    assert site.json("verify")["findings"] == []


def test_a_dry_run_tells_and_leaves(site: Site, hub: RemoteUpstream) -> None:
    image = images.image()
    hub.push(ALPINE, image, "3")
    with site.serving() as server:
        pull(server, image, "3")
        told = site.json("rm", "alpine:3", "--dry-run")
        assert not told["removed"]
        assert told["bytes_freed"] == sum(each.size for each in (*image.manifests, *image.blobs))
        assert "This frees" in site.run("rm", "alpine:3", "--dry-run").stdout
        assert server.get(f"{ALPINE}/manifests/3").cache_status == "registry-proxy; hit"
    assert site.file(image.digest).exists()


def test_what_is_not_cached_keeps_the_rest_from_going(site: Site, hub: RemoteUpstream) -> None:
    hub.push(ALPINE, images.image(), "3")
    with site.serving() as server:
        server.get("alpine/manifests/3")
    done = site.run("rm", "alpine:3", "alpine:4", "ghcr.io/acme/app", "--yes", code=1)
    assert "not cached: docker.io/library/alpine:4, ghcr.io/acme/app. Nothing was removed" in done.stderr
    assert [each["tag"] for each in site.json("ls")] == ["3"]


@pytest.mark.parametrize(
    ("name", "text"), [("Alpine", "'Alpine' is not an image"), ("alpine@sha256:1", "digest")]
)
def test_what_is_no_image_is_told(site: Site, name: str, text: str) -> None:
    assert text in site.run("rm", name, code=2).stderr


def test_without_a_terminal_nothing_goes_unless_told_so(site: Site, hub: RemoteUpstream) -> None:
    hub.push(ALPINE, images.image(), "3")
    with site.serving() as server:
        server.get("alpine/manifests/3")
    assert "Add --yes" in site.run("rm", "alpine:3", code=2, text="y\n").stderr
    assert "Add --yes" in site.run("rm", "alpine:3", "--json", code=2).stderr
    assert len(site.json("ls")) == 1


@pytest.mark.parametrize(("answer", "code", "left"), [("n", 1, 1), ("y", 0, 0)])
def test_a_terminal_is_asked(site: Site, hub: RemoteUpstream, answer: str, code: int, left: int) -> None:
    hub.push(ALPINE, images.image(), "3")
    with site.serving() as server:
        server.get("alpine/manifests/3")
    terminal: pexpect.spawn[str] = pexpect.spawn(
        str(PROGRAM), ["rm", "alpine:3"], env=site.env, encoding="utf-8", timeout=60, cwd=str(site.folder)
    )
    try:
        terminal.expect("docker.io/library/alpine: tags 3")
        terminal.expect("Remove these images?")
        terminal.sendline(answer)
        terminal.expect(pexpect.EOF)
    finally:
        terminal.close()
    assert terminal.exitstatus == code
    assert len(site.json("ls")) == left
