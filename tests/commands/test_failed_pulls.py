"""What the operator learns of a failed pull: from the log, and from `status`."""

from __future__ import annotations

import re
import socket
from typing import TYPE_CHECKING, Any

import pytest
from tests.commands.server import outage
from tests.kit import images
from tests.kit.faults import Answer, Reset, account_limit, too_many_requests

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.commands.server import Server, Site
    from tests.kit.remote import RemoteUpstream

HUB = "docker.io/library/alpine"
IMAGE = images.image(layers=1)
LAYER = IMAGE.layers[0].digest
STILL = "Cached images are still served"
# The fault, the request, the image in the log, the cause, the next step, and the error's code.
FAILURES: dict[str, tuple[Callable[[RemoteUpstream], object] | None, str, str, str, str, str]] = {
    "missing": (
        None,
        "alpine/manifests/none",
        "docker.io/alpine:none",
        "404",
        "Check the name",
        "MANIFEST_UNKNOWN",
    ),
    "private": (
        lambda hub: hub.admit("me", "hunter2", only_to="library/secret"),
        "library/secret/manifests/1",
        "docker.io/library/secret:1",
        "401",
        "configure credentials for this registry",
        "UNAUTHORIZED",
    ),
    "forbidden": (
        lambda hub: hub.arm("manifest", Answer(status=403, code="DENIED"), times=None),
        "library/alpine/manifests/1",
        f"{HUB}:1",
        "403",
        "configure credentials for this registry",
        "DENIED",
    ),
    "limited": (
        lambda hub: hub.arm("manifest", account_limit(), times=None),
        "library/alpine/manifests/1",
        f"{HUB}:1",
        "429",
        "upstreams.NAME.username",
        "TOOMANYREQUESTS",
    ),
    "limited for one repository": (
        lambda hub: hub.arm("manifest", too_many_requests(5), times=None),
        "library/alpine/manifests/1",
        f"{HUB}:1",
        "429",
        "upstreams.NAME.username",
        "TOOMANYREQUESTS",
    ),
    "broken": (
        lambda hub: hub.arm("manifest", Answer(status=503), times=None),
        "library/alpine/manifests/1",
        f"{HUB}:1",
        "503",
        STILL,
        "UPSTREAM_BROKEN",
    ),
    "cut off": (
        lambda hub: hub.arm("manifest", Reset(), times=None),
        "library/alpine/manifests/1",
        f"{HUB}:1",
        "Connection reset by peer",
        STILL,
        "UPSTREAM_BROKEN",
    ),
    "nonsense": (
        lambda hub: hub.arm("manifest", Answer(status=200, body=b"nonsense"), times=None),
        "library/alpine/manifests/1",
        f"{HUB}:1",
        "manifest",
        STILL,
        "UPSTREAM_BROKEN",
    ),
    "tag list": (
        lambda hub: hub.arm("tags", Answer(status=503), times=None),
        "library/alpine/tags/list",
        f"{HUB}, tag list",
        "503",
        STILL,
        "UPSTREAM_BROKEN",
    ),
    "blob": (
        lambda hub: hub.arm("blob", Answer(status=503), times=None),
        f"library/alpine/blobs/{LAYER}",
        f"{HUB}, blob {LAYER}",
        "503",
        STILL,
        "UPSTREAM_BROKEN",
    ),
}


def failures_in(server: Server) -> list[str]:
    return [line for line in server.log().splitlines() if "server.failure_log" in line]


def of_hub(status: Any) -> Any:
    [found] = [each for each in status["registries"] if each["registry"] == "docker.io"]
    return found


@pytest.mark.parametrize("kind", FAILURES)
def test_a_failed_pull_leaves_one_line_with_image_cause_and_next_step(
    kind: str, site: Site, hub: RemoteUpstream
) -> None:
    arm, path, image, cause, step, code = FAILURES[kind]
    site.settings["server_workers"] = "1"
    hub.push("library/alpine", IMAGE, "1")
    if arm is not None:
        arm(hub)
    with site.serving() as server:
        for _ in range(5):
            assert server.get(path).status >= 400
        [line] = failures_in(server)
    assert re.match(r"\d{4}-\d\d-\d\dT[\d:.]+[+-]\d\d:\d\d WARNING ", line)
    for text in (f" {image} ", "docker.io", cause, step):
        assert text in line
    assert of_hub(site.json("status"))["errors"] == {code: 5}


