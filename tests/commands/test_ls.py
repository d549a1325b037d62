from __future__ import annotations

import json
import resource
from typing import TYPE_CHECKING

import pytest
from tests.kit import images
from tests.kit.many_images import fill

from registry_proxy.commands.image_patterns import Names
from registry_proxy.config import load
from registry_proxy.index.base import Image
from registry_proxy.oci.reference import Digest, Repository, Source
from registry_proxy.upstream.presets import PRESETS

if TYPE_CHECKING:
    from pathlib import Path

    from tests.commands.program import Program
    from tests.commands.server import Site
    from tests.kit.remote import RemoteUpstream

DIGEST = Digest.of(b"untagged")
KEPT = {
    "docker.io/library/alpine:3.20": Image(
        Source("docker.io", Repository("library/alpine")), "3.20", Digest.of(b"a"), 1, 1.0, 1.0
    ),
    "docker.io/acme/alpine:latest": Image(
        Source("docker.io", Repository("acme/alpine")), "latest", Digest.of(b"b"), 1, 1.0, 1.0
    ),
    "ghcr.io/acme/app:1": Image(Source("ghcr.io", Repository("acme/app")), "1", Digest.of(b"c"), 1, 1.0, 1.0),
    "old.example:5000/x@": Image(Source("old.example:5000", Repository("x")), None, DIGEST, 1, 1.0, None),
}


@pytest.mark.parametrize(
    ("pattern", "found"),
    [
        ("docker.io", ["docker.io/library/alpine:3.20", "docker.io/acme/alpine:latest"]),
        ("dockerhub", ["docker.io/library/alpine:3.20", "docker.io/acme/alpine:latest"]),
        ("index.docker.io", ["docker.io/library/alpine:3.20", "docker.io/acme/alpine:latest"]),
        ("alpine", ["docker.io/library/alpine:3.20"]),
        ("alpine:3.20", ["docker.io/library/alpine:3.20"]),
        ("alpine:3.2", []),
        ("alpine:*", ["docker.io/library/alpine:3.20"]),
        ("library/alpine", ["docker.io/library/alpine:3.20"]),
        ("docker.io/library", ["docker.io/library/alpine:3.20"]),
        ("*alpine*", ["docker.io/library/alpine:3.20", "docker.io/acme/alpine:latest"]),
        ("acme", ["docker.io/acme/alpine:latest", "ghcr.io/acme/app:1"]),
        ("ghcr.io/acme/", ["ghcr.io/acme/app:1"]),
        ("ghcr.io/acm", []),
        ("old.example:5000", ["old.example:5000/x@"]),
        (f"old.example:5000/x@{DIGEST}", ["old.example:5000/x@"]),
        ("*:latest", ["docker.io/acme/alpine:latest"]),
        ("[", []),
    ],
)
def test_a_pattern_fits_registries_names_and_parts_of_them(
    pattern: str, found: list[str], tmp_path: Path
) -> None:
    settings = load(None, {"HOME": str(tmp_path)}, {preset.name: preset for preset in PRESETS})
    assert Names(settings).select(KEPT.values(), pattern) == [KEPT[name] for name in found]


def test_images_are_listed_with_and_without_a_tag(site: Site, hub: RemoteUpstream) -> None:
    tagged, untagged = images.image(seed=1), images.image(seed=2)
    hub.push("library/alpine", tagged, "3.20")
    hub.push("acme/app", untagged, "gone")
    with site.serving() as server:
        server.get("alpine/manifests/3.20")
        server.blob(tagged.layers[0])
        server.get(f"acme/app/manifests/{untagged.digest}")
    first, second = site.json("ls")
    assert (first["image"], first["tag"], first["digest"]) == ("docker.io/acme/app", None, untagged.digest)
    assert first["bytes"] == untagged.manifest.size
    assert (second["image"], second["tag"], second["digest"]) == (
        "docker.io/library/alpine",
        "3.20",
        tagged.digest,
    )
    assert second["bytes"] == tagged.manifest.size + tagged.layers[0].size
    assert second["checked_at"].endswith("Z")
    assert second["used_at"] >= second["checked_at"]
    assert [each["tag"] for each in site.json("ls", "alpine")] == ["3.20"]
    [line] = [line for line in site.run("ls").stdout.splitlines() if "alpine" in line]
    assert line.split()[:3] == ["docker.io/library/alpine", "3.20", tagged.digest[7:19]]


def test_what_fits_nothing_is_told(site: Site) -> None:
    with site.serving():
        pass
    assert "no cached image matches 'nothing*'" in site.run("ls", "nothing*", code=1).stderr
    assert site.json("ls", "nothing*", code=1) == []
    assert site.json("ls") == []
    assert "the cache is empty" in site.run("ls").stderr


def test_the_largest_or_latest_images_are_listed_first_and_no_more_than_asked_for(program: Program) -> None:
    fill(program.folder / "store", 30)
    listed = json.loads(program("ls", "--json", "--sort", "used", "--limit", "2").stdout)
    assert [(each["image"], each["tag"]) for each in listed] == [
        ("docker.io/acme/app2", "v9"),
        ("docker.io/acme/app2", "v8"),
    ]
    by_size = [each["bytes"] for each in json.loads(program("ls", "--json", "--sort", "size").stdout)]
    assert by_size == sorted(by_size, reverse=True)
    shown = program("ls", "acme/app1", "--limit", "3")
    assert [line.split()[:2] for line in shown.stdout.splitlines()[2:]] == [
        ["docker.io/acme/app1", f"v{number}"] for number in range(3)
    ]
    assert shown.stderr == "3 of 10 images\n"
    assert "--limit" in program("ls", "--limit", "0", code=2).stderr


def test_two_thousand_images_take_no_longer_than_the_start_of_the_program(program: Program) -> None:
    fill(program.folder / "store", 2000)

    def seconds(command: str) -> float:
        """Processor time: other programs on this machine do not count."""
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        output = program(command).stdout
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        assert command != "ls" or output.count("docker.io/acme/app") == 2000
        return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime

    start = min(seconds("--version") for _ in range(3))
    for command in ("ls", "status"):
        assert min(seconds(command) for _ in range(3)) < 2.4 * start
