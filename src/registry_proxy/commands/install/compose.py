"""A Compose stack beside the configuration: the file, the image it is built from, and the running containers."""

from __future__ import annotations

import hashlib
import os
import stat
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from registry_proxy import __version__
from registry_proxy.commands.install import registry2
from registry_proxy.commands.install.configuration import (
    Configuration,
    check_addresses,
    variables_left_behind,
)
from registry_proxy.commands.install.docker import Docker, RemovedImages, StackBefore, StartedStack
from registry_proxy.commands.install.dotenv import for_compose
from registry_proxy.commands.install.files import (
    MadeFolder,
    NumericOwner,
    RemovedFile,
    RemovedTree,
    WrittenFile,
)
from registry_proxy.commands.install.plan import InstallError, Plan, Step
from registry_proxy.commands.install.program import checkout
from registry_proxy.commands.install.stack import (
    PROJECT,
    Choices,
    Stack,
    host_addresses,
    make_stack,
    plain_addresses,
)
from registry_proxy.commands.install.systemd import STATE, STORE_ENTRIES
from registry_proxy.commands.install.templates import render
from registry_proxy.config.load import default_storage_path

if TYPE_CHECKING:
    from collections.abc import Iterator

FILE = "docker-compose.yaml"
# The user of the image, where the folder is root's; else its owner, who can read what is in it.
_IMAGE_USER = (10001, 10001)
_MARK = b"# Made by `registry-proxy install compose`"
_NEW_DOTENV = "# Variables of the containers: REGISTRY_PROXY_… as docs/configuration.md names them.\n"

ENGINES = ("registry-proxy", "registry2")


@dataclass(frozen=True, slots=True)
class ComposeOptions:
    """What can be chosen beside what is in the file. `image`: one that is there already, instead of building one."""

    config: Path | None
    choices: Choices
    engine: str = ENGINES[0]
    image: str | None = None
    base: str | None = None
    start: bool = True


@dataclass(frozen=True, slots=True)
class Build:
    """What the image is built from."""

    context: str
    base: str | None


def install(options: ComposeOptions) -> Plan:
    """What makes the stack what it shall be. Raises InstallError, ConfigError."""
    configuration = Configuration.read(options.config)
    folder = _folder(options.config)
    docker = Docker.find(folder) if options.start else None
    stack = _stack(options, configuration, folder)
    running = docker.containers().keys() if docker else set()
    wanted = {service.name for service in stack.services}
    if docker and not running:
        check_addresses(host_addresses(configuration, stack.choices))
    build = _build(options)
    return Plan(
        steps=list(_files(options, configuration, folder, stack, build)),
        opening=[StackBefore(docker)] if docker else [],
        closing=_closing(docker, stack, build),
        due=docker is not None and not wanted <= running,
        warnings=(registry2.GIVEN_UP,) if options.engine == "registry2" else _warnings(configuration),
        remarks=(*variables_left_behind(os.environ), *_remarks(options, configuration, folder, stack)),
    )


def uninstall(config: Path | None, *, purge: bool) -> Plan:
    """What removes the stack; `purge`: and what is cached. The configuration stays, it was there before."""
    folder = _folder(config)
    file, dotenv = folder / FILE, folder / ".env"
    if not file.exists():
        return Plan([])
    if not file.read_bytes().startswith(_MARK):
        raise InstallError(f"{file} wasn't made by `registry-proxy install compose`, so it isn't removed.")
    docker = Docker.find(folder)
    steps: list[Step] = [docker.down(purge=purge), RemovedFile(file), RemovedTree(folder / registry2.FOLDER)]
    if dotenv.exists() and dotenv.read_text("utf-8").startswith(_NEW_DOTENV):
        steps.append(RemovedFile(dotenv))
    steps.append(RemovedImages())
    if not purge:
        return Plan(
            steps, remarks=("The configuration and what is cached stay; --purge removes what is cached.",)
        )
    store = Configuration.read(config).settings.storage.path
    return Plan([*steps, *([] if _is_default(store) else [RemovedTree(store, only=STORE_ENTRIES)])])


def _folder(config: Path | None) -> Path:
    return (config.parent if config else Path.cwd()).resolve()


def _is_default(store: Path) -> bool:
    """Whether the store is where it is without being told: then a volume takes its place."""
    return store in (STATE, default_storage_path({"HOME": os.environ.get("HOME", "/")}))


def _stack(options: ComposeOptions, configuration: Configuration, folder: Path) -> Stack:
    found = folder.stat()
    identity = (found.st_uid, found.st_gid) if found.st_uid else None
    choices = replace(options.choices, identity=identity)
    if options.engine == "registry2":
        # The image's own user is root, without the right to pass over permissions.
        stack = registry2.make_stack(configuration, replace(choices, per_registry=True, identity=None))
        _check_files(configuration, (0, 0))
        return stack
    named_volume = _is_default(configuration.settings.storage.path)
    stack = make_stack(configuration, choices, named_volume=named_volume)
    _check_files(configuration, identity or _IMAGE_USER)
    return stack


