"""The options of the commands that look after a cache; what they do is in files of their own, loaded when they run."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from registry_proxy.cli.common import ConfigOption, JsonOption, settings_loader

if TYPE_CHECKING:
    from collections.abc import Callable


def add_to(app: typer.Typer) -> None:
    """Add the commands."""

    def add(command: Callable[..., None], short_help: str, example: str) -> None:
        app.command(short_help=short_help, epilog=f"Example: registry-proxy {example}")(command)

    add(status, "Show what is cached, what it saved, and what is coming in.", "status --watch")


def status(
    config: ConfigOption = None,
    watch: Annotated[
        bool, typer.Option("--watch", help="Show it again every two seconds, until Ctrl-C.")
    ] = False,
    json: JsonOption = False,
) -> None:
    """Show what is cached, how requests were answered, and which transfers run, by registry.

    It reads the store's index, so it works whether the server runs or not. Answers and bytes are counted within 30 s.

    Hits are answers from the cache, stale ones those that an outage made so; misses were fetched, joined ones shared a
    fetch, and passed ones found no room. Saved is what clients were sent and the registry was not asked for.
    """
    from registry_proxy.cli.status import run  # noqa: PLC0415

    run(settings_loader(config)(), as_json=json, watch=watch)
