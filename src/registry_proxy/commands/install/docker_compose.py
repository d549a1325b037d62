"""Docker Compose: the running containers of a stack, and steps that start and stop them."""

from __future__ import annotations

import shutil
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from registry_proxy.commands.changes.plan import Change, ChangeError, Done
from registry_proxy.commands.install.processes import RunCommand, run, succeeds

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from registry_proxy.commands.install.stack import Service

# Prefix of the labels that every version of Compose sets on its containers.
_LABEL = "com.docker.compose"
_READY_TIMEOUT = 90.0  # seconds
_TITLE = "org.opencontainers.image.title=registry-proxy"


def subnets_of(network: str) -> tuple[str, ...]:
    """Return the subnets of a network, none if Docker does not know it or does not run."""
    subnets = "{{range .IPAM.Config}}{{.Subnet}} {{end}}"
    try:
        return tuple(run(["docker", "network", "inspect", "--format", subnets, network]).split())
    except ChangeError:
        return ()


@dataclass(frozen=True, slots=True)
class Docker:
    """The Docker daemon, and the stack in `directory`. `compose` is the command of Compose."""

    directory: Path
    compose: tuple[str, ...]

    @classmethod
    def find(cls, directory: Path) -> Docker:
        """Find the programs and connect to the daemon. Raise ChangeError if one of them is unavailable."""
        if shutil.which("docker") is None:
            raise ChangeError(
                "docker isn't installed. Install docker.io and docker-compose, or use --no-start."
            )
        if succeeds(["docker", "compose", "version"]):
            compose: tuple[str, ...] = ("docker", "compose")
        elif shutil.which("docker-compose"):
            compose = ("docker-compose",)
        else:
            raise ChangeError("Docker Compose isn't installed. Install docker-compose, or use --no-start.")
        try:
            run(["docker", "version", "--format", "{{.Server.Version}}"])
        except ChangeError as error:
            raise ChangeError(
                "can't connect to the Docker daemon. Start it (systemctl start docker), add your user to the group "
                f"docker, or use --no-start.\n{error}"
            ) from None
        return cls(directory, compose)

    def containers(self, *, running: bool = True) -> dict[str, str]:
        """Return the names of the stack's containers by their services."""
        everything = [] if running else ["--all"]
        where = ["--filter", f"label={_LABEL}.project.working_dir={self.directory}"]
        format_ = f'{{{{.Label "{_LABEL}.service"}}}} {{{{.Names}}}}'
        lines = run(["docker", "ps", *everything, *where, "--format", format_]).splitlines()
        return dict(line.split(" ", 1) for line in lines)

    def command(self, *arguments: str) -> list[str]:
        """Return a command line of Compose, which finds the stack by its working directory."""
        return [*self.compose, *arguments]

    def build(self) -> RunCommand:
        """Return the step that builds the image."""
        return RunCommand(self.command("build"), directory=self.directory, streamed=True)

    def check(self) -> RunCommand:
        """Return the step that has Compose check the file."""
        return RunCommand(self.command("config", "--quiet"), directory=self.directory)

    def check_configuration(self, service: Service) -> RunCommand:
        """Return the step that checks the configuration in a container next to the running one."""
        once = self.command("run", "--rm", "--no-deps", "-T", service.name, *service.check)
        return RunCommand(once, directory=self.directory)

    def down(self, *, purge: bool) -> RunCommand:
        """Return the step that removes the containers, and with `purge` their volumes."""
        volumes = ["--volumes"] if purge else []
        undo = () if purge else self.command("up", "--detach")
        return RunCommand(
            self.command("down", *volumes, "--remove-orphans"), undo, self.directory, streamed=True
        )


@dataclass(frozen=True, slots=True)
class RestoreStack:
    """Opening step without a change: if the plan is undone, the stack runs again as before."""

    docker: Docker

    def changes(self) -> list[Change]:
        return []

    def apply(self) -> Done:
        """Record whether the stack runs."""
        if not self.docker.containers():
            return Done()
        up = self.docker.command("up", "--detach", "--remove-orphans")
        return Done(undo=lambda: run(up, directory=self.docker.directory, streamed=True))


@dataclass(frozen=True, slots=True)
class StartStack:
    """Start all containers and wait until they serve."""

    docker: Docker
    services: Sequence[Service]

    def changes(self) -> list[Change]:
        return [Change("run", " ".join(self.docker.command("up", "--detach", "--remove-orphans")))]

    def apply(self) -> Done:
        """Start them; remove them again if one does not serve in time."""
        try:
            up = self.docker.command("up", "--detach", "--remove-orphans")
            run(up, directory=self.docker.directory, streamed=True)
            deadline = time.monotonic() + _READY_TIMEOUT
            for service in self.services:
                self._wait(service, deadline)
        except BaseException:
            self._down()
            raise
        return Done(undo=self._down)

    def _wait(self, service: Service, deadline: float) -> None:
        container = self.docker.containers(running=False).get(service.name)
        if container is None:
            raise ChangeError(
                f"{service.name}: Compose created no container. Check COMPOSE_PROFILES in .env, which may exclude it."
            )
        while not succeeds(["docker", "exec", container, *service.probe]):
            state = run(
                ["docker", "inspect", "--format", "{{.State.Status}} {{.RestartCount}}", container]
            ).strip()
            if state != "running 0" or time.monotonic() > deadline:
                log = run(["docker", "logs", "--tail", "20", container], merged=True)
                raise ChangeError(
                    f"{service.name} doesn't serve ({state}). The end of its log:\n{log.rstrip()}"
                )
            time.sleep(0.3)

    def _down(self) -> None:
        run(self.docker.command("down", "--remove-orphans"), directory=self.docker.directory, streamed=True)


@dataclass(frozen=True, slots=True)
class RemoveImages:
    """Remove the images that were built, except those that another container uses."""

    def changes(self) -> list[Change]:
        """Return the images."""
        images = self._images()
        return [Change("remove", f"image {', '.join(images)}")] if images else []

    def apply(self) -> Done:
        """Remove them on commit: building them again takes long."""
        return Done(commit=lambda: [succeeds(["docker", "image", "rm", image]) for image in self._images()])

    def _images(self) -> list[str]:
        names = run(
            ["docker", "image", "ls", "--filter", f"label={_TITLE}", "--format", "{{.Repository}}:{{.Tag}}"]
        )
        return sorted(name for name in names.splitlines() if name.startswith("registry-proxy:"))