def _check_files(configuration: Configuration, reader: tuple[int, int]) -> None:
    """Raises InstallError for a file that the container's user could not find or read."""
    if configuration.path is None:
        return
    folder, text = configuration.path.parent, configuration.path.read_text("utf-8")
    for key, path in [("The configuration", configuration.path), *configuration.files()]:
        if path != configuration.path and path.is_relative_to(folder) and str(path) in text:
            raise InstallError(
                f"{key} is {path}, which is elsewhere in a container. Write it as {path.relative_to(folder)}."
            )
        if not _readable(path.stat(), reader):
            uid, gid = reader
            raise InstallError(
                f"{key}: {path} can't be read by the container's user, {uid}. "
                f"Run: chgrp {gid} {path}; chmod g+r {path}"
            )


def _readable(found: os.stat_result, reader: tuple[int, int]) -> bool:
    uid, gid = reader
    if found.st_uid == uid:
        return bool(found.st_mode & stat.S_IRUSR)
    return bool(found.st_mode & (stat.S_IRGRP if found.st_gid == gid else stat.S_IROTH))


def _build(options: ComposeOptions) -> Build | None:
    if options.image or options.engine == "registry2":
        return None
    context = checkout()
    if context is None or not (context / "Dockerfile").is_file():
        raise InstallError(
            "the image is built from a checkout of the project, and this program was installed without one. "
            "Run it from a checkout (make install), or name an image that is there already by --image."
        )
    return Build(str(context), options.base)


def _image(options: ComposeOptions, build: Build | None) -> str:
    if options.engine == "registry2":
        return options.image or registry2.IMAGE
    if build is None:
        assert options.image is not None
        return options.image
    # Another tag for other contents, so that a newer checkout is built and started.
    digest = hashlib.sha256(f"{build.base}".encode())
    context = Path(build.context)
    names = [
        "Dockerfile",
        "pyproject.toml",
        "README.md",
        "LICENSE",
        "requirements/runtime.txt",
        "requirements/build.txt",
    ]
    sources = [
        path for path in (context / "src").rglob("*") if path.is_file() and "__pycache__" not in path.parts
    ]
    for path in [*(context / name for name in names), *sorted(sources)]:
        digest.update(f"\0{path.relative_to(context)}\0".encode() + path.read_bytes())
    return f"{PROJECT}:{__version__}-{digest.hexdigest()[:12]}"


def _files(
    options: ComposeOptions, configuration: Configuration, folder: Path, stack: Stack, build: Build | None
) -> Iterator[Step]:
    owner = _owner(folder)
    if options.engine == "registry2":
        yield MadeFolder(folder / registry2.FOLDER, 0o700, owner)
        for service in stack.services:
            content = registry2.environment(configuration, stack.choices, service.name).encode()
            path = folder / service.env_files[0]
            yield WrittenFile(path, content, 0o600, owner, secret=True)
    else:
        yield RemovedTree(folder / registry2.FOLDER)
    store = configuration.settings.storage.path
    if options.engine != "registry2" and not _is_default(store):
        yield MadeFolder(store, 0o700, NumericOwner(*(stack.choices.identity or _IMAGE_USER)), deep=True)
    dotenv = folder / ".env"
    text, mode = _NEW_DOTENV, 0o600
    if dotenv.exists():
        text, mode = dotenv.read_text("utf-8"), stat.S_IMODE(dotenv.stat().st_mode)
    yield WrittenFile(dotenv, for_compose(text, stack.profiles).encode(), mode, owner, secret=True)
    content = render("docker-compose.yaml.j2", stack=stack, image=_image(options, build), build=build)
    yield WrittenFile(folder / FILE, content, owner=owner)


def _owner(folder: Path) -> NumericOwner:
    """Whoever the folder belongs to; also when root writes into it."""
    found = folder.stat()
    return NumericOwner(found.st_uid, found.st_gid)


def _closing(docker: Docker | None, stack: Stack, build: Build | None) -> list[Step]:
    if docker is None:
        return []
    return [docker.check(), *([docker.build()] if build else []), StartedStack(docker, stack.services)]


def _warnings(configuration: Configuration) -> tuple[str, ...]:
    programs = {
        each.program
        for upstream in configuration.settings.upstreams.values()
        for each in upstream.credentials
        if each.program
    }
    if not programs:
        return ()
    return (
        f"{', '.join(sorted(programs))} must be in the image: build one with it, and name it by --image.",
    )


def _remarks(
    options: ComposeOptions, configuration: Configuration, folder: Path, stack: Stack
) -> Iterator[str]:
    if not options.start:
        yield f"Nothing was started. Then, in {folder}: docker-compose up --detach --build"
    if stack.choices.per_registry and not stack.choices.traefik:
        for number, service in enumerate(stack.services):
            places = ", ".join(map(str, plain_addresses(configuration, stack.choices, number)))
            yield f"{service.name}: {places}"
