"""A whole upstream on loopback: registry, token server and storage, each an origin of its own."""

from __future__ import annotations

import dataclasses
import time
from typing import TYPE_CHECKING, Self

from aiohttp import web
from tests.kit.auth import Gatekeeper
from tests.kit.content import Contents, Pushable, Repository
from tests.kit.edge import Edge, Pace
from tests.kit.faults import Armed, Fault, FaultBook
from tests.kit.journal import Journal, Request
from tests.kit.profiles import Profile, profile
from tests.kit.registry import Registry
from tests.kit.waiting import TIMEOUT
from tests.kit.wire import Call, Kind, Reply, Role, Target, error

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable, Iterable, Mapping
    from contextlib import AbstractAsyncContextManager
    from types import TracebackType


@dataclasses.dataclass(frozen=True, slots=True)
class Place:
    """Where a server listens. Port 0 is any free one; a `name` stands in addresses instead of both."""

    address: str = "127.0.0.1"
    port: int = 0
    name: str = ""

    def base(self, scheme: str) -> str:
        """Return the address that clients use."""
        return f"{scheme}://{self.name or f'{self.address}:{self.port}'}"


class SimulatedUpstream:
    """One registry that behaves as its profile says; an async context manager, restartable on its ports.

    `changes` replace fields of the profile: `SimulatedUpstream("dockerhub", ranges=False)`.
    """

    def __init__(
        self,
        kind: str | Profile = "plain",
        *,
        contents: Contents | None = None,
        places: Mapping[Role, Place] | None = None,
        tls: ssl.SSLContext | None = None,
        clock: Callable[[], float] = time.monotonic,
        **changes: object,
    ) -> None:
        base = profile(kind) if isinstance(kind, str) else kind
        self.profile: Profile = dataclasses.replace(base, **changes)  # type: ignore[arg-type]
        self.contents = contents or Contents()
        self.journal = Journal()
        self.faults = FaultBook()
        self.pace = Pace()
        self.gatekeeper = Gatekeeper(self.profile, self.contents, clock)
        self.registry = Registry(self.profile, self.contents, self.gatekeeper, clock)
        self._tls = tls
        self._places: dict[Role, Place] = {role: (places or {}).get(role, Place()) for role in self._roles()}
        self._runners: list[web.ServerRunner] = []

    @property
    def scheme(self) -> str:
        """http or https."""
        return "https" if self._tls else "http"

    @property
    def url(self) -> str:
        """Base address of the registry."""
        return self.base("registry")

    @property
    def host(self) -> str:
        """Name or address and port of the registry, as in an image reference."""
        return self.url.partition("://")[2]

    @property
    def requests(self) -> list[Request]:
        """Every request to any of the servers, in order."""
        return self.journal.requests

    def base(self, role: Role) -> str:
        """Base address of one of the servers."""
        return self._places[role].base(self.scheme)

    # What it holds

    def push(self, repository: str, pushed: Pushable, *tags: str) -> Repository:
        """Store an image, index or artifact."""
        held = self.contents.repository(repository)
        held.push(pushed, *tags)
        return held

    def add_user(self, user: str, password: str) -> None:
        """Let someone log in."""
        self.contents.users[user] = password

    def make_private(self, repository: str, *users: str) -> None:
        """Let nobody but `users` pull from a repository."""
        self.contents.repository(repository, private_to=users)

    def kill_tokens(self, *, status: int = 401, challenge: bool = True) -> None:
        """Let every token issued so far die early."""
        self.gatekeeper.kill_tokens(status=status, challenge=challenge)

    # What was asked

    def count(self, method: str | None = None, kind: Kind | None = None, reference: str | None = None) -> int:
        """Count requests.

        Kind `blob` is a request for the bytes, wherever they are; `redirect` one that only led there.
        """
        return len(self.journal.select(method, kind, reference))

    def transfers(self, digest: str) -> int:
        """Count the transfers of a blob that began: answers that sent at least a byte of it."""
        return sum(each.is_transfer for each in self.journal.select("GET", "blob", digest))

    async def until(self, condition: Callable[[], bool], *, seconds: float = TIMEOUT) -> None:
        """Wait until a condition on this upstream's log holds; see `Journal.until`."""
        await self.journal.until(condition, seconds=seconds)

    # What goes wrong

    def arm(
        self,
        kind: Kind,
        *faults: Fault,
        method: str | None = None,
        repository: str | None = None,
        reference: str | None = None,
        times: int | None = 1,
    ) -> Armed:
        """Arm faults; see `FaultBook.arm`."""
        return self.faults.arm(
            kind, *faults, method=method, repository=repository, reference=reference, times=times
        )

    def gate(
        self, kind: Kind, *, after: int = 0, method: str | None = None, reference: str | None = None
    ) -> AbstractAsyncContextManager[Armed]:
        """Hold transfers; see `FaultBook.gate`."""
        return self.faults.gate(kind, after=after, method=method, reference=reference)

    # Running

    async def start(self) -> None:
        """Listen; after a `stop()`, on the same ports."""
        for role in self._roles():
            await self._listen(role, self._edge(role))
        self.registry.base = self.base("registry")
        self.registry.storage_base = self.base("storage") if "storage" in self._places else ""
        self.registry.backend_base = self.base("backend") if "backend" in self._places else ""
        hosts: dict[str, Role] = {
            self.profile.token_host: "token",
            self.profile.backend_host: "backend",
            "": "registry",
        }
        token_base = self.base(hosts[self.profile.token_host])
        self.gatekeeper.realm = token_base + self.profile.token_path

    async def stop(self) -> None:
        """Cut every connection and refuse new ones."""
        runners, self._runners = self._runners, []
        for runner in runners:
            await runner.cleanup()

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, problem: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.faults.clear()
        await self.stop()

    def _roles(self) -> Iterable[Role]:
        yield "registry"
        if self.profile.token_host not in ("", self.profile.backend_host):
            yield "token"
        if self.profile.storage_host:
            yield "storage"
        if self.profile.backend_host:
            yield "backend"

    def _edge(self, role: Role) -> Edge:
        where, what = {
            "registry": (self.registry.locate, self._or_token(self.registry.answer)),
            "token": (self._locate_token, self._answer_token),
            "storage": (self.registry.locate_object, self.registry.answer_object),
            "backend": (self.registry.locate_backend, self._or_token(self.registry.answer_backend)),
        }[role]
        return Edge(role, where, what, self.journal, self.faults, self.pace)

    async def _listen(self, role: Role, edge: Edge) -> None:
        place = self._places[role]
        server = web.Server(edge.handle, handler_cancellation=True, max_field_size=1 << 17)
        runner = web.ServerRunner(server, shutdown_timeout=0.01)  # 0 would wait for ever
        await runner.setup()
        self._runners.append(runner)
        site = web.TCPSite(runner, place.address, place.port, ssl_context=self._tls)
        await site.start()
        self._places[role] = dataclasses.replace(place, port=runner.addresses[0][1])

    def _locate_token(self, call: Call) -> Target:
        return Target("token" if call.path == self.profile.token_path else "other", reference="token")

    def _answer_token(self, call: Call, target: Target) -> Reply:
        if target.kind != "token":
            return error(404, "NOT_FOUND", "page not found")
        return self.gatekeeper.issue(call, call.query.getall("scope", []))

    def _or_token(self, answer: Callable[[Call, Target], Reply]) -> Callable[[Call, Target], Reply]:
        return lambda call, target: (self._answer_token if target.kind == "token" else answer)(call, target)
