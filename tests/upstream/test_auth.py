"""What is sent, and when it is tried again: every decision, without a network."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, NoReturn

import pytest
from yarl import URL

from registry_proxy.oci.reference import Repository
from registry_proxy.upstream.auth.authenticator import Authenticator
from registry_proxy.upstream.auth.credentials import Credentials, StaticCredentials
from registry_proxy.upstream.auth.realms import PublicSuffixes, RealmRule
from registry_proxy.upstream.auth.schemes import BasicScheme, BearerScheme, Scheme, choose_scheme
from registry_proxy.upstream.auth.scopes import challenged_scope, pull_scope
from registry_proxy.upstream.auth.tokens import Token, TokenCache, TokenRequest
from registry_proxy.upstream.base import UpstreamBrokenError

if TYPE_CHECKING:
    from registry_proxy.aio.tasks import BackgroundTasks
    from registry_proxy.upstream.auth.credentials import CredentialProvider

HOME = URL("https://registry.example.com")
PULL = URL("https://registry.example.com/v2/acme/app/manifests/1")
APP = Repository("acme/app")
TOOL = Repository("tool")
ME = Credentials("me", "secret")
BEARER = 'Bearer realm="https://auth.example.com/token",service="s",scope="repository:acme/app:pull"'
OTHER = 'Bearer realm="https://other.example.com/token",service="s",scope="repository:acme/app:pull"'
PULL_SCOPE = ("repository:", ":pull")
FOREIGN = 'Bearer realm="https://auth.example.org/token",scope="repository:acme/app:pull"'


@pytest.mark.parametrize(
    ("challenge", "name", "own", "pull"),
    [
        ("repository:{}:pull", "acme/app", "repository:{}:pull", "repository:{}:pull"),
        ("repository:{}:pull,push", "acme/app", "repository:{}:pull,push", "repository:{}:pull"),
        ("", "acme/app", "", "repository:{}:pull"),
        ("repository:user/image:pull", "acme/app", "repository:user/image:pull", "repository:{}:pull"),
        ("repository:not{}:pull", "acme/app", "repository:notacme/app:pull", "repository:{}:pull"),
        (
            "repository:tenant/{}:pull,delete",
            "app",
            "repository:tenant/{}:pull,delete",
            "repository:{}:pull repository:tenant/{}:pull",
        ),
        (
            "repository:{}:metadata_read,delete",  # Azure's, for a list of tags
            "acme/app",
            "repository:{}:metadata_read,delete",
            "repository:{}:pull repository:{}:metadata_read",
        ),
        ("aws", "acme/app", "aws", "repository:{}:pull aws"),
        ("*", "acme/app", "*", "repository:{}:pull *"),
        ("registry:catalog:*", "catalog", "registry:catalog:*", "repository:{}:pull registry:catalog:*"),
        (
            "repository:a:pull repository:{}:pull",
            "b",
            "repository:a:pull repository:{}:pull",
            "repository:{}:pull repository:a:pull",
        ),
        (
            "repository(plugin):{}:pull",
            "acme/app",
            "repository(plugin):{}:pull",
            "repository:{}:pull repository(plugin):{}:pull",
        ),
    ],
)
def test_the_scope_of_a_pull_is_requested_whatever_a_challenge_names(
    challenge: str, name: str, own: str, pull: str
) -> None:
    challenge = challenge.format(name)
    for other in (name, "tool"):
        assert other.join(challenged_scope(challenge, name)) == own.format(*[other] * 2)
        assert other.join(pull_scope(challenge, name)) == pull.format(*[other] * 2)


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ("", None),
        ("Negotiate", None),
        ("Basic", BasicScheme()),
        ('Basic realm="x"', BasicScheme()),
        (
            'Basic realm="x", Bearer realm="https://a.example.com/t"',
            BearerScheme(URL("https://a.example.com/t"), None, (PULL_SCOPE, ())),
        ),
        ('Bearer realm="https://a/t",service=""', BearerScheme(URL("https://a/t"), "", (PULL_SCOPE, ()))),
        (
            'Bearer realm="https://a/t",scope="*"',
            BearerScheme(URL("https://a/t"), None, (("repository:", ":pull *"), ("*",))),
        ),
        (
            'Bearer realm="https://a/t",scope="repository:acme/app:pull"',
            BearerScheme(URL("https://a/t"), None, (PULL_SCOPE,)),
        ),
        ("Bearer", None),
        ('Bearer realm=""', None),
        ('Bearer realm="/token"', None),
        ('Bearer realm="file:///etc/passwd"', None),
        ('Bearer realm="https://[::1/token"', None),
        ('Bearer realm="https://user:pw@a/t"', None),
        ('Bearer realm="https://:pw@a/t"', None),
        ('Bearer realm="ftp://a/t", Basic', BasicScheme()),
    ],
)
def test_the_scheme_is_the_first_that_we_speak(header: str, expected: Scheme | None) -> None:
    assert choose_scheme(header, APP.name) == expected


@dataclass
class Reply:
    status: int
    www_authenticate: str = ""
    discarded: bool = False

    async def discard(self) -> None:
        self.discarded = True


class Exchange:
    """An authenticator between a scripted registry and a token service that hands out t1, t2, …"""

    background: ClassVar[BackgroundTasks]

    def __init__(
        self,
        credentials: Credentials | None = None,
        *named: str,
        provider: CredentialProvider | None = None,
    ) -> None:
        self.static = StaticCredentials(credentials)
        self.asked: list[TokenRequest] = []
        rule = RealmRule(HOME, frozenset(named), PublicSuffixes())
        tokens = TokenCache(self._fetch, lambda: 0.0, self.background)
        self.ping: Reply | None = Reply(200)
        self._authenticator = Authenticator(HOME, rule, provider or self.static, tokens, self._ping)

    async def _ping(self) -> Reply:
        if self.ping is None:
            raise UpstreamBrokenError("no response")
        return self.ping

    async def _fetch(self, request: TokenRequest) -> Token:
        self.asked.append(request)
        return Token(f"t{len(self.asked)}", 100)

    async def send(
        self, *replies: Reply, url: URL = PULL, repository: Repository = APP
    ) -> tuple[list[str | None], Reply]:
        """What was sent, and the answer; every reply must have been asked for, and all but the last discarded."""
        left, sent = list(replies), list[str | None]()

        async def attempt(authorization: str | None) -> Reply:
            sent.append(authorization)
            return left.pop(0)

        answer = await self._authenticator.send(url, repository, attempt)
        assert left == []
        assert [reply.discarded for reply in replies] == [reply is not answer for reply in replies]
        return sent, answer


@pytest.fixture(autouse=True)
async def _background(background: BackgroundTasks) -> None:
    Exchange.background = background


async def test_nothing_is_sent_before_it_is_demanded() -> None:
    sent, answer = await Exchange(ME).send(Reply(200))
    assert (sent, answer.status) == ([None], 200)


async def test_credentials_are_not_asked_for_before_they_are_needed() -> None:
    class Locked(StaticCredentials):
        async def get(self, repository: Repository) -> NoReturn:  # noqa: ARG002
            raise UpstreamBrokenError("the keyring is locked")

    exchange = Exchange(provider=Locked())
    assert (await exchange.send(Reply(200)))[0] == [None]
    with pytest.raises(UpstreamBrokenError, match="keyring"):
        await exchange.send(Reply(401, BEARER))


async def test_the_first_request_learns_and_the_second_sends_the_token_at_once() -> None:
    exchange = Exchange()
    assert (await exchange.send(Reply(401, BEARER), Reply(200)))[0] == [None, "Bearer t1"]
    assert (await exchange.send(Reply(200)))[0] == ["Bearer t1"]
    assert len(exchange.asked) == 1


async def test_another_repository_gets_its_own_token_without_a_401() -> None:
    exchange = Exchange()
    await exchange.send(Reply(401, BEARER), Reply(200))
    assert (await exchange.send(Reply(200), repository=TOOL))[0] == ["Bearer t2"]
    assert [request.scope for request in exchange.asked] == [
        "repository:acme/app:pull",
        "repository:tool:pull",
    ]


AWS = 'Bearer realm="https://auth.example.com/token",service="public.ecr.aws",scope="aws"'


async def test_the_repository_is_requested_next_to_what_the_challenge_adds() -> None:
    exchange = Exchange()
    await exchange.send(Reply(401, AWS), Reply(200))
    assert (await exchange.send(Reply(200), repository=TOOL))[0] == ["Bearer t2"]
    assert [request.scope for request in exchange.asked] == [
        "repository:acme/app:pull aws",
        "repository:tool:pull aws",
    ]


@pytest.mark.parametrize("refusal", [Reply(401, AWS), Reply(401), Reply(403)])
async def test_where_that_is_refused_the_challenges_own_scopes_are_requested(refusal: Reply) -> None:
    exchange = Exchange()
    refused = Reply(refusal.status, refusal.www_authenticate)
    sent, answer = await exchange.send(Reply(401, AWS), refused, Reply(200))
    assert (sent, answer.status) == ([None, "Bearer t1", "Bearer t2"], 200)
    assert (await exchange.send(Reply(200), repository=TOOL))[0] == ["Bearer t2"]
    assert [request.scope for request in exchange.asked] == ["repository:acme/app:pull aws", "aws"]


async def test_a_registry_that_refuses_those_gets_the_scope_of_the_pull_again() -> None:
    exchange = Exchange()
    await exchange.send(Reply(401, AWS), Reply(401, AWS), Reply(200))
    sent, answer = await exchange.send(Reply(401, AWS), Reply(401, AWS), Reply(200), repository=TOOL)
    assert (sent, answer.status) == (["Bearer t2", None, "Bearer t3"], 200)
    assert exchange.asked[-1].scope == "repository:tool:pull aws"


async def test_the_name_is_the_one_in_the_url_where_a_redirect_adds_a_prefix() -> None:
    exchange = Exchange()
    url = URL("https://backend.example.com/v2/k8s/images/acme/app/manifests/1")
    await exchange.send(Reply(401, AWS), Reply(200), url=url)
    assert exchange.asked[0].scope == "repository:k8s/images/acme/app:pull aws"


async def test_a_challenge_of_the_version_check_is_answered_as_it_is_and_not_remembered() -> None:
    exchange = Exchange()
    check = URL("https://registry.example.com/v2/")
    await exchange.send(Reply(401, AWS), Reply(200), url=check)
    assert exchange.asked[0].scope == "aws"
    assert (await exchange.send(Reply(200)))[0] == [None]


async def test_basic_credentials_are_remembered() -> None:
    exchange = Exchange(ME)
    assert (await exchange.send(Reply(401, "Basic"), Reply(200)))[0] == [None, ME.basic()]
    assert (await exchange.send(Reply(200)))[0] == [ME.basic()]


async def test_basic_without_credentials_is_the_registrys_refusal() -> None:
    sent, answer = await Exchange().send(Reply(401, "Basic"))
    assert (sent, answer.status) == ([None], 401)


@pytest.mark.parametrize(
    "death", [Reply(401, BEARER), Reply(401), Reply(400), Reply(403), Reply(403, BEARER), Reply(401, OTHER)]
)
async def test_a_token_that_died_is_replaced_from_a_clean_challenge(death: Reply) -> None:
    exchange = Exchange()
    await exchange.send(Reply(401, BEARER), Reply(200))
    sent, answer = await exchange.send(death, Reply(401, BEARER), Reply(200))
    assert (sent, answer.status) == (["Bearer t1", None, "Bearer t2"], 200)
    assert [request.realm.host for request in exchange.asked] == ["auth.example.com"] * 2


async def test_a_dead_token_is_tried_once_only() -> None:
    exchange = Exchange()
    await exchange.send(Reply(401, BEARER), Reply(200))
    sent, answer = await exchange.send(Reply(403), Reply(401, BEARER), Reply(403))
    assert (len(sent), answer.status) == (3, 403)


async def test_a_new_token_that_is_refused_is_replaced_once() -> None:
    exchange = Exchange()
    sent, answer = await exchange.send(Reply(401, BEARER), Reply(401, BEARER), Reply(200))
    assert (sent, answer.status) == ([None, "Bearer t1", "Bearer t2"], 200)
    exchange = Exchange()
    sent, answer = await exchange.send(Reply(401, BEARER), Reply(401, BEARER), Reply(401, BEARER))
    assert (sent, answer.status) == ([None, "Bearer t1", "Bearer t2"], 401)


async def test_a_repository_that_stays_refused_costs_two_tokens_and_requests() -> None:
    exchange = Exchange()
    await exchange.send(Reply(401, BEARER), Reply(401, BEARER), Reply(401, BEARER))
    sent, answer = await exchange.send(Reply(401, BEARER), Reply(401, BEARER))
    assert (sent, answer.status) == (["Bearer t3", "Bearer t4"], 401)


@pytest.mark.parametrize("status", [403, 400])
async def test_a_repository_that_is_forbidden_costs_a_token_and_one_request(status: int) -> None:
    exchange = Exchange()
    await exchange.send(Reply(401, BEARER), Reply(status))
    sent, answer = await exchange.send(Reply(status))
    assert (sent, answer.status) == (["Bearer t2"], status)


async def test_a_realm_that_moved_is_learnt_anew() -> None:
    exchange = Exchange()
    await exchange.send(Reply(401, BEARER), Reply(200))
    sent, _ = await exchange.send(Reply(401, OTHER), Reply(401, OTHER), Reply(200), repository=TOOL)
    assert sent == ["Bearer t2", None, "Bearer t3"]
    assert exchange.asked[-1].realm.host == "other.example.com"


async def test_a_registry_that_demands_nothing_any_more_is_served_without() -> None:
    exchange = Exchange()
    await exchange.send(Reply(401, BEARER), Reply(200))
    sent, answer = await exchange.send(Reply(401), Reply(200))
    assert (sent, answer.status) == (["Bearer t1", None], 200)


@pytest.mark.parametrize("status", [400, 403, 404, 429, 500])
async def test_an_answer_to_a_request_without_a_token_is_no_reason_for_one(status: int) -> None:
    sent, answer = await Exchange(ME).send(Reply(status, BEARER))
    assert (sent, answer.status) == ([None], status)


async def test_replaced_credentials_get_a_token_of_their_own() -> None:
    exchange = Exchange(ME)
    await exchange.send(Reply(401, BEARER), Reply(200))
    exchange.static.replace(Credentials("me", "new"))
    assert (await exchange.send(Reply(200)))[0] == ["Bearer t2"]
    assert [request.credentials for request in exchange.asked] == [ME, Credentials("me", "new")]


async def test_credentials_go_to_no_realm_of_another_domain() -> None:
    exchange = Exchange(ME)
    with pytest.raises(UpstreamBrokenError, match=r"auth\.example\.org.*not sent") as caught:
        await exchange.send(Reply(401, FOREIGN))
    assert exchange.asked == []
    assert "secret" not in str(caught.value)


async def test_credentials_go_to_a_realm_that_is_named() -> None:
    exchange = Exchange(ME, "auth.example.org")
    await exchange.send(Reply(401, FOREIGN), Reply(200))
    assert exchange.asked[0].credentials == ME


async def test_an_anonymous_token_may_come_from_elsewhere() -> None:
    exchange = Exchange()
    assert (await exchange.send(Reply(401, FOREIGN), Reply(200)))[0] == [None, "Bearer t1"]


async def test_no_token_is_asked_for_without_tls_elsewhere() -> None:
    exchange = Exchange()
    with pytest.raises(UpstreamBrokenError, match="without TLS"):
        await exchange.send(Reply(401, FOREIGN.replace("https://auth", "http://auth")))
    assert exchange.asked == []


@pytest.mark.parametrize(
    "elsewhere",
    [
        "https://cdn.example.org/blob",
        "https://registry.example.com:8443/v2/",
        "https://cdn.example.com/blob",
    ],
)
async def test_credentials_serve_no_other_origin(elsewhere: str) -> None:
    exchange = Exchange(ME)
    sent, answer = await exchange.send(Reply(401, "Basic"), url=URL(elsewhere))
    assert (sent, answer.status) == ([None], 401)
    await exchange.send(Reply(401, BEARER), Reply(200), url=URL(elsewhere))
    assert exchange.asked[-1].credentials is None


async def test_a_token_of_the_home_is_not_sent_to_another_origin() -> None:
    exchange = Exchange(ME)
    await exchange.send(Reply(401, BEARER), Reply(200))
    assert (await exchange.send(Reply(200), url=URL("https://cdn.example.org/blob")))[0] == [None]


@pytest.mark.parametrize("refusal", [Reply(401), Reply(403)])
async def test_a_named_host_that_refuses_without_a_challenge_gets_what_the_registry_demands(
    refusal: Reply,
) -> None:
    for scheme, sent in ((BEARER, "Bearer t1"), ("Basic", ME.basic())):
        exchange = Exchange(ME, "backend.example.org")
        exchange.ping = Reply(401, scheme)
        url = URL("https://backend.example.org/v2/acme/app/manifests/1")
        assert (await exchange.send(Reply(refusal.status), Reply(200), url=url))[0] == [None, sent]
        assert (await exchange.send(Reply(200), url=url))[0] == [sent]
        refused = [Reply(400), Reply(200)]
        assert (await exchange.send(*refused, url=url))[0] == [sent, None]


async def test_a_registry_that_cannot_be_asked_for_a_challenge_leaves_the_refusal() -> None:
    exchange = Exchange(ME)
    exchange.ping = Reply(200)
    assert (await exchange.send(Reply(401)))[1].status == 401
    exchange.ping = None
    assert (await exchange.send(Reply(401)))[1].status == 401


async def test_the_host_redirected_to_is_asked_with_its_own_token_where_it_is_named() -> None:
    exchange = Exchange(ME, "ghcr.io")
    challenge = 'Bearer realm="https://ghcr.io/token",service="ghcr.io",scope="repository:acme/app:pull"'
    await exchange.send(Reply(401, challenge), Reply(200), url=URL("https://ghcr.io/v2/acme/app/manifests/1"))
    assert exchange.asked[0].credentials == ME


async def test_hosts_that_redirects_lead_to_do_not_fill_the_memory() -> None:
    exchange = Exchange()
    for number in range(65):
        url = URL(f"https://cdn{number}.example.org/")
        await exchange.send(Reply(401, FOREIGN), Reply(200), url=url)
    assert (await exchange.send(Reply(200), url=URL("https://cdn0.example.org/")))[0] == [None]
    assert (await exchange.send(Reply(200), url=URL("https://cdn64.example.org/")))[0] == ["Bearer t1"]


def test_a_hostile_challenge_makes_a_short_request() -> None:
    scopes = " ".join(f"repository:acme/app{number}:pull" for number in range(10_000))
    for template in (
        challenged_scope(scopes, "acme/app"),
        pull_scope(f"repository:acme/app:pull {scopes}", "acme/app"),
    ):
        assert len("acme/app".join(template)) < 3000
