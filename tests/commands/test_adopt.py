from __future__ import annotations

import json
import os
import subprocess
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pexpect
import pytest
from tests.commands.registry2 import OldFolder
from tests.commands.server import PROGRAM, outage
from tests.kit import images
from tests.kit.faults import Answer

if TYPE_CHECKING:
    from tests.commands.server import Site
    from tests.kit.remote import RemoteUpstream

ALPINE = "library/alpine"


def adopt(site: Site, old: OldFolder, *arguments: str, code: int = 0) -> Any:
    return site.json("adopt", str(old.root), "--upstream", "dockerhub", *arguments, code=code)


def counts(told: Any) -> dict[str, int]:
    """How many blobs had each fate; those that none had are left out."""
    return {fate: of["count"] for fate, of in told["blobs"].items() if of["count"]}


def age(path: Path, seconds: int) -> None:
    at = path.stat().st_mtime - seconds
    os.utime(path, (at, at))


@pytest.fixture
def image(old: OldFolder) -> images.Image:
    """An image of four files that the old cache has."""
    image = images.image(layer_size=50_000)
    old.push(ALPINE, image, "3")
    return image


class TestBlobs:
    def test_get_a_second_name_and_nothing_else(
        self, site: Site, old: OldFolder, image: images.Image
    ) -> None:
        before = old.state()
        assert counts(adopt(site, old)) == {"linked": 4}
        layer = image.layers[0].digest
        assert site.file(layer).samefile(old.data(layer))
        site.run("verify", "--repair")
        site.run("rm", "alpine", "--yes")
        assert not site.file(layer).exists()
        assert old.state() == before

    def test_are_copied_when_told_so(self, site: Site, old: OldFolder, image: images.Image) -> None:
        assert counts(adopt(site, old, "--copy")) == {"copied": 4}
        layer = image.layers[0]
        assert not site.file(layer.digest).samefile(old.data(layer.digest))
        assert site.file(layer.digest).read_bytes() == layer.raw

    def test_are_copied_from_another_file_system(self, site: Site, tmp_path: Path) -> None:
        with tempfile.TemporaryDirectory(dir="/dev/shm") as folder:
            assert Path(folder).stat().st_dev != tmp_path.stat().st_dev
            old = OldFolder(Path(folder))
            old.push(ALPINE, images.image(), "3")
            assert counts(adopt(site, old)) == {"copied": 4}
        assert site.json("verify")["findings"] == []

    @pytest.mark.parametrize("way", [[], ["--copy"]], ids=["link", "copy"])
    def test_that_are_damaged_are_told_and_left(
        self, site: Site, old: OldFolder, image: images.Image, way: list[str]
    ) -> None:
        layer = image.layers[0].digest
        with old.data(layer).open("r+b") as file:
            file.write(b"\0\0\0")
        told = adopt(site, old, *way, code=1)
        assert counts(told)["damaged"] == 1
        assert [(each["digest"], each["fate"]) for each in told["left_out"]] == [(layer, "damaged")]
        assert not site.file(layer).exists()
        assert site.json("status")["fills"] == []
        verified = site.json("verify")
        assert (verified["files"], verified["findings"]) == (3, [])
        assert (
            f"damaged {layer}" in site.run("adopt", str(old.root), "--upstream", "docker.io", code=1).stdout
        )

    def test_that_cannot_be_read_are_told(self, site: Site, old: OldFolder, image: images.Image) -> None:
        path = old.data(image.layers[0].digest)
        path.rename(path.with_name("elsewhere"))
        path.symlink_to("elsewhere")
        told = adopt(site, old, code=1)
        assert counts(told) == {"linked": 3, "unreadable": 1}
        assert "symbolic links" in told["left_out"][0]["reason"]

    @pytest.mark.usefixtures("image")
    def test_are_not_read_again_by_a_second_run(self, site: Site, old: OldFolder) -> None:
        adopt(site, old)
        more = images.image(seed=1)
        old.push("acme/app", more, "1")
        assert counts(adopt(site, old)) == {"present": 4, "linked": 4}
        assert counts(adopt(site, old)) == {"present": 8}
        assert {each["image"] for each in site.json("ls")} == {"docker.io/acme/app", f"docker.io/{ALPINE}"}

    def test_the_most_recent_ones_fill_the_budget(self, site: Site, old: OldFolder) -> None:
        site.settings["storage_max_size"] = "250KB"
        pushed = [images.image(layers=1, layer_size=100_000, seed=number) for number in range(3)]
        for number, image in enumerate(pushed):
            old.push(ALPINE, image, str(number))
            for content in (*image.manifests, *image.blobs):
                age(old.data(content.digest), 1000 * number)
        told = adopt(site, old)
        assert counts(told)["no room"] == 1
        assert told["tags"] == 3
        assert [site.file(image.layers[0].digest).exists() for image in pushed] == [True, True, False]
        assert (
            "left out: there is no space"
            in site.run("adopt", str(old.root), "--upstream", "docker.io").stdout
        )

    def test_nothing_that_is_cached_makes_way(self, site: Site, hub: RemoteUpstream, old: OldFolder) -> None:
        site.settings["storage_max_size"] = "150KB"
        mine, theirs = (images.image(layers=1, layer_size=100_000, seed=number) for number in range(2))
        hub.push(ALPINE, mine, "mine")
        old.push(ALPINE, theirs, "theirs")
        with site.serving() as server:
            server.get("alpine/manifests/mine")
            server.blob(mine.layers[0])
            assert counts(adopt(site, old)) == {"linked": 2, "no room": 1}
            assert server.get(f"{ALPINE}/blobs/{mine.layers[0].digest}").cache_status == "registry-proxy; hit"

    @pytest.mark.usefixtures("image")
    def test_are_those_that_are_evicted_first(self, site: Site, hub: RemoteUpstream, old: OldFolder) -> None:
        for path in old.home.glob("blobs/sha256/*/*/data"):
            age(path, 86400)
        adopt(site, old)
        site.settings["storage_max_size"] = "150KB"
        fresh = images.image(layers=1, layer_size=100_000, seed=5)
        hub.push(ALPINE, fresh, "fresh")
        with site.serving() as server:
            server.get("alpine/manifests/fresh")
            server.blob(fresh.layers[0])
        assert site.file(fresh.layers[0].digest).exists()

    def test_that_the_server_is_fetching_are_left_to_it(
        self, site: Site, hub: RemoteUpstream, old: OldFolder, image: images.Image
    ) -> None:
        hub.push(ALPINE, image, "3")
        layer = image.layers[0]
        with ThreadPoolExecutor() as threads, site.serving() as server:
            server.get("alpine/manifests/3")
            with hub.gate("blob", after=1000, reference=layer.digest) as gate:
                client = threads.submit(server.blob, layer)
                gate.wait_reached()
                assert counts(adopt(site, old)) == {"linked": 2, "present": 1, "fetched": 1}
            client.result()
        assert site.json("verify")["findings"] == []

    def test_a_run_that_is_killed_is_gone_on_with(self, site: Site, tmp_path: Path) -> None:
        old = OldFolder(tmp_path / "large")
        old.push(ALPINE, images.image(layers=12, layer_size=16_000_000), "3")
        command = [str(PROGRAM), "adopt", str(old.root), "--upstream", "dockerhub", "--copy"]
        process = subprocess.Popen(command, env=site.env, cwd=site.folder)
        kept = site.store / "blobs/sha256"
        while len(list(kept.glob("*/*"))) < 4:
            assert process.poll() is None
        process.kill()
        process.wait()
        told = adopt(site, old, "--copy")
        assert told["sound"]
        assert counts(told)["present"] >= 4
        assert sum(counts(told).values()) == 14
        assert site.json("verify")["findings"] == []
        with site.serving():
            assert site.json("status")["bytes_used"] == sum(each.stat().st_size for each in kept.glob("*/*"))


