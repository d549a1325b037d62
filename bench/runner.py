"""The rounds of a run: each starts every server once, with an empty store, in another order."""

from __future__ import annotations

import os
import sys
from http.client import HTTPException
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from bench.certificate import Certificate, make_certificate
from bench.content import Image, request_path, write_image
from bench.download import download
from bench.figures import DIRECT, Results
from bench.measures import MEASURES, Plan, Session, idle_memory, is_under_tls, measures_of, peak_memory
from bench.processes import BenchError, end_of, free_port, running, usage
from bench.servers import Server, Site

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

_PROJECT = Path(__file__).parents[1]


class Runner:
    """One run of `measures` on `servers`. `progress` is called before each step."""

    def __init__(
        self, servers: Sequence[Server], measures: Sequence[str], plan: Plan, progress: Callable[[str], None]
    ) -> None:
        self._servers = servers
        self._measures = measures
        self._plan = plan
        self._results = Results()
        self._certificate: Certificate | None = None
        self._progress = progress

    @property
    def steps(self) -> int:
        """The number of steps that `run` reports."""
        per_round = sum(
            1 + len(measures_of(server, names)) for server in self._servers for names in self._visits
        )
        return 1 + self._plan.rounds * (per_round + ("cold" in self._measures))

    def run(self) -> Results:
        """Return the results of all measures. Raise BenchError if a measurement fails.

        This process and the upstream leave one core to the servers.
        """
        server_core = _leave_a_core_to_the_servers()
        begin = usage()
        with TemporaryDirectory(prefix="registry-proxy-bench-") as name:
            directory = Path(name)
            self._progress("writing the image")
            image = write_image(directory / "content", self._plan.layer_size)
            self._certificate = make_certificate(directory)
            port = free_port()
            command = [sys.executable, "-m", "bench.upstream", "--root", str(image.root), "--port", str(port)]
            with running(command, port, directory / "upstream.log", directory=_PROJECT):
                for number in range(self._plan.rounds):
                    self._round(number, image, port, directory, server_core)
        self._results.others_share = usage().others_share(begin)
        return self._results

    def _round(self, number: int, image: Image, upstream_port: int, directory: Path, core: int) -> None:
        title = f"round {number + 1} of {self._plan.rounds}"
        if "cold" in self._measures:
            self._progress(f"{title}: direct download")
            layer = image.cold_layer
            seconds = download(upstream_port, request_path(layer.blob_path), layer.size)
            self._results.add(DIRECT, "cold", {"wall": seconds})
        first = number % len(self._servers)
        for server in (*self._servers[first:], *self._servers[:first]):
            for names in self._visits:
                with TemporaryDirectory(dir=directory) as name:
                    os.sync()  # otherwise the disk is still writing the data of the previous server
                    certificate = self._certificate if is_under_tls(names[0]) else None
                    site = Site(Path(name), free_port(), upstream_port, image.root, certificate)
                    self._visit(server, names, site, image, core, title)

    @property
    def _visits(self) -> list[list[str]]:
        """The measures per start of a server: without TLS, and with TLS."""
        plain = [name for name in self._measures if not is_under_tls(name)]
        tls = [name for name in self._measures if is_under_tls(name)]
        return [names for names in (plain, tls) if names]

    def _visit(
        self, server: Server, names: Sequence[str], site: Site, image: Image, core: int, title: str
    ) -> None:
        log = site.directory / "server.log"
        with running(server.command(site), site.port, log, core=core) as pid:
            tls = site.certificate.client if site.certificate else None
            memory = "tls-memory" if tls else "memory"
            session = Session(server, pid, site.port, site.upstream_port, image, self._plan, tls)
            self._progress(f"{title}: {server.name}, idle memory")
            self._results.add(server.name, memory, idle_memory(session))
            for name in measures_of(server, names):
                self._progress(f"{title}: {server.name}, {name}")
                try:
                    figures = MEASURES[name](session)
                except (OSError, HTTPException, BenchError) as error:
                    raise BenchError(f"{server.name}, {name}: {error}\n{end_of(log)}") from error
                self._results.add(server.name, name, figures)
            self._results.add(server.name, memory, peak_memory(session))


def _leave_a_core_to_the_servers() -> int:
    server_core, *others = sorted(os.sched_getaffinity(0))
    if not others:
        raise BenchError(
            "only one core is available: the benchmark requires one for the server and one for the load"
        )
    os.sched_setaffinity(0, others)
    return server_core
