"""Options and output of `registry-proxy doctor`."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated
from urllib.parse import urlsplit

import typer
from rich.text import Text

from registry_proxy.commands.common import (
    FAILED,
    ConfigOption,
    JsonOption,
    UsageError,
    command,
    settings_loader,
)
from registry_proxy.commands.console import report_console
from registry_proxy.commands.doctor.findings import Severity, run_checks
from registry_proxy.commands.doctor.machine_files import Machine
from registry_proxy.commands.doctor.pull_check import client_checks
from registry_proxy.commands.doctor.server import configuration_findings, server_checks
from registry_proxy.config import ConfigError, find_config_file

if TYPE_CHECKING:
    from registry_proxy.commands.doctor.findings import Finding

_STYLE = {Severity.OK: "green", Severity.WARN: "yellow", Severity.FAIL: "bold red"}


@command("Example: registry-proxy doctor --client")
def doctor(
    config: ConfigOption = None,
    client: Annotated[
        bool, typer.Option("--client", help="Check the clients on this machine instead of the server.")
    ] = False,
    server: Annotated[
        str | None,
        typer.Option(
            metavar="URL", help="With --client: the server that they should use.", show_default=False
        ),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Check the server's machine: configuration, host names, ports, certificates, disk, clock, and each upstream.

    With --client: check whether docker, containerd, podman and the programs that share podman's files pull through a
    registry-proxy. Every warning and every failure includes a fix. Exit code 1 if a check fails.
    """
    if server is not None and not client:
        raise UsageError("--server requires --client")
    findings = asyncio.run(_check_clients(server) if client else _check_server(config))
    sound = all(finding.severity is not Severity.FAIL for finding in findings)
    if as_json:
        typer.echo(json.dumps({"sound": sound, "findings": [_as_json(each) for each in findings]}, indent=2))
    else:
        _print(findings)
    raise typer.Exit(0 if sound else FAILED)


async def _check_server(config: Path | None) -> list[Finding]:
    try:
        settings = settings_loader(config)()
    except ConfigError as error:
        return configuration_findings(error)
    return await run_checks(server_checks(settings, config or find_config_file()))


async def _check_clients(server: str | None) -> list[Finding]:
    if server is not None and not (urlsplit(server).scheme in {"http", "https"} and urlsplit(server).netloc):
        raise UsageError(f"{server} is not a URL of a server. Write it as in https://registry.example.com")
    return await run_checks(await client_checks(Machine(home=Path.home()), server))


def _print(findings: list[Finding]) -> None:
    console = report_console()
    for finding in findings:
        line = Text(f"{finding.severity:4}  ", _STYLE[finding.severity])
        console.print(line.append(f"{finding.subject}: {finding.text}", "not bold default"))
        if finding.remedy:
            console.print(f"      {finding.remedy}")
    count = {severity: sum(each.severity is severity for each in findings) for severity in Severity}
    console.print(
        f"\n{count[Severity.OK]} ok, {count[Severity.WARN]} warnings, {count[Severity.FAIL]} failures."
    )


def _as_json(finding: Finding) -> dict[str, str]:
    return {
        "verdict": finding.severity.value,
        "subject": finding.subject,
        "text": finding.text,
        "remedy": finding.remedy,
    }