class TestOwner:
    """The store is the server's: what root puts there must be its own, or the server could not use it."""

    OWNER = 12345 if os.geteuid() == 0 else os.geteuid()

    @pytest.fixture
    def foreign(self, site: Site) -> Site:
        with site.serving():
            pass
        for path in (site.store, *site.store.rglob("*")):
            os.chown(path, self.OWNER, -1)
        return site

    @pytest.mark.usefixtures("image")
    def test_copies_and_folders_are_its_own(self, foreign: Site, old: OldFolder) -> None:
        adopt(foreign, old, "--copy")
        assert {path.stat().st_uid for path in foreign.store.rglob("*")} == {self.OWNER}

    def test_what_it_could_not_read_is_copied(
        self, foreign: Site, old: OldFolder, image: images.Image
    ) -> None:
        path = old.data(image.layers[0].digest)
        path.chmod(0o600)
        before = old.state()
        assert counts(adopt(foreign, old)) == (
            {"linked": 3, "copied": 1} if os.geteuid() == 0 else {"linked": 4}
        )
        assert foreign.file(image.layers[0].digest).stat().st_uid == self.OWNER
        assert old.state() == before


class TestRepositories:
    def test_are_asked_for_at_the_first_use(
        self, site: Site, hub: RemoteUpstream, old: OldFolder, image: images.Image
    ) -> None:
        site.settings["cache_tag_ttl"] = "1h"
        moved = images.image(seed=9)
        hub.push(ALPINE, moved, "3")
        adopt(site, old)
        with site.serving() as server:
            assert server.get("alpine/manifests/3").body == moved.raw
        assert image.raw != moved.raw

    def test_are_served_in_an_outage_at_once_by_a_running_server(
        self, site: Site, hub: RemoteUpstream, old: OldFolder, image: images.Image
    ) -> None:
        with site.serving() as server, outage(hub):
            assert server.get("alpine/manifests/3").status == 502
            adopt(site, old)
            assert server.get("alpine/manifests/3").body == image.raw
            assert server.get(f"{ALPINE}/blobs/{image.layers[0].digest}").body == image.layers[0].raw

    @pytest.mark.usefixtures("image")
    def test_are_not_served_against_the_upstream_s_word(
        self, site: Site, hub: RemoteUpstream, old: OldFolder
    ) -> None:
        adopt(site, old)
        hub.arm("manifest", Answer(status=403, code="DENIED"), times=None)
        with site.serving() as server:
            assert server.get("alpine/manifests/3").status == 403

    def test_give_nothing_to_others(
        self, site: Site, hub: RemoteUpstream, old: OldFolder, image: images.Image
    ) -> None:
        adopt(site, old)
        with site.serving() as server, outage(hub):
            assert server.get(f"acme/other/blobs/{image.layers[0].digest}").status == 502
            assert server.get(f"acme/other/manifests/{image.digest}").status == 502

    def test_what_is_known_better_stays(
        self, site: Site, hub: RemoteUpstream, old: OldFolder, image: images.Image
    ) -> None:
        newer = images.image(seed=9)
        hub.push(ALPINE, newer, "3")
        with site.serving() as server:
            server.get("alpine/manifests/3")
        adopt(site, old)
        with site.serving() as server, outage(hub):
            assert server.get("alpine/manifests/3").body == newer.raw
            assert server.get(f"alpine/manifests/{image.digest}").body == image.raw

    def test_of_another_upstream_go_by_its_name(self, site: Site, old: OldFolder) -> None:
        old.push("acme/app", images.image(), "1")
        site.json("adopt", str(old.root), "--upstream", "ghcr.io")
        assert [each["image"] for each in site.json("ls")] == ["ghcr.io/acme/app"]

    def test_names_that_are_none_are_passed_over(self, site: Site, old: OldFolder) -> None:
        image = images.image()
        for name in ("acme/app", "Upper/case", "acme/app/nested"):
            old.push(name, image, "1")
        old.link("acme/app", "_manifests/tags/-odd/current", image.digest)
        old.link("acme/app", "_manifests/tags/broken/current", "sha256:12")
        old.link("acme/app", "_manifests/tags/lost/current", f"sha256:{'0' * 64}")
        told = adopt(site, old)
        assert (told["repositories"], told["tags"]) == (2, 2)
        assert [each["image"] for each in site.json("ls")] == [
            "docker.io/acme/app",
            "docker.io/acme/app/nested",
        ]

    def test_manifests_that_are_not_served_are_told(self, site: Site, old: OldFolder) -> None:
        schema1 = json.dumps({"schemaVersion": 1, "name": "x", "fsLayers": []}).encode()
        digest = old.put_blob(schema1)
        old.link(ALPINE, f"_manifests/revisions/{digest.replace(':', '/')}", digest)
        old.link(ALPINE, "_manifests/tags/ancient/current", digest)
        told = adopt(site, old)
        [refused] = told["manifests_refused"]
        assert refused["digest"] == digest
        assert "schema 1" in refused["reason"]
        assert told["tags"] == 0

    def test_a_revision_that_was_deleted_is_not_linked(
        self, site: Site, old: OldFolder, image: images.Image
    ) -> None:
        link = (
            old.home
            / "repositories"
            / ALPINE
            / "_manifests/revisions"
            / image.digest.replace(":", "/")
            / "link"
        )
        link.unlink()
        assert adopt(site, old)["tags"] == 0
        assert site.json("ls") == []


