"""The storage of a real registry:2 cache, filled by a real client, is served after its end."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.commands.registry2 import OldFolder, docker_registry
from tests.commands.server import outage
from tests.kit import images
from tests.kit.clients import Skopeo

if TYPE_CHECKING:
    from tests.commands.server import Site
    from tests.kit.remote import RemoteUpstream


def test_what_it_cached_is_served_without_the_upstream(
    site: Site, hub: RemoteUpstream, old: OldFolder
) -> None:
    alpine, app = images.image(layer_size=300_000, seed=1), images.multi_platform(seed=2)
    hub.push("library/alpine", alpine, "latest", "3")
    hub.push("acme/app", app, "1")
    with Skopeo() as skopeo, docker_registry(old, hub.url) as registry:
        skopeo.copy(f"{registry}/library/alpine:latest", tls_verify=False)
        skopeo.copy(f"{registry}/library/alpine:3", tls_verify=False)
        skopeo.copy(f"{registry}/acme/app:1", tls_verify=False, every_platform=True)
        contents = [*alpine.manifests, *alpine.blobs, *app.manifests, *app.blobs]
        with site.serving() as server:
            server.until(lambda: all(old.data(each.digest).exists() for each in contents))
    before = old.state()
    told = site.json("adopt", str(old.root), "--upstream", "dockerhub")
    assert told["sound"]
    assert told["blobs"]["linked"] == {"count": len(contents), "bytes": sum(each.size for each in contents)}
    assert (told["repositories"], told["tags"], told["left_out"]) == (2, 3, [])
    with Skopeo() as skopeo, site.serving() as server, outage(hub):
        place = f"127.0.0.1:{server.port}"
        pulled = skopeo.copy(f"{place}/library/alpine:latest", tls_verify=False)
        assert (pulled / alpine.layers[0].digest[7:]).read_bytes() == alpine.layers[0].raw
        skopeo.copy(f"{place}/acme/app:1", tls_verify=False, every_platform=True)
        assert server.get("alpine/manifests/3").cache_status == "registry-proxy; hit; detail=stale"
    assert old.state() == before
