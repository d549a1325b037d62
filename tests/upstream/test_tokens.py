"""Bearer tokens: what is read of an answer, how long one serves, and that one request serves all who ask."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest
from yarl import URL

from registry_proxy.upstream.auth.credentials import Credentials
from registry_proxy.upstream.auth.tokens import (
    InvalidTokenResponseError,
    Token,
    TokenCache,
    TokenRequest,
    parse_token,
)
from registry_proxy.upstream.base import UpstreamLimitedError

if TYPE_CHECKING:
    from tests.kit.clock import ManualClock

    from registry_proxy.aio.tasks import BackgroundTasks

REALM = URL("https://auth.example.com/token?account=x")


def request(
    scope: str = "repository:a:pull", service: str | None = "s", credentials: Credentials | None = None
) -> TokenRequest:
    return TokenRequest(REALM, service, scope, credentials)


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        (request(), "account=x&service=s&scope=repository:a:pull"),
        (request("", None), "account=x"),
        (request("aws", ""), "account=x&service=&scope=aws"),
        (request("a b"), "account=x&service=s&scope=a&scope=b"),
        (request("a&b=c#d", "s t"), "account=x&service=s+t&scope=a%26b%3Dc%23d"),
    ],
)
def test_the_address_asked_keeps_the_realms_own_query(asked: TokenRequest, expected: str) -> None:
    assert asked.url().raw_query_string == expected


@pytest.mark.parametrize(
    ("raw", "value", "seconds"),
    [
        (b'{"token":"a","expires_in":300}', "a", 285),
        (b'{"access_token":"b","expires_in":3600,"issued_at":"x"}', "b", 3585),
        (b'{"token":"a","access_token":"b"}', "a", 48),  # 60 s by the specification, less a fifth
        (b'{"token":"","access_token":"b"}', "b", 48),
        (b'{"token":"a","expires_in":10}', "a", 8),
        (b'{"token":"a","expires_in":"300"}', "a", 285),
        (b'{"token":"a","expires_in":299.5}', "a", 284.5),
        (b'{"token":"a","expires_in":"soon"}', "a", 48),
        (b'{"token":"a","expires_in":0}', "a", 48),
        (b'{"token":"a","expires_in":-1}', "a", 48),
        (b'{"token":"a","expires_in":1e300}', "a", 86385),
        (b'{"token":"a","expires_in":null}', "a", 48),
    ],
)
def test_a_token_serves_a_little_less_than_it_lives(raw: bytes, value: str, seconds: float) -> None:
    assert parse_token(raw, 1000.0) == Token(value, 1000.0 + seconds)


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"null",
        b"[]",
        b"{}",
        b'{"token":null}',
        b'{"token":7}',
        b'{"token":"a b"}',
        b'{"token":"a\\r\\nX-Injected: 1"}',
        b'{"token":"\xc3\xa9"}',
        b'{"token":"\xff"}',
        b"<html>",
        b'{"token":"a","expires_in":[]}',
    ],
)
def test_what_is_no_token_is_refused(raw: bytes) -> None:
    with pytest.raises(InvalidTokenResponseError):
        parse_token(raw, 0)


def test_tokens_and_credentials_hide_their_secrets() -> None:
    credentials = Credentials("me", "hush-password")
    shown = repr(Token("hush-token", 5)) + repr(credentials) + repr(request(credentials=credentials))
    assert "hush" not in shown


class Service:
    """A token service that answers when told."""

    def __init__(self) -> None:
        self.asked: list[TokenRequest] = []
        self.gate = asyncio.Event()
        self.error: Exception | None = None
        self.arrived = asyncio.Event()

    async def fetch(self, asked: TokenRequest) -> Token:
        self.asked.append(asked)
        self.arrived.set()
        number = len(self.asked)
        await self.gate.wait()
        if self.error:
            raise self.error
        return Token(f"token-{number}", 2_000_000)


@pytest.fixture
def service() -> Service:
    return Service()


@pytest.fixture
def cache(service: Service, clock: ManualClock, background: BackgroundTasks) -> TokenCache:
    return TokenCache(service.fetch, clock, background)


async def waiting(cache: TokenCache, service: Service, *asked: TokenRequest) -> list[asyncio.Task[Token]]:
    tasks = [asyncio.ensure_future(cache.obtain(each)) for each in asked]
    await service.arrived.wait()
    await asyncio.sleep(0)  # let every one of them come to its wait
    return tasks


async def test_concurrent_requests_for_one_token_are_one_request(cache: TokenCache, service: Service) -> None:
    tasks = await waiting(cache, service, *[request()] * 5)
    service.gate.set()
    assert {token.value for token in await asyncio.gather(*tasks)} == {"token-1"}
    assert len(service.asked) == 1


async def test_a_token_of_one_credential_never_serves_another(cache: TokenCache, service: Service) -> None:
    service.gate.set()
    people = [None, Credentials("a", "1"), Credentials("a", "2"), Credentials("b", "1")]
    tokens = [await cache.obtain(request(credentials=each)) for each in people]
    assert len({token.value for token in tokens}) == 4
    assert [cache.get(request(credentials=each)) for each in people] == tokens


async def test_realm_service_and_scope_are_part_of_the_key(cache: TokenCache, service: Service) -> None:
    service.gate.set()
    await cache.obtain(request())
    assert cache.get(request("repository:b:pull")) is None
    assert cache.get(request(service=None)) is None
    assert (
        cache.get(TokenRequest(URL("https://other.example.com/token"), "s", "repository:a:pull", None))
        is None
    )


async def test_waiters_share_a_failure(cache: TokenCache, service: Service) -> None:
    service.error = UpstreamLimitedError("slow down", retry_after=3)
    tasks = await waiting(cache, service, request(), request())
    service.gate.set()
    results = await asyncio.gather(*tasks, return_exceptions=True)
    assert [type(each) for each in results] == [UpstreamLimitedError] * 2
    assert len(service.asked) == 1


async def test_who_leaves_does_not_harm_the_others(cache: TokenCache, service: Service) -> None:
    first, second = await waiting(cache, service, request(), request())
    first.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first
    service.gate.set()
    assert (await second).value == "token-1"
    assert len(service.asked) == 1


async def test_a_waiter_that_leaves_does_not_end_the_request(cache: TokenCache, service: Service) -> None:
    first, second = await waiting(cache, service, request(), request())
    second.cancel()
    await asyncio.sleep(0)
    service.gate.set()
    assert (await first).value == "token-1"


async def test_a_token_serves_until_it_expires(
    cache: TokenCache, service: Service, clock: ManualClock
) -> None:
    service.gate.set()
    token = await cache.obtain(request())
    assert cache.get(request()) == token
    clock.now = token.expires_at
    assert cache.get(request()) is None


async def test_a_refused_token_is_forgotten_but_not_its_successor(
    cache: TokenCache, service: Service
) -> None:
    service.gate.set()
    await cache.obtain(request())
    newer = await cache.obtain(request())
    cache.forget(request(), "token-1")
    assert cache.get(request()) == newer
    cache.forget(request(), newer.value)
    assert cache.get(request()) is None


async def test_names_that_clients_invent_do_not_fill_the_memory(cache: TokenCache, service: Service) -> None:
    service.gate.set()
    for number in range(501):
        await cache.obtain(request(f"repository:a{number}:pull"))
    kept = [number for number in range(501) if cache.get(request(f"repository:a{number}:pull"))]
    assert kept == list(range(1, 501))