class TestUsage:
    @pytest.mark.usefixtures("image")
    def test_the_inner_folder_will_do(self, site: Site, old: OldFolder) -> None:
        assert site.json("adopt", str(old.home), "--upstream", "dockerhub")["tags"] == 1

    def test_another_folder_is_refused(self, site: Site) -> None:
        done = site.run("adopt", str(site.folder), "--upstream", "dockerhub", code=1)
        assert "is not the storage directory of a registry" in done.stderr
        assert not site.store.exists()

    @pytest.mark.usefixtures("image")
    def test_an_unknown_upstream_is_told(self, site: Site, old: OldFolder) -> None:
        done = site.run("adopt", str(old.root), "--upstream", "dokcerhub", code=2)
        assert "the configuration has no upstream 'dokcerhub'. Its upstreams are dockerhub" in done.stderr

    def test_an_empty_folder_is_nothing_to_do(self, site: Site, old: OldFolder) -> None:
        (old.home / "blobs").mkdir(parents=True)
        told = adopt(site, old)
        assert (counts(told), told["repositories"], told["sound"]) == ({}, 0, True)

    def test_a_terminal_shows_the_progress(self, site: Site, old: OldFolder) -> None:
        old.push(ALPINE, images.image(layers=2, layer_size=50_000_000), "3")
        terminal: pexpect.spawn[str] = pexpect.spawn(
            str(PROGRAM),
            ["adopt", str(old.root), "--upstream", "dockerhub"],
            env=site.env,
            encoding="utf-8",
            timeout=60,
            dimensions=(24, 120),
            cwd=str(site.folder),
        )
        try:
            terminal.expect(r"importing .*/100\.\d MB.*B/s")
            terminal.expect("4 blobs, 100.. MB: hard-linked")
            terminal.expect("Imported 1 repositories and 1 tags")
            terminal.expect(pexpect.EOF)
        finally:
            terminal.close()
        assert terminal.exitstatus == 0
