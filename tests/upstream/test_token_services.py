"""Token services that fail, or are not to be trusted."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest
from tests.kit.faults import (
    Answer,
    Body,
    Hang,
    Redirect,
    Stall,
)
from tests.kit.upstream import SimulatedUpstream
from tests.upstream.connecting import HASTY, LATEST, REPOSITORY, stored

from registry_proxy.upstream.auth.credentials import Credentials, StaticCredentials
from registry_proxy.upstream.base import (
    UpstreamBrokenError,
    UpstreamDeniedError,
    UpstreamError,
    UpstreamLimitedError,
    UpstreamTimeoutError,
)
from registry_proxy.upstream.failures import RedirectRefusedError

if TYPE_CHECKING:
    from tests.kit import images
    from tests.upstream.connecting import Connector


@pytest.mark.parametrize(
    ("fault", "expected", "text"),
    [
        (Answer(status=429, body=b"", headers={"Retry-After": "9"}), UpstreamLimitedError, "429"),
        (Answer(status=500), UpstreamBrokenError, "500"),
        (Answer(status=404), UpstreamBrokenError, "404"),
        (Answer(status=400), UpstreamBrokenError, "400"),
        (Answer(status=401, code="X", message="who?"), UpstreamDeniedError, "anonymous.*who"),
        (Answer(status=403), UpstreamDeniedError, "403"),
        (Body(b"{}"), UpstreamBrokenError, "no usable token"),
        (Body(b'{"token":"a\\r\\nX: y"}'), UpstreamBrokenError, "no usable token"),
        (Body(b'{"token":"' + b"x" * 70_000 + b'"}'), UpstreamBrokenError, "longer than the 65536 bytes"),
        (Hang(), UpstreamTimeoutError, "no response"),
        (Stall(5), UpstreamTimeoutError, "no byte"),
        (Redirect(), RedirectRefusedError, "loop"),
        (Redirect("http://10.0.0.1/token"), RedirectRefusedError, "private"),
    ],
)
async def test_a_token_services_failure_is_told_as_such(
    hub: SimulatedUpstream,
    connect: Connector,
    image: images.Image,
    fault: Answer,
    expected: type[UpstreamError],
    text: str,
) -> None:
    stored(hub, image)
    hub.arm("token", fault, times=None)
    with pytest.raises(expected, match=text) as caught:
        await connect(hub.url, timeouts=HASTY).repository(REPOSITORY).manifest(LATEST)
    assert "scope=" not in str(caught.value)
    if isinstance(caught.value, UpstreamLimitedError):
        assert caught.value.retry_after == 9


async def test_many_requests_at_once_ask_for_one_token(
    hub: SimulatedUpstream, connect: Connector, image: images.Image
) -> None:
    stored(hub, image)
    upstream = connect(hub.url)
    await asyncio.gather(*(upstream.repository(REPOSITORY).manifest(LATEST) for _ in range(10)))
    assert hub.count(kind="token") == 1


async def test_a_token_endpoints_redirect_gets_no_credentials_on_another_origin(
    hub: SimulatedUpstream, connect: Connector, image: images.Image
) -> None:
    """CVE-2026-50151 oras-go: origin is scheme, host and port."""
    me = Credentials("me", "secret")
    hub.add_user(me.username, me.password)
    stored(hub, image)
    async with SimulatedUpstream("plain") as other:
        hub.arm("token", Redirect(f"{other.url}/token"), times=None)
        other.arm("other", Answer(status=200, body=b'{"token":"x"}'), times=None)
        with pytest.raises(UpstreamDeniedError):
            await connect(hub.url, credentials=StaticCredentials(me)).repository(REPOSITORY).manifest(LATEST)
    assert "Authorization" in next(each for each in hub.requests if each.kind == "token").headers
    assert {each.headers.get("Authorization") for each in other.requests} == {None}


async def test_credentials_do_not_go_to_a_realm_on_another_host(
    hub: SimulatedUpstream, connect: Connector, image: images.Image
) -> None:
    """CVE-2026-33540 distribution, CVE-2026-48978 oras-go."""
    stored(hub, image)
    me = StaticCredentials(Credentials("me", "secret"))
    async with SimulatedUpstream("plain") as thief:
        hub.gatekeeper.realm = thief.url.replace("127.0.0.1", "localhost") + "/token"
        with pytest.raises(UpstreamBrokenError, match=r"credentials of 127\.0\.0\.1 were not sent there"):
            await connect(hub.url, credentials=me).repository(REPOSITORY).manifest(LATEST)
        with pytest.raises(UpstreamBrokenError, match="without TLS"):
            await connect(hub.url).repository(REPOSITORY).manifest(LATEST)
    assert thief.requests == []
