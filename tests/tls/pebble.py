"""pebble, Let's Encrypt's test server: a real ACME authority in a sealed network."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Self

from tests.kit.processes import CommandError, Daemon, run

if TYPE_CHECKING:
    from pathlib import Path
    from types import TracebackType

    import trustme
    from tests.kit.certificates import Authority
    from tests.kit.sealed import SealedNetwork

NAME, ADDRESS = "acme.example.com", "127.30.0.1"
DIRECTORY = f"https://{NAME}:14000/dir"
LIMITED_DIRECTORY = f"https://{NAME}:14001/dir"
KEY_IDENTIFIER, HMAC_KEY = "kid-1", "zWNDZM6eQGHWpSRTPal5eIUYFTu7EajVIoguysqZ9wG44nMEtx3MUAsUDkMTQ12W"


class Pebble:
    """Validates names by the network's own addresses, ports 80 and 443.

    One nonce in ten is refused. Five refusals in a row fail an order, and one in five would make them likely.

    Its own certificate is of `authority`. It forgets everything at its end, its root certificate too.
    """

    def __init__(
        self,
        network: SealedNetwork,
        folder: Path,
        authority: Authority,
        *,
        lifetime: int = 90 * 86400,
        external_accounts: bool = False,
    ) -> None:
        self._network = network
        self.log = folder / "pebble.log"
        self._config = folder / "pebble.json"
        certificate = authority.ca.issue_cert(NAME)
        _write(certificate, folder)
        settings = {
            "listenAddress": f"{ADDRESS}:14000",
            "managementListenAddress": f"{ADDRESS}:15000",
            "certificate": str(folder / "pebble.pem"),
            "privateKey": str(folder / "pebble.key"),
            "httpPort": 80,
            "tlsPort": 443,
            "certificateValidityPeriod": lifetime,
            "externalAccountBindingRequired": external_accounts,
            "externalAccountMACKeys": {KEY_IDENTIFIER: HMAC_KEY},
        }
        self._config.write_text(json.dumps({"pebble": settings}))

    def __enter__(self) -> Self:
        quick = {"PEBBLE_VA_NOSLEEP": "1", "PEBBLE_WFE_NONCEREJECT": "10", "PEBBLE_AUTHZREUSE": "0"}
        command = ["pebble", "-config", str(self._config)]
        self._daemon = Daemon.started(self._network, command, self.log, self._answers, env=quick)
        self.root = self._get("roots/0")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, problem: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._daemon.stop()

    @property
    def orders(self) -> int:
        """How many orders were placed."""
        return self.log.read_text().count(" orders in the db")

    @property
    def accounts(self) -> int:
        """How many accounts were made."""
        return self.log.read_text().count(" accounts in memory")

    def _answers(self) -> bool:
        try:
            return bool(self._get("roots/0"))
        except CommandError:
            return False

    def _get(self, path: str) -> str:
        return run(self._network, ["curl", "-fsS", f"https://{NAME}:15000/{path}"])


def limited(network: SealedNetwork, folder: Path, missing: str) -> Daemon:
    """Start nginx as a front of a started pebble at LIMITED_DIRECTORY, which does not offer the challenge `missing`."""
    temporary = "".join(
        f"{module}_temp_path {folder}/{module};\n"
        for module in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    (folder / "limited.conf").write_text(f"""\
user root; daemon off; pid {folder}/limited.pid; events {{}}
http {{
access_log off;
{temporary}
server {{
    listen {ADDRESS}:14001 ssl;
    ssl_certificate {folder}/pebble.pem;
    ssl_certificate_key {folder}/pebble.key;
    location / {{
        proxy_pass https://{ADDRESS}:14000;
        proxy_set_header Host $http_host;
        sub_filter_types *;
        sub_filter '"{missing}"' '"not-offered-01"';
    }}
}}
}}
""")
    command = ["/usr/sbin/nginx", "-e", "stderr", "-c", str(folder / "limited.conf")]

    def responds() -> bool:
        try:
            run(network, ["curl", "-fsS", LIMITED_DIRECTORY])
        except CommandError:
            return False
        return True

    return Daemon.started(network, command, folder / "limited.log", responds)


def _write(certificate: trustme.LeafCert, folder: Path) -> None:
    certificate.private_key_pem.write_to_path(folder / "pebble.key")
    certificate.cert_chain_pems[0].write_to_path(folder / "pebble.pem")
