"""`registry-proxy serve`: the server."""

from __future__ import annotations

import typer

from registry_proxy.commands.common import ConfigOption, FailedError, command, settings_loader
from registry_proxy.service.errors import StartError
from registry_proxy.service.supervisor import run


@command("Example: registry-proxy serve --config registry-proxy.toml")
def serve(config: ConfigOption = None) -> None:
    """Run the server until SIGTERM or Ctrl-C. SIGHUP reloads upstreams, credentials and access rules."""
    try:
        code = run(settings_loader(config))
    except StartError as error:
        raise FailedError(str(error)) from error
    raise typer.Exit(code)
