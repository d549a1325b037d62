"""The options of the commands that look after a cache; what they do is in files of their own, loaded when they run."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from registry_proxy.commands.common import (
    FAILED,
    ConfigOption,
    JsonOption,
    UsageError,
    YesOption,
    settings_loader,
)

if TYPE_CHECKING:
    from collections.abc import Callable

_Folder = Annotated[
    Path,
    typer.Argument(
        metavar="PATH", exists=True, file_okay=False, help="Its storage folder.", show_default=False
    ),
]


def add_to(app: typer.Typer) -> None:
    """Add the commands."""

    def add(command: Callable[..., None], short_help: str, example: str) -> None:
        app.command(short_help=short_help, epilog=f"Example: registry-proxy {example}")(command)

    add(status, "Show what is cached, what it saved, and what is coming in.", "status --watch")
    add(doctor, "Find out what is wrong, and what to do about it.", "doctor --client")
    add(
        adopt, "Take over what a registry:2 cache has stored.", "adopt /var/lib/registry --upstream dockerhub"
    )
    add(ls, "List the images that are cached.", "ls 'ghcr.io/acme/*'")
    add(rm, "Remove images from the cache.", "rm alpine:3.20 ghcr.io/acme/app")


def status(
    config: ConfigOption = None,
    watch: Annotated[
        bool, typer.Option("--watch", help="Show it again every two seconds, until Ctrl-C.")
    ] = False,
    json: JsonOption = False,
) -> None:
    """Show what is cached, how requests were answered, and which transfers run, by registry.

    It reads the store's index, so it works whether the server runs or not. What the server counts shows after a few
    seconds.

    Hits are answers from the cache, stale ones those that an outage made so; misses were fetched, joined ones shared a
    fetch, and passed ones found no room. Saved is what clients were sent and the registry was not asked for.
    """
    from registry_proxy.commands.status import run  # noqa: PLC0415

    run(settings_loader(config)(), as_json=json, watch=watch)


def ls(
    pattern: Annotated[
        str | None,
        typer.Argument(
            metavar="PATTERN",
            help="A registry (ghcr.io), an image (alpine), a part of names (ghcr.io/acme), or one with * and ?.",
            show_default=False,
        ),
    ] = None,
    config: ConfigOption = None,
    json: JsonOption = False,
) -> None:
    """List the cached images: their size, when their registry last confirmed them, and when they were last used.

    The size is what is kept of an image; images can share parts of it. Those without a tag were pulled by digest, or
    their tag has moved on. Exit code 1 if nothing fits PATTERN.
    """
    from registry_proxy.commands.ls import run  # noqa: PLC0415

    found = run(settings_loader(config)(), pattern, as_json=json)
    raise typer.Exit(0 if found else FAILED)


def rm(
    images: Annotated[
        list[str], typer.Argument(metavar="IMAGE[:TAG|@DIGEST]", help="As in `ls`.", show_default=False)
    ],
    config: ConfigOption = None,
    yes: YesOption = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show what would go, and leave it.")] = False,
    json: JsonOption = False,
) -> None:
    """Remove images, or only tags or digests of them, and the content that nothing else uses. The server may run.

    The next pull fetches them anew. Exit code 1 if one of them isn't cached (then nothing is removed), or you say no.
    """
    from registry_proxy.commands.rm import run  # noqa: PLC0415

    done = run(settings_loader(config)(), images, yes=yes, dry_run=dry_run, as_json=json)
    raise typer.Exit(0 if done else FAILED)


def adopt(
    path: _Folder,
    upstream: Annotated[
        str,
        typer.Option(metavar="NAME", help="The upstream that it cached, as dockerhub.", show_default=False),
    ],
    config: ConfigOption = None,
    copy: Annotated[
        bool,
        typer.Option("--copy", help="Copy the blobs. Otherwise they get a second name where that can be."),
    ] = False,
    json: JsonOption = False,
) -> None:
    """Take over the storage of a registry:2 or registry:3 cache: its blobs, each verified, its repositories and tags.

    The old folder stays as it is. Within storage.max_size the most recent blobs are taken. Run it again to go on where
    it was interrupted. The server may run. Exit code 1 if blobs were left out because they are damaged or unreadable.
    """
    from registry_proxy.commands.adopt import run  # noqa: PLC0415

    sound = run(settings_loader(config)(), path, upstream, copy=copy, as_json=json)
    raise typer.Exit(0 if sound else FAILED)


def doctor(
    config: ConfigOption = None,
    client: Annotated[
        bool, typer.Option("--client", help="Look at this machine's clients, not at the server.")
    ] = False,
    server: Annotated[
        str | None,
        typer.Option(
            metavar="URL", help="With --client: the server that they should go to.", show_default=False
        ),
    ] = None,
    json: JsonOption = False,
) -> None:
    """Check the server's machine: configuration, names, ports, certificates, disk, clock, and each upstream.

    With --client: whether docker, containerd, podman and what shares podman's files go through a cache of this program.
    Every finding that isn't well says what to do. Exit code 1 if one of them fails.
    """
    from registry_proxy.commands.doctor.run import run_client, run_server  # noqa: PLC0415

    if server is not None and not client:
        raise UsageError("--server goes with --client")
    sound = run_client(server, as_json=json) if client else run_server(config, as_json=json)
    raise typer.Exit(0 if sound else FAILED)
