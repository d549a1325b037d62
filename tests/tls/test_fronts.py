"""Behind caddy and nginx, configured as docs/tls.md says."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest
from tests.e2e.program import RegistryProxy
from tests.kit import images
from tests.kit.clients import Skopeo
from tests.kit.processes import ROOT, Daemon, running
from tests.kit.remote import Simulators
from tests.tls.issued import issue
from tests.tls.place import ADDRESS, GHCR, HUB
from tests.tls.visitor import get

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.kit.certificates import Authority
    from tests.kit.sealed import SealedNetwork

DOCUMENTED = ("dockerhub.registry.example.com", "ghcr.registry.example.com")


def example(language: str) -> str:
    """The document's example, with the test's host names."""
    text = (ROOT / "docs" / "tls.md").read_text()
    (block,) = re.findall(rf"^```{language}\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    for documented, own in zip(DOCUMENTED, (HUB, GHCR), strict=True):
        assert documented in block
        block = block.replace(documented, own)
    return str(block)


def caddy(folder: Path, authority: Authority) -> list[str]:
    files = issue(authority.ca, folder, HUB, GHCR)
    own = f"bind {ADDRESS}\n\ttls {files.cert} {files.key}\n\treverse_proxy"
    options = "{\n\tadmin off\n\tauto_https off\n}\n"
    (folder / "Caddyfile").write_text(options + example("caddy").replace("reverse_proxy", own))
    return ["caddy", "run", "--config", str(folder / "Caddyfile"), "--adapter", "caddyfile"]


def nginx(folder: Path, authority: Authority) -> list[str]:
    files = issue(authority.ca, folder, HUB, GHCR)
    server = example("nginx").replace("/etc/nginx/fullchain.pem", str(files.cert))
    server = server.replace("/etc/nginx/privkey.pem", str(files.key)).replace("443", f"{ADDRESS}:443")
    temporary = "".join(
        f"{module}_temp_path {folder}/{module};\n"
        for module in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    (folder / "nginx.conf").write_text(
        f"user root;\ndaemon off;\npid {folder}/nginx.pid;\nevents {{}}\n"
        f"http {{\naccess_log off;\n{temporary}{server}}}\n"
    )
    return ["/usr/sbin/nginx", "-e", "stderr", "-c", str(folder / "nginx.conf")]


@pytest.fixture(scope="module")
def upstreams(
    tmp_path_factory: pytest.TempPathFactory, network: SealedNetwork, authority: Authority
) -> Iterator[Simulators]:
    folder = tmp_path_factory.mktemp("upstreams")
    with Simulators(
        ["dockerhub", "ghcr"], folder, runner=network, authority=authority, real_names=True
    ) as each:
        yield each


@pytest.mark.parametrize("front", [caddy, nginx])
def test_pulls_go_through_a_reverse_proxy_by_hostname(
    front: object, network: SealedNetwork, tmp_path: Path, authority: Authority, upstreams: Simulators
) -> None:
    assert callable(front)
    hub, ghcr = images.image(layer_size=8 << 20, seed=1), images.image(seed=2)
    upstreams["dockerhub"].push("library/alpine", hub, "1")
    upstreams["ghcr"].push("acme/app", ghcr, "1")
    hostnames = {"dockerhub_hostname": HUB, "ghcr_hostname": GHCR}
    env = {"HOME": str(tmp_path)}
    with (
        RegistryProxy(network, tmp_path, **hostnames),
        running(Daemon(network, front(tmp_path, authority), tmp_path / "front.log", env=env)) as daemon,
        Skopeo(network) as skopeo,
    ):
        trust = authority.client_context()

        def answers() -> bool:
            try:
                return get(network.connect((ADDRESS, 443)), HUB, "/v2/", trust).status == 200
            except OSError:
                return False

        daemon.wait_until(answers)
        for reference, image in ((f"{HUB}/library/alpine:1", hub), (f"{GHCR}/acme/app:1", ghcr)):
            pulled = skopeo.copy(reference)
            assert (pulled / "manifest.json").read_bytes() == image.raw