def test_requests_that_concern_no_registry_are_logged_and_counted(site: Site) -> None:
    site.settings["server_workers"] = "1"
    with site.serving() as server:
        server.get("nowhere.example/acme/app/manifests/1")
        server.get("library/alpine/manifests/1", method="DELETE")
        for number in range(1000):
            server.get(f"UPPER{number}/manifests/1")
        lines = failures_in(server)
    assert "nowhere.example is not configured on this cache" in lines[0]
    assert "push to the registry itself" in lines[1]
    # A scanner does not fill the disk.
    assert len(lines) == 20
    status = site.json("status")
    assert status["errors_without_registry"] == {"NAME_INVALID": 1000, "NAME_UNKNOWN": 1, "UNSUPPORTED": 1}


def test_a_guessed_name_hides_no_outage(site: Site, hub: RemoteUpstream) -> None:
    site.settings["server_workers"] = "1"
    hub.push("library/alpine", IMAGE, "1")
    with site.serving() as server:
        for number in range(100):
            # Docker Hub responds to guessed repositories with 401, to guessed tags with 404.
            assert server.get(f"library/guess{number}/manifests/1").status == 401
            assert server.get(f"library/alpine/manifests/guess{number}").status == 404
        assert len(failures_in(server)) == 40
        with outage(hub):
            server.get("library/alpine/manifests/1")
        assert f"pull of {HUB}:1 failed" in failures_in(server)[-1]


def test_an_outage_is_told_once_by_all_workers_and_shown_until_it_ends(
    site: Site, hub: RemoteUpstream
) -> None:
    site.settings["server_workers"] = "2"
    hub.push("library/alpine", IMAGE, "1")

    def workers_with(text: str) -> set[str]:
        lines = [line for line in server.log().splitlines() if text in line]
        return set(re.findall(r"\[(\d+)\]: ", "\n".join(lines)))

    with site.serving() as server:
        assert of_hub(site.json("status"))["failing"] is None
        with outage(hub):

            def both_have_failed() -> bool:
                server.get("library/alpine/manifests/1")
                return len(workers_with("pull of")) == 2

            server.until(both_have_failed)
            server.until(lambda: of_hub(site.json("status"))["failing"] is not None)
            failing = of_hub(site.json("status"))["failing"]
            assert failing["since"] <= failing["next_attempt_at"]
            assert "can't connect: Connection refused" in failing["cause"]
            shown = site.run("status").stdout
            attempt = r"(from \d\d:\d\d:\d\d \S+|at the next pull)"
            assert re.search(rf"docker\.io +\d{{4}}-\d\d-\d\d \d\d:\d\d \S+ +{attempt} +GET ", shown)
        server.until(lambda: server.get("library/alpine/manifests/1").status == 200)
        server.until(lambda: of_hub(site.json("status"))["failing"] is None)
        log = server.log()
        assert log.count("docker.io is failing: ") == 1
        assert log.count("docker.io responds again, after ") == 1
    assert of_hub(site.json("status"))["failing"] is None


def test_an_outage_of_an_earlier_run_is_not_shown(site: Site, hub: RemoteUpstream) -> None:
    with site.serving() as server:
        with outage(hub):
            server.get("library/alpine/manifests/1")
            server.until(lambda: of_hub(site.json("status"))["failing"] is not None)
        server.kill()
    assert of_hub(site.json("status"))["failing"] is None
    with site.serving():
        assert of_hub(site.json("status"))["failing"] is None


def test_malformed_requests_are_logged_without_what_a_terminal_would_obey(site: Site) -> None:
    site.settings["server_workers"] = "1"
    with site.serving() as server:
        for _ in range(3):
            with socket.create_connection(("127.0.0.1", server.port)) as client:
                client.sendall(b"GET /v2/ HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n")
                assert client.recv(100).startswith(b"HTTP/1.1 400 ")
        with socket.create_connection(("127.0.0.1", server.port)) as client:
            client.sendall(b"GET /v2/\x9b31m/manifests/1 HTTP/1.1\r\nHost: a\r\n\r\n")
            assert client.recv(100).startswith(b"HTTP/1.1 400 ")
        first, *rest = failures_in(server)
        log = server.log()
    assert "a request from 127.0.0.1 was refused: the request has two Host headers" in first
    assert len(rest) == 1
    assert "\x9b" not in log
