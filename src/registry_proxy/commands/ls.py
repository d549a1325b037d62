"""`registry-proxy ls`: the images that are kept."""

from __future__ import annotations

import asyncio
import json
import time
from typing import TYPE_CHECKING

import typer

from registry_proxy.commands.formatting import ago, size_text, timestamp
from registry_proxy.commands.image_patterns import Names
from registry_proxy.commands.opening import open_store
from registry_proxy.commands.status import make_console, make_table

if TYPE_CHECKING:
    from registry_proxy.config import Settings
    from registry_proxy.index.base import Image


def run(settings: Settings, pattern: str | None, *, as_json: bool) -> bool:
    """List the images; whether there are any, or none were asked for. Raises StoreError or IndexFailedError."""
    with open_store(settings.storage.path) as opened:
        images = asyncio.run(opened.index.images(None))
    if pattern is not None:
        images = Names(settings).select(images, pattern)
    if as_json:
        typer.echo(json.dumps([_as_json(image) for image in images], indent=2))
    elif images:
        _draw(images)
    else:
        typer.echo(
            f"nothing that is cached fits {pattern!r}" if pattern else "nothing is cached yet", err=True
        )
    return bool(images) or pattern is None


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


def _draw(images: list[Image]) -> None:
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
