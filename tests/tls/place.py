"""The server under test in a sealed network, with TLS on the real ports of its host names."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from tests.e2e.program import RegistryProxy
from tests.tls.visitor import Answer, Shown, client_context, get, visit

if TYPE_CHECKING:
    import ssl
    from pathlib import Path

    from cryptography import x509
    from tests.kit.sealed import SealedNetwork

ADDRESS = "127.20.0.1"
HUB, GHCR, ONE = "hub.example.com", "ghcr.example.com", "registry.example.com"
NAMES = dict.fromkeys((HUB, GHCR, ONE, "other.example.com"), ADDRESS)
# A name that leads elsewhere, where nothing listens.
ASTRAY = "astray.example.com"


class TlsServer(RegistryProxy):
    """`registry-proxy serve` on 127.20.0.1, ports 443 and 80; `root` is what its clients trust."""

    def __init__(self, network: SealedNetwork, folder: Path, root: str, **settings: str) -> None:
        places = {"tls_listen": f"{ADDRESS}:443", "tls_http": f"{ADDRESS}:80"}
        super().__init__(network, folder, **places | settings)
        self._sealed = network
        self.trust = client_context(root)

    def visit(self, hostname: str, context: ssl.SSLContext | None = None) -> Shown:
        """Shake hands; raises ssl.SSLError when the client would not trust it."""
        return visit(self._sealed.connect((ADDRESS, 443)), hostname, context or self.trust)

    def secure(self, hostname: str, path: str = "/v2/") -> Answer:
        """Get a path over TLS."""
        return get(self._sealed.connect((ADDRESS, 443)), hostname, path, self.trust)

    def plain(self, hostname: str, path: str = "/v2/") -> Answer:
        """Get a path from port 80."""
        return get(self._sealed.connect((ADDRESS, 80)), hostname, path)

    def shown(self, hostname: str) -> x509.Certificate | None:
        """The certificate that a client of `hostname` trusts; None where there is none."""
        try:
            return self.visit(hostname).certificate
        except OSError:
            return None

    def serves(self, hostname: str) -> bool:
        """Whether there is a certificate for `hostname`."""
        return self.shown(hostname) is not None

    def wait_for(self, *hostnames: str) -> None:
        """Wait until there is a certificate for each."""
        for hostname in hostnames:
            self.wait_until(partial(self.serves, hostname))

    def logged(self, text: str) -> int:
        """How often the log has `text`."""
        return self.log.read_text().count(text)
