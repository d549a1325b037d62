"""What is connected to, and what is sent there."""

from __future__ import annotations

from contextlib import asynccontextmanager
from ipaddress import ip_network
from typing import TYPE_CHECKING

import pytest
from tests.kit.faults import Redirect, Tamper
from tests.kit.upstream import SimulatedUpstream
from tests.upstream.connecting import LATEST, REPOSITORY, Names, content, stored
from yarl import URL

from registry_proxy import __version__
from registry_proxy.policy.access import AddressRanges
from registry_proxy.upstream.base import UpstreamBrokenError
from registry_proxy.upstream.failures import RedirectRefusedError
from registry_proxy.upstream.transport import Transport

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from tests.kit import images
    from tests.kit.certificates import Authority
    from tests.upstream.connecting import Connector


NOWHERE = AddressRanges()


@asynccontextmanager
async def opened(networks: AddressRanges = NOWHERE) -> AsyncIterator[Transport]:
    """The transport of a public registry. It has not answered from anywhere yet."""
    home = URL("https://registry.example.com")
    transport = Transport(home, resolver=Names(), redirect_networks=networks)
    yield transport
    await transport.close()


@pytest.fixture
async def public() -> AsyncIterator[Transport]:
    async with opened() as transport:
        yield transport


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1",
        "[::1]",
        "[::ffff:127.0.0.1]",
        "[::ffff:7f00:1]",
        "[2002:7f00:1::1]",
        "[64:ff9b::127.0.0.1]",
    ],
)
async def test_a_public_registry_may_not_send_us_to_loopback(public: Transport, host: str) -> None:
    async with SimulatedUpstream() as inner:
        port = URL(inner.url).port
        with pytest.raises(RedirectRefusedError, match="loopback address: refused"):
            await public.send("GET", URL(f"http://{host}:{port}/v2/"), {})
    assert inner.requests == []


@pytest.mark.parametrize(
    ("host", "kind"),
    [
        ("10.0.0.1", "private"),
        ("[fd12::1]", "private"),
        ("169.254.169.254", "metadata"),
        ("[fd00:ec2::254]", "metadata"),
        ("[fe80::1]", "link-local"),
        ("100.64.0.1", "shared"),
        ("0.0.0.0", "loopback"),
        ("[::]", "loopback"),
        ("224.0.0.1", "special"),
    ],
)
async def test_a_public_registry_may_not_send_us_to_any_inner_address(
    public: Transport, host: str, kind: str
) -> None:
    with pytest.raises(RedirectRefusedError, match=kind):
        await public.send("GET", URL(f"https://{host}/"), {})


@pytest.mark.parametrize("host", ["2130706433", "127.1", "0x7f.0.0.1", "0177.0.0.1"])
async def test_odd_spellings_of_addresses_are_no_way_round(public: Transport, host: str) -> None:
    async with SimulatedUpstream() as inner:
        with pytest.raises(UpstreamBrokenError):
            await public.send("GET", URL(f"http://{host}:{URL(inner.url).port}/v2/"), {})
    assert inner.requests == []


async def test_the_address_connected_to_counts_not_the_name(public: Transport) -> None:
    async with SimulatedUpstream() as inner:
        with pytest.raises(RedirectRefusedError, match=r"cdn\.example\.org.*loopback"):
            await public.send("GET", URL(f"http://cdn.example.org:{URL(inner.url).port}/"), {})
    assert inner.requests == []


async def test_a_registry_that_answers_from_loopback_may_use_loopback(
    connect: Connector, image: images.Image
) -> None:
    async with SimulatedUpstream("quay") as simulated:
        layer = stored(simulated, image)
        upstream = connect(simulated.url)
        assert await content(upstream, layer) == image.layers[0].raw
    assert {each.role for each in simulated.requests} == {"registry", "storage"}


@pytest.mark.parametrize("target", ["http://10.0.0.1/x", "http://169.254.169.254/latest/meta-data/"])
async def test_a_registry_on_loopback_may_not_send_us_to_other_inner_networks(
    connect: Connector, image: images.Image, target: str
) -> None:
    async with SimulatedUpstream("plain") as simulated:
        layer = stored(simulated, image)
        simulated.arm("blob", Redirect(target))
        with pytest.raises(RedirectRefusedError, match=r"127\.0\.0\.1 refers to .* refused"):
            await content(connect(simulated.url), layer)


@pytest.mark.parametrize("host", ["storage.example.org", "127.0.0.1", "[::ffff:127.0.0.1]"])
async def test_a_registry_may_refer_to_the_networks_that_its_upstream_allows(host: str) -> None:
    networks = AddressRanges((ip_network("127.0.0.0/24"), ip_network("10.0.0.0/8")))
    async with (
        SimulatedUpstream() as inner,
        opened(networks) as public,
    ):
        response = await public.send("GET", URL(f"http://{host}:{URL(inner.url).port}/v2/"), {})
        assert response.status == 200
        response.close()
        with pytest.raises(RedirectRefusedError, match="loopback address: refused"):
            await public.send("GET", URL("http://127.0.1.1/"), {})


@pytest.mark.parametrize(
    "host", ["169.254.169.254", "[fd00:ec2::254]", "100.100.100.200", "[::ffff:169.254.169.254]"]
)
async def test_metadata_services_are_refused_whatever_is_allowed(host: str) -> None:
    networks = AddressRanges((ip_network("0.0.0.0/0"), ip_network("::/0"), ip_network("169.254.169.254/32")))
    async with opened(networks) as public:
        with pytest.raises(RedirectRefusedError, match=r"metadata address: refused$"):
            await public.send("GET", URL(f"http://{host}/latest/"), {})


