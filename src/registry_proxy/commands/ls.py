"""`registry-proxy ls`: the cached images."""

from __future__ import annotations

import asyncio
import json
import time
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from registry_proxy.commands.columns import RIGHT, in_columns
from registry_proxy.commands.common import FAILED, ConfigOption, JsonOption, command, settings_loader
from registry_proxy.commands.compose_file import require_store
from registry_proxy.commands.formatting import ago, size_text, timestamp
from registry_proxy.commands.image_patterns import Names
from registry_proxy.service.site import read_site

if TYPE_CHECKING:
    from registry_proxy.index.base import Image

_PATTERN = "A registry (ghcr.io), an image (alpine), the beginning of names (ghcr.io/acme), or a pattern with * and ?."
_TITLES = ("Image", "Tag", "Digest", f"{RIGHT}Size", f"{RIGHT}Checked", f"{RIGHT}Used")


class Order(StrEnum):
    """Orders of the list: by name, or the largest or latest first."""

    NAME = "name"
    SIZE = "size"
    CHECKED = "checked"
    USED = "used"


@command("Example: registry-proxy ls 'ghcr.io/acme/*' --sort size --limit 20")
def ls(
    pattern: Annotated[
        str | None, typer.Argument(metavar="PATTERN", help=_PATTERN, show_default=False)
    ] = None,
    sort: Annotated[
        Order, typer.Option("--sort", help="Order: by name; or the largest, or the latest first.")
    ] = Order.NAME,
    limit: Annotated[
        int | None,
        typer.Option("--limit", metavar="N", min=1, help="List at most N images.", show_default=False),
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
    shown = _sorted(images, sort)[:limit]
    if as_json:
        typer.echo(json.dumps([_as_json(image) for image in shown], indent=2))
    elif images:
        _print(shown)
        if len(shown) < len(images):
            typer.echo(f"{len(shown)} of {len(images)} images", err=True)
    else:
        typer.echo(f"no cached image matches {pattern!r}" if pattern else "the cache is empty", err=True)
    if pattern is not None and not images:
        raise typer.Exit(FAILED)


def _sorted(images: list[Image], order: Order) -> list[Image]:
    """Return the images in this order. They are sorted by name already, which remains the order of equal ones."""
    match order:
        case Order.NAME:
            return images
        case Order.SIZE:
            return sorted(images, key=lambda image: -image.size)
        case Order.CHECKED:
            return sorted(images, key=lambda image: -image.checked_at)
        case Order.USED:
            return sorted(images, key=lambda image: -(image.used_at or 0.0))


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
    rows = [
        (
            str(image.source),
            image.tag or "-",
            image.digest.hex[:12],
            size_text(image.size),
            ago(image.checked_at, now),
            ago(image.used_at, now),
        )
        for image in images
    ]
    typer.echo("\n".join(in_columns(_TITLES, rows)))
