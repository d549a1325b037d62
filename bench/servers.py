"""The servers to compare. Each has the configuration with its best performance, and logs only errors."""

from __future__ import annotations

import os
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from bench.content import MANIFEST_TYPE
from bench.processes import BenchError

if TYPE_CHECKING:
    from collections.abc import Callable

    from bench.certificate import Certificate

_REGISTRY = "bench.example"


@dataclass(frozen=True, slots=True)
class Site:
    """The place of one server: an empty directory, its port, the upstream's port, and the image's tree.

    With `certificate`, the port uses TLS.
    """

    directory: Path
    port: int
    upstream_port: int
    content: Path
    certificate: Certificate | None = None


@dataclass(frozen=True, slots=True)
class Server:
    """A server: `command` writes its configuration into the site and returns the command that starts it.

    `prefix` precedes the repository in its request paths. A server that does not cache has no cold figures.
    """

    name: str
    command: Callable[[Site], list[str]]
    prefix: str = ""
    caches: bool = True


def _registry_proxy(site: Site) -> list[str]:
    config = site.directory / "registry-proxy.toml"
    address = f'["127.0.0.1:{site.port}"]'
    tls = ""
    if site.certificate:
        tls = f"""\
[tls]
listen = {address}
http = []
cert = ["{site.certificate.chain}"]
key = ["{site.certificate.key}"]
"""
    config.write_text(f"""\
[server]
listen = {"[]" if tls else address}
workers = 1
{tls}
[storage]
path = "{site.directory / "store"}"
[upstreams.bench]
registry = "{_REGISTRY}"
url = "http://127.0.0.1:{site.upstream_port}"
""")
    return [_program(str(Path(sys.executable).parent / "registry-proxy")), "serve", "--config", str(config)]


def _docker_registry(site: Site) -> list[str]:
    tls = ""
    if site.certificate:
        tls = f"\n  tls:\n    certificate: {site.certificate.chain}\n    key: {site.certificate.key}"
    config = site.directory / "config.yml"
    config.write_text(f"""\
version: 0.1
log:
  level: error
  accesslog:
    disabled: true
storage:
  cache:
    blobdescriptor: inmemory
  filesystem:
    rootdirectory: {site.directory / "store"}
http:
  addr: 127.0.0.1:{site.port}{tls}
proxy:
  remoteurl: http://127.0.0.1:{site.upstream_port}
""")
    return [_program("docker-registry"), "serve", str(config)]


def _nginx(site: Site) -> list[str]:
    temporary = "\n".join(
        f"  {module}_temp_path {site.directory / module};"
        for module in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    tls = ""
    if site.certificate:
        tls = f"ssl_certificate {site.certificate.chain}; ssl_certificate_key {site.certificate.key};"
    user = "user root;" if os.geteuid() == 0 else ""  # otherwise its worker cannot read the tree
    config = site.directory / "nginx.conf"
    config.write_text(f"""\
{user}
daemon off;
worker_processes 1;
pid {site.directory / "nginx.pid"};
error_log stderr error;
events {{ worker_connections 256; }}
http {{
{temporary}
  access_log off;
  sendfile on;
  tcp_nopush on;
  keepalive_requests 1000000000;
  default_type application/octet-stream;
  server {{
    listen 127.0.0.1:{site.port}{" ssl" if tls else ""};
    {tls}
    root {site.content};
    location ~ /manifests/ {{ default_type {MANIFEST_TYPE}; }}
  }}
}}
""")
    return [_program("nginx"), "-e", "stderr", "-c", str(config)]


def _program(name: str) -> str:
    found = shutil.which(name, path=f"{os.environ.get('PATH', os.defpath)}:/usr/sbin")
    if found is None:
        raise BenchError(f"{name} is not installed; on Debian: apt-get install docker-registry nginx")
    return found


OURS = Server("registry-proxy", _registry_proxy, prefix=f"{_REGISTRY}/")
DOCKER_REGISTRY = Server("docker-registry", _docker_registry)
NGINX = Server("nginx", _nginx, caches=False)
SERVERS = (OURS, DOCKER_REGISTRY, NGINX)
