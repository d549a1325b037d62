"""`registry-proxy ls`: the cached images."""

from __future__ import annotations

import asyncio
import json
import time
from typing import TYPE_CHECKING, Annotated

import typer

from registry_proxy.commands.common import FAILED, ConfigOption, JsonOption, command, settings_loader
from registry_proxy.commands.compose_file import require_store
from registry_proxy.commands.console import make_console, make_table
from registry_proxy.commands.formatting import ago, size_text, timestamp
from registry_proxy.commands.image_patterns import Names
from registry_proxy.service.site import read_site

if TYPE_CHECKING:
    from registry_proxy.index.base import Image

_PATTERN = "A registry (ghcr.io), an image (alpine), the beginning of names (ghcr.io/acme), or a pattern with * and ?."


@command("Example: registry-proxy ls 'ghcr.io/acme/*'")
def ls(
    pattern: Annotated[
        str | None, typer.Argument(metavar="PATTERN", help=_PATTERN, show_default=False)
    ] = None,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """List the cached images: size, time of the last check with the registry, and time of the last access.

    The size is the stored part of an image. Images share layers. An image without a tag was pulled by digest, or its
    tag has moved. Exit code 1 if no image matches PATTERN.
    """
    settings = settings_loader(config)()
    require_store(settings, config, "ls")
    with read_site(settings.storage.path) as site:
        images = asyncio.run(site.index.images(None))
    if pattern is not None:
        images = Names(settings).select(images, pattern)
    if as_json:
        typer.echo(json.dumps([_as_json(image) for image in images], indent=2))
    elif images:
        _print(images)
    else:
        typer.echo(f"no cached image matches {pattern!r}" if pattern else "the cache is empty", err=True)
    if pattern is not None and not images:
        raise typer.Exit(FAILED)


def _as_json(image: Image) -> dict[str, object]:
    return {
        "image": str(image.source),
        "registry": image.source.registry,
        "repository": str(image.source.repository),
        "tag": image.tag,
        "digest": str(image.digest),
        "bytes": image.size,
        "checked_at": timestamp(image.checked_at),
        "used_at": timestamp(image.used_at),
    }


def _print(images: list[Image]) -> None:
    now = time.time()
    table = make_table()
    table.add_column("Image", overflow="fold")
    table.add_column("Tag", overflow="fold")
    table.add_column("Digest", no_wrap=True)
    table.add_column("Size", justify="right", no_wrap=True)
    table.add_column("Checked", justify="right", no_wrap=True)
    table.add_column("Used", justify="right", no_wrap=True)
    for image in images:
        table.add_row(
            str(image.source),
            image.tag or "-",
            image.digest.hex[:12],
            size_text(image.size),
            ago(image.checked_at, now),
            ago(image.used_at, now),
        )
    make_console().print(table)
