"""The program `registry-proxy`: its commands, which are imported when they run, and its exit codes."""

from __future__ import annotations

import sys
from pkgutil import resolve_name
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperCommand, TyperGroup

from registry_proxy import __version__
from registry_proxy.commands.common import FAILED, UNUSABLE, FailedError, UsageError
from registry_proxy.config import ConfigError
from registry_proxy.index.base import IndexFailedError
from registry_proxy.storage.base import StoreError

if TYPE_CHECKING:
    from typer._click import Command, Context

_PACKAGE = "registry_proxy.commands"
VERSION = f"registry-proxy {__version__}"
# The object of each command, as MODULE:NAME in this package, and its line in the list of commands.
COMMANDS = {
    "serve": ("serve:serve", "Run the server."),
    "check-config": (
        "check_config:check_config",
        "Check the configuration and print the effective settings.",
    ),
    "config": ("config.command:config", "Ask for the settings and write the configuration."),
    "client": ("client.command:client", "Show or change the configuration of a client."),
    "healthcheck": ("healthcheck:healthcheck", "Check whether the server responds."),
    "status": ("status:status", "Show cached content, savings and running transfers."),
    "doctor": ("doctor.command:doctor", "Find problems, and print a fix for each."),
    "adopt": ("adopt:adopt", "Import the content of a registry:2 cache."),
    "ls": ("ls:ls", "List the cached images."),
    "rm": ("rm:rm", "Remove images from the cache."),
    "verify": ("verify:verify", "Check all cached content."),
    "install": ("install.command:install", "Install the server as a service."),
    "uninstall": ("install.command:uninstall", "Remove the service, and keep the cached content."),
    "help": ("help:help_", "Print the help of a command."),
    "version": ("version:version", "Print the version."),
}


class LazyGroup(TyperGroup):
    """A group that imports a command when it runs: a worker keeps in memory what the program has imported.

    This is Click's LazyGroup. The entries of `commands` only have the names and the short texts for `--help`.
    """

    def __init__(self, **attributes: Any) -> None:
        super().__init__(**attributes)
        self.commands = {name: TyperCommand(name, short_help=text) for name, (_, text) in COMMANDS.items()}

    def resolve_command(self, ctx: Context, args: list[str]) -> tuple[str | None, Command | None, list[str]]:
        name, _, rest = super().resolve_command(ctx, args)
        if name is None:  # only during the completion of a command line
            return None, None, rest
        place, _ = COMMANDS[name]
        return name, typer.main.get_command(resolve_name(f"{_PACKAGE}.{place}")), rest


def main() -> None:
    """Run the command line. Turn every error into a message and an exit code."""
    options = _Options()
    try:
        _program(options)()
    except Exception as error:
        if options.debug:
            raise
        message, code = _explain(error)
        print(f"registry-proxy: {message}", file=sys.stderr)  # noqa: T201
        sys.exit(code)


class _Options:
    """The options before the command."""

    debug = False


def _explain(error: Exception) -> tuple[str, int]:
    match error:
        case ConfigError():
            return f"the configuration is unusable:\n{error}", UNUSABLE
        case UsageError():
            return str(error), UNUSABLE
        case StoreError() | IndexFailedError() | FailedError():
            return str(error), FAILED
        case _:
            how = "Run `registry-proxy --debug …` for the traceback, and please report it."
            return f"unexpected {type(error).__name__}: {error}. {how}", FAILED


def _program(options: _Options) -> typer.Typer:
    program = typer.Typer(
        cls=LazyGroup,
        help="Read-only pull-through cache for container images.",
        epilog="Example: registry-proxy serve",
        no_args_is_help=True,
        # Plain text: rich's help would cost a worker memory.
        rich_markup_mode=None,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )

    @program.callback()
    def common(
        debug: Annotated[bool, typer.Option("--debug", help="Print the traceback of an error.")] = False,
        version: Annotated[  # noqa: ARG001
            bool, typer.Option("--version", help="Print the version.", callback=_print_version, is_eager=True)
        ] = False,
    ) -> None:
        options.debug = debug

    return program


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(VERSION)
        raise typer.Exit