async def test_the_refusal_of_an_address_names_the_setting_that_allows_it(public: Transport) -> None:
    with pytest.raises(RedirectRefusedError, match=r'`allow_redirects_to` of the upstream: "10\.0\.0\.1"'):
        await public.send("GET", URL("https://10.0.0.1/"), {})


async def test_that_the_upstreams_name_leads_to_loopback_is_not_enough(public: Transport) -> None:
    """A hostile name server could say so; only an answer from there counts."""
    async with SimulatedUpstream() as inner:
        with pytest.raises(UpstreamBrokenError, match="can't connect"):
            await public.send("GET", URL("https://registry.example.com:1/v2/"), {})
        with pytest.raises(RedirectRefusedError):
            await public.send("GET", URL(inner.url), {})


async def test_every_hop_of_a_chain_is_checked(connect: Connector, image: images.Image) -> None:
    async with SimulatedUpstream("quay") as simulated:
        layer = stored(simulated, image)
        simulated.arm("blob", Redirect("http://192.168.0.1/x"))
        with pytest.raises(RedirectRefusedError, match="private address"):
            await content(connect(simulated.url), layer)
    assert simulated.count(kind="blob") == 1


async def test_requests_say_who_asks_and_want_no_encoding(connect: Connector, image: images.Image) -> None:
    async with SimulatedUpstream() as simulated:
        stored(simulated, image)
        await connect(simulated.url).repository(REPOSITORY).manifest(LATEST)
    headers = {name.lower(): value for name, value in simulated.requests[0].headers.items()}
    assert headers["user-agent"] == f"registry-proxy/{__version__}"
    assert headers["accept-encoding"] == "identity"
    assert "application/vnd.oci.image.index.v1+json" in headers["accept"]
    assert "authorization" not in headers


async def test_a_body_is_never_decompressed(connect: Connector, image: images.Image) -> None:
    async with SimulatedUpstream() as simulated:
        layer = stored(simulated, image)
        simulated.arm("blob", Tamper(headers={"Content-Encoding": "gzip"}))
        assert await content(connect(simulated.url), layer) == image.layers[0].raw


async def test_cookies_are_not_kept(connect: Connector, image: images.Image) -> None:
    async with SimulatedUpstream() as simulated:
        stored(simulated, image)
        upstream = connect(f"http://localhost:{URL(simulated.url).port}")
        simulated.arm("manifest", Tamper(headers={"Set-Cookie": "session=1; Path=/"}))
        await upstream.repository(REPOSITORY).manifest(LATEST)
        await upstream.repository(REPOSITORY).manifest(LATEST)
    assert "Cookie" not in simulated.requests[1].headers


async def test_environment_and_netrc_have_no_say(
    connect: Connector, image: images.Image, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login me password secret\n")
    netrc.chmod(0o600)
    monkeypatch.setenv("NETRC", str(netrc))
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    monkeypatch.delenv("NO_PROXY", raising=False)
    async with SimulatedUpstream() as simulated:
        stored(simulated, image)
        await connect(simulated.url).repository(REPOSITORY).manifest(LATEST)
    assert "Authorization" not in simulated.requests[0].headers


async def test_very_large_headers_are_read(connect: Connector, image: images.Image) -> None:
    async with SimulatedUpstream(padding_header=120_000) as simulated:
        stored(simulated, image)
        assert (await connect(simulated.url).repository(REPOSITORY).manifest(LATEST)).raw == image.raw


async def test_headers_over_128_kib_are_refused(connect: Connector, image: images.Image) -> None:
    async with SimulatedUpstream(padding_header=140_000) as simulated:
        stored(simulated, image)
        with pytest.raises(UpstreamBrokenError, match="not valid HTTP"):
            await connect(simulated.url).repository(REPOSITORY).manifest(LATEST)


async def test_a_certificate_that_nobody_vouches_for_is_refused(
    connect: Connector, authority: Authority, image: images.Image
) -> None:
    async with SimulatedUpstream(tls=authority.server_context("127.0.0.1")) as simulated:
        with pytest.raises(UpstreamBrokenError, match="certificate is not trusted"):
            await connect(simulated.url).repository(REPOSITORY).manifest(LATEST)
    assert simulated.requests == []


async def test_trust_can_be_given(connect: Connector, authority: Authority, image: images.Image) -> None:
    async with SimulatedUpstream("quay", tls=authority.server_context("127.0.0.1")) as simulated:
        layer = stored(simulated, image)
        upstream = connect(simulated.url, ssl_context=authority.client_context())
        assert await content(upstream, layer) == image.layers[0].raw


async def test_from_https_never_down_to_http(
    connect: Connector, authority: Authority, image: images.Image
) -> None:
    async with (
        SimulatedUpstream(tls=authority.server_context("127.0.0.1")) as simulated,
        SimulatedUpstream() as plain,
    ):
        layer = stored(simulated, image)
        simulated.arm("blob", Redirect(f"{plain.url}/x"))
        upstream = connect(simulated.url, ssl_context=authority.client_context())
        with pytest.raises(RedirectRefusedError, match="downgrade refused"):
            await content(upstream, layer)
    assert plain.requests == []


async def test_connections_are_used_again(connect: Connector, image: images.Image) -> None:
    """Also after a 401, a redirect and a whole body, all of which are read to their end."""
    async with SimulatedUpstream("quay") as simulated:
        layer = stored(simulated, image)
        upstream = connect(simulated.url)
        await upstream.repository(REPOSITORY).manifest(LATEST)
        for _ in range(3):
            await content(upstream, layer)
            await upstream.repository(REPOSITORY).probe_blob(layer)
        open_ones = [len(runner.server.connections) for runner in simulated._runners if runner.server]
        assert open_ones == [1, 1]
