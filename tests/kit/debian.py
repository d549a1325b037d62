"""The Debian packages that the tests with real clients and servers need: `python -m tests.kit.debian`."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

_POLICY = Path("/usr/sbin/policy-rc.d")
PACKAGES = {
    "busybox-static": "the program inside the images that run",
    "caddy": "reverse proxy in front",
    "containerd": "client",
    "coreutils": "in the image that the program's own is built on",
    "crun": "podman's default for running containers",
    "dash": "in the image that the program's own is built on",
    "docker-compose": "starts the stack that is installed",
    "docker-registry": "distribution 2.8, the peer",
    "docker.io": "client",
    "iproute2": "`ip`, for the sealed network",
    "iptables": "dockerd will not start without",
    "nginx-light": "reverse proxy in front, and the benchmark's mark",
    "openssh-client": "`ssh`, to set up another machine's clients",
    "openssh-server": "the other machine",
    "openssl": "`openssl rehash`, for the sealed network's trust",
    "pebble": "Let's Encrypt's test server",
    "podman": "client",
    "python3-venv": "in the image that the program's own is built on, and the Python of an installed service",
    "runc": "runs containerd's and docker's containers",
    "skopeo": "client",
    "systemd": "checks the unit, and runs in the container in which the service is installed",
    "systemd-container": "`systemd-nspawn`, for that container",
    "util-linux": "`unshare` and `nsenter`, for the sealed network",
    "wrk": "load generator of the benchmark",
}


def missing() -> list[str]:
    """Return the packages that are not installed. A package that another one provides is not missing."""
    asked = subprocess.run(
        ["dpkg-query", "--show", "--showformat", "${db:Status-Status} ${Package}, ${Provides}\n"],
        capture_output=True,
        text=True,
        check=True,
    )
    installed = {
        name.split()[0]
        for line in asked.stdout.splitlines()
        if line.startswith("installed ")
        for name in line.removeprefix("installed ").split(",")
        if name.strip()
    }
    return sorted(PACKAGES.keys() - installed)


def install(packages: list[str]) -> None:
    """Install packages with apt-get; the package lists are fetched first.

    Raises subprocess.CalledProcessError when apt-get fails.
    """
    quiet = os.environ | {"DEBIAN_FRONTEND": "noninteractive"}
    subprocess.run(["apt-get", "update", "-qq"], check=True, env=quiet)
    with _services_stay_off():
        subprocess.run(
            ["apt-get", "install", "-qq", "--no-install-recommends", *packages], check=True, env=quiet
        )


@contextlib.contextmanager
def _services_stay_off() -> Iterator[None]:
    """Keep packages from starting their services, which the tests don't want (Debian's policy-rc.d)."""
    if _POLICY.exists():
        yield
        return
    _POLICY.write_text("#!/bin/sh\nexit 101\n")
    _POLICY.chmod(0o755)
    try:
        yield
    finally:
        _POLICY.unlink()


def main() -> int:
    """Install what is missing; return the exit status."""
    packages = missing()
    if not packages:
        return 0
    if os.geteuid() != 0:
        print("These packages are missing; as root, run:", file=sys.stderr)
        print(f"  apt-get install --no-install-recommends {' '.join(packages)}", file=sys.stderr)
        return 1
    print(f"Installing {', '.join(packages)}", flush=True)
    install(packages)
    return 0


if __name__ == "__main__":
    sys.exit(main())
