"""HTTP requests to an upstream and to the hosts that it refers to, at permitted addresses only."""

from __future__ import annotations

import asyncio
import socket
from typing import TYPE_CHECKING, Any

import aiohttp

from registry_proxy import __version__
from registry_proxy.policy.access import AddressRanges
from registry_proxy.upstream.addresses import AddressClass, classify, reached_address
from registry_proxy.upstream.base import UpstreamBrokenError, UpstreamError, UpstreamTimeoutError
from registry_proxy.upstream.failures import RedirectRefusedError, describe, reason
from registry_proxy.upstream.names import NameResolver
from registry_proxy.upstream.response import Timeouts, UpstreamResponse

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable, Mapping

    from aiohttp.abc import AbstractResolver
    from aiohttp.connector import AddrInfoType
    from yarl import URL

USER_AGENT = f"registry-proxy/{__version__}"
_MAX_HEADER = 128 * 1024  # bytes; gcr.io sends very large headers
# In bytes. asyncio receives at most this much at once; aiohttp pauses the socket when twice as much is unread.
_READ_SIZE = 256 * 1024

# Threads that look up the registry's host, and the hosts in its redirects and challenges. aiohttp has one look-up of a
# host in progress at a time.
_OWN_LOOK_UPS = 1
_OTHER_LOOK_UPS = 4


class _AddressRefusedError(OSError):
    def __init__(self, address: str, kind: AddressClass) -> None:
        super().__init__("the address is not allowed")
        self.address = address
        self.kind = kind

    @property
    def remedy(self) -> str:
        if self.kind is AddressClass.LINK_LOCAL:
            return ""
        return (
            ". If it is the registry's own storage or token service, add the address to `allow_redirects_to` of "
            f'the upstream: "{self.address}"'
        )


class _Response(aiohttp.ClientResponse):
    """A response that keeps the address of its peer after the connection has returned to the pool."""

    peer: str | None = None

    async def start(self, connection: Any) -> aiohttp.ClientResponse:
        peer = connection.transport.get_extra_info("peername") if connection.transport else None
        self.peer = peer[0] if peer else None
        return await super().start(connection)


class Transport:
    """The connections of one upstream. Create it inside the running event loop, and close it.

    The upstream's host may have any address. Other hosts, to which its redirects and challenges refer, must have a
    public address, or one of a class from which the upstream's host has responded: a registry on a private network may
    use storage there, but a public registry must not direct requests into a private network. The class is that of the
    actual peer, not of the resolved name: a hostile name server could add any address to a name. Addresses in
    `redirect_networks` are also permitted, except for link-local ones and those of metadata services.

    Proxies of the environment (HTTPS_PROXY) are not used: a proxy resolves names itself, which bypasses these checks,
    and aiohttp's `trust_env` would also send credentials of ~/.netrc.

    `received` is called with the length of each piece of a body, as it arrives.
    """

    def __init__(
        self,
        home: URL,
        *,
        timeouts: Timeouts | None = None,
        ssl_context: ssl.SSLContext | None = None,
        resolver: AbstractResolver | None = None,
        redirect_networks: AddressRanges = AddressRanges(),  # noqa: B008 - immutable
        received: Callable[[int], None] = lambda _: None,
    ) -> None:
        self._received = received
        self.home = home.origin()
        self.timeouts = timeouts or Timeouts()
        self._redirect_networks = redirect_networks
        self._peers: dict[str, AddressClass] = {}  # by address: the peers that responded for the home host
        # True: aiohttp's shared context, with the CAs of the operating system or SSL_CERT_FILE. Each further context
        # would cost 1 MB and 35 ms.
        trust = ssl_context or True
        # Names that redirects lead to must not delay the look-up of the registry itself.
        self._resolvers = [resolver or NameResolver(threads) for threads in (_OWN_LOOK_UPS, _OTHER_LOOK_UPS)]
        self._own = self._session(trust, self._resolvers[0], guarded=False)
        self._others = self._session(trust, self._resolvers[1], guarded=True)

    async def send(self, method: str, url: URL, headers: Mapping[str, str]) -> UpstreamResponse:
        """Send a request and return the response after its head, of any status. Redirects are not followed.

        Raise UpstreamError.
        """
        is_own = url.host == self.home.host
        session = self._own if is_own else self._others
        try:
            async with asyncio.timeout(self.timeouts.headers):
                response = await session.request(method, url, headers=headers, allow_redirects=False)
        except (aiohttp.ClientError, OSError, UnicodeError) as error:  # UnicodeError: invalid host names
            raise self._failure(error, method, url) from None
        if is_own and isinstance(response, _Response) and response.peer and response.peer not in self._peers:
            self._peers[response.peer] = classify(response.peer)
        return UpstreamResponse(response, self.timeouts, self._received)

    async def close(self) -> None:
        """Drop all connections."""
        await self._own.close()
        await self._others.close()
        for resolver in self._resolvers:
            await resolver.close()

    def _session(
        self, trust: ssl.SSLContext | bool, resolver: AbstractResolver, *, guarded: bool
    ) -> aiohttp.ClientSession:
        connector = aiohttp.TCPConnector(
            ssl=trust,
            resolver=resolver,
            limit=0,  # unlimited: a request that waits for a connection would look like a slow upstream
            socket_factory=self._guarded_socket if guarded else None,
        )
        return aiohttp.ClientSession(
            connector=connector,
            headers={"User-Agent": USER_AGENT, "Accept-Encoding": "identity"},
            cookie_jar=aiohttp.DummyCookieJar(),
            response_class=_Response,
            timeout=aiohttp.ClientTimeout(
                total=None, connect=self.timeouts.connect, sock_read=self.timeouts.stall
            ),
            auto_decompress=False,
            read_bufsize=_READ_SIZE,
            max_field_size=_MAX_HEADER,
        )

    def _guarded_socket(self, info: AddrInfoType) -> socket.socket:
        """Return a socket for a connection to `info`. Raise _AddressRefusedError if the address is not allowed.

        aiohttp calls it for each address, literal or resolved, of each connection.
        """
        family, kind, protocol, _, address = info
        if not self._is_allowed(str(address[0])):
            raise _AddressRefusedError(str(address[0]), classify(str(address[0])))
        return socket.socket(family, kind, protocol)

    def _is_allowed(self, address: str) -> bool:
        found = classify(address)
        if found is AddressClass.PUBLIC or found in self._peers.values():
            return True
        return found is not AddressClass.LINK_LOCAL and reached_address(address) in self._redirect_networks

    def _failure(self, error: Exception, method: str, url: URL) -> UpstreamError:
        request, is_home = describe(method, url), url.origin() == self.home
        refused = error.os_error if isinstance(error, aiohttp.ClientConnectorError) else None
        if isinstance(refused, _AddressRefusedError):
            return RedirectRefusedError(
                f"{self.home.host} refers to {url.host}, which has a {refused.kind.value} address: refused"
                f"{refused.remedy}"
            )
        if isinstance(error, aiohttp.ConnectionTimeoutError):
            text = f"{request}: no connection within {self.timeouts.connect:g} s"
            return UpstreamTimeoutError(text, concerns_registry=is_home)
        if isinstance(error, TimeoutError):
            text = f"{request}: no response within {self.timeouts.headers:g} s"
            return UpstreamTimeoutError(text, concerns_registry=is_home)
        return UpstreamBrokenError(f"{request}: {reason(error)}", concerns_registry=is_home)
