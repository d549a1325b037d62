"""The commands and what they have in common: their options, their errors, their exit codes.

Only what `serve` needs is imported here: a worker's memory counts. What draws imports its libraries when it runs.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated

import typer

from registry_proxy import __version__
from registry_proxy.commands import operations
from registry_proxy.commands.client.command import EXAMPLES as CLIENT_EXAMPLES
from registry_proxy.commands.client.command import client
from registry_proxy.commands.common import (
    FAILED,
    UNUSABLE,
    ConfigOption,
    FailedError,
    JsonOption,
    UsageError,
    settings_loader,
)
from registry_proxy.commands.config.command import EXAMPLES as CONFIG_EXAMPLES
from registry_proxy.commands.config.command import config
from registry_proxy.commands.install import command as install
from registry_proxy.config import ConfigError
from registry_proxy.index.base import IndexFailedError
from registry_proxy.storage.base import StoreError

if TYPE_CHECKING:
    from collections.abc import Callable


def main() -> None:
    """Run the command line, and turn every error into a clear text and an exit code."""
    options = _Options()
    try:
        _commands(options)()
    except Exception as error:
        if options.debug:
            raise
        text, code = _explain(error)
        print(f"registry-proxy: {text}", file=sys.stderr)  # noqa: T201
        sys.exit(code)


class _Options:
    """The options before the command."""

    debug = False


def _explain(error: Exception) -> tuple[str, int]:
    match error:
        case ConfigError():
            return f"the configuration can't be used:\n{error}", UNUSABLE
        case UsageError():
            return str(error), UNUSABLE
        case StoreError() | IndexFailedError() | FailedError():
            return str(error), FAILED
        case _:
            how = "Run `registry-proxy --debug …` to see where, and please report it."
            return f"unexpected {type(error).__name__}: {error}. {how}", FAILED


def _commands(options: _Options) -> typer.Typer:
    app = typer.Typer(
        help="A pull-through cache for container registries.",
        epilog="Example: registry-proxy serve",
        no_args_is_help=True,
        add_completion=False,
        # Plain texts: rich's help costs a worker memory.
        rich_markup_mode=None,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )

    @app.callback()
    def common(
        debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")] = False,
        version: Annotated[  # noqa: ARG001
            bool, typer.Option("--version", help="Show the version.", callback=_show_version, is_eager=True)
        ] = False,
    ) -> None:
        options.debug = debug

    def add(command: Callable[..., None], short_help: str, example: str) -> None:
        app.command(short_help=short_help, epilog=f"Example: registry-proxy {example}")(command)

    add(serve, "Run the caches.", "serve --config registry-proxy.toml")
    add(check_config, "Check and show the configuration.", "check-config --json")
    app.command(short_help="Ask for the settings, and write them.", epilog=CONFIG_EXAMPLES)(config)
    app.command(short_help="Show or change how a client pulls through the server.", epilog=CLIENT_EXAMPLES)(
        client
    )
    add(healthcheck, "Ask whether the server answers.", "healthcheck")
    install.add_to(app)
    operations.add_to(app)
    add(verify, "Check everything that is cached.", "verify --repair")
    return app


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"registry-proxy {__version__}")
        raise typer.Exit


def serve(config: ConfigOption = None) -> None:
    """Run the caches until SIGTERM or Ctrl-C; SIGHUP reads upstreams and credentials anew."""
    from registry_proxy.service import run  # noqa: PLC0415
    from registry_proxy.service.errors import StartError  # noqa: PLC0415

    try:
        code = run(settings_loader(config))
    except StartError as error:
        raise FailedError(str(error)) from error
    raise typer.Exit(code)


def check_config(config: ConfigOption = None, json: JsonOption = False) -> None:
    """Check the configuration and show what it comes to, all defaults included, passwords masked.

    Exit code 2 if it can't be used.
    """
    from registry_proxy.commands.check_config import show  # noqa: PLC0415
    from registry_proxy.service.wiring.gate import build_gate  # noqa: PLC0415

    settings = settings_loader(config)()
    build_gate(settings)
    show(settings, as_json=json)


def verify(
    config: ConfigOption = None,
    repair: Annotated[
        bool, typer.Option("--repair", help="Remove what is damaged, and correct the index.")
    ] = False,
    json: JsonOption = False,
) -> None:
    """Check all that is cached against its digests, and the index against it. The server may run meanwhile.

    Exit code 1 if damage was found that is not repaired.
    """
    from registry_proxy.commands.verify import run  # noqa: PLC0415

    sound = run(settings_loader(config)().storage.path, repair=repair, as_json=json)
    raise typer.Exit(0 if sound else FAILED)


def healthcheck(config: ConfigOption = None) -> None:
    """Ask whether the server of this machine, or of this container, answers where it listens. Exit code 1 if not."""
    from registry_proxy.commands.healthcheck import check  # noqa: PLC0415

    check(settings_loader(config)())
