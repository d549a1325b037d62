"""Docker Compose itself: what runs of a stack, and steps that start and stop it."""

from __future__ import annotations

import shutil
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from registry_proxy.commands.install.commands import Command, run, succeeds
from registry_proxy.commands.install.plan import Change, Done, InstallError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from registry_proxy.commands.install.stack import Service

# Labels that every version of Compose gives its containers.
_LABEL = "com.docker.compose"
_READY_WITHIN = 90.0  # seconds
_TITLE = "org.opencontainers.image.title=registry-proxy"


@dataclass(frozen=True, slots=True)
class Docker:
    """The daemon, by its command `docker`, and the stack in `folder`, by `compose`."""

    folder: Path
    compose: tuple[str, ...]

    @classmethod
    def find(cls, folder: Path) -> Docker:
        """Raises InstallError when it isn't installed, or the daemon can't be reached."""
        if shutil.which("docker") is None:
            raise InstallError(
                "docker isn't installed. Install docker.io and docker-compose, or use --no-start."
            )
        if succeeds(["docker", "compose", "version"]):
            compose: tuple[str, ...] = ("docker", "compose")
        elif shutil.which("docker-compose"):
            compose = ("docker-compose",)
        else:
            raise InstallError("Docker Compose isn't installed. Install docker-compose, or use --no-start.")
        try:
            run(["docker", "version", "--format", "{{.Server.Version}}"])
        except InstallError as error:
            raise InstallError(
                f"Docker's daemon can't be reached. Start it (systemctl start docker), be in the group docker, "
                f"or use --no-start.\n{error}"
            ) from None
        return cls(folder, compose)

    def containers(self, *, running: bool = True) -> dict[str, str]:
        """The stack's containers: their names by those of their services."""
        everything = [] if running else ["--all"]
        where = ["--filter", f"label={_LABEL}.project.working_dir={self.folder}"]
        format_ = f'{{{{.Label "{_LABEL}.service"}}}} {{{{.Names}}}}'
        lines = run(["docker", "ps", *everything, *where, "--format", format_]).splitlines()
        return dict(line.split(" ", 1) for line in lines)

    def command(self, *arguments: str) -> list[str]:
        """A command line of Compose; it goes by the folder in which it runs."""
        return [*self.compose, *arguments]

    def build(self) -> Command:
        """A step: the image is built."""
        return Command(self.command("build"), folder=self.folder, streamed=True)

    def check(self) -> Command:
        """A step: Compose understands the file."""
        return Command(self.command("config", "--quiet"), folder=self.folder)

    def down(self, *, purge: bool) -> Command:
        """A step: the containers go, and with `purge` their volumes."""
        volumes = ["--volumes"] if purge else []
        undo = () if purge else self.command("up", "--detach")
        return Command(self.command("down", *volumes, "--remove-orphans"), undo, self.folder, streamed=True)


@dataclass(frozen=True, slots=True)
class StackBefore:
    """The first step: it changes nothing, but when all is taken back the stack runs again as it did."""

    docker: Docker

    def change(self) -> None:
        """Nothing."""

    def apply(self) -> Done:
        """Remember whether it runs."""
        if not self.docker.containers():
            return Done()
        up = self.docker.command("up", "--detach", "--remove-orphans")
        return Done(undo=lambda: run(up, folder=self.docker.folder, streamed=True))


@dataclass(frozen=True, slots=True)
class StartedStack:
    """A step: all containers run and serve."""

    docker: Docker
    services: Sequence[Service]

    def change(self) -> Change:
        """The command."""
        return Change("run", " ".join(self.docker.command("up", "--detach", "--remove-orphans")))

    def apply(self) -> Done:
        """Start them, and wait until each one serves."""
        try:
            up = self.docker.command("up", "--detach", "--remove-orphans")
            run(up, folder=self.docker.folder, streamed=True)
            deadline = time.monotonic() + _READY_WITHIN
            for service in self.services:
                self._wait(service, deadline)
        except BaseException:
            self._down()
            raise
        return Done(undo=self._down)

    def _wait(self, service: Service, deadline: float) -> None:
        container = self.docker.containers(running=False).get(service.name)
        if container is None:
            raise InstallError(
                f"{service.name}: no container was made; COMPOSE_PROFILES in .env may leave it out."
            )
        while not succeeds(["docker", "exec", container, *service.probe]):
            state = run(
                ["docker", "inspect", "--format", "{{.State.Status}} {{.RestartCount}}", container]
            ).strip()
            if state != "running 0" or time.monotonic() > deadline:
                log = run(["docker", "logs", "--tail", "20", container], merged=True)
                raise InstallError(
                    f"{service.name} doesn't serve ({state}). The end of its log:\n{log.rstrip()}"
                )
            time.sleep(0.3)

    def _down(self) -> None:
        run(self.docker.command("down", "--remove-orphans"), folder=self.docker.folder, streamed=True)


@dataclass(frozen=True, slots=True)
class RemovedImages:
    """A step: the images that were built go, where nothing else uses them."""

    def change(self) -> Change | None:
        """The images."""
        images = self._images()
        return Change("remove", f"image {', '.join(images)}") if images else None

    def apply(self) -> Done:
        """At the end: to build them again takes long."""
        return Done(commit=lambda: [succeeds(["docker", "image", "rm", image]) for image in self._images()])

    def _images(self) -> list[str]:
        names = run(
            ["docker", "image", "ls", "--filter", f"label={_TITLE}", "--format", "{{.Repository}}:{{.Tag}}"]
        )
        return sorted(name for name in names.splitlines() if name.startswith("registry-proxy:"))
