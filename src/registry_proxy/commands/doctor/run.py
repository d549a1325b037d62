"""`registry-proxy doctor`: what is well and what is not, told."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from urllib.parse import urlsplit

import typer
from rich.console import Console
from rich.text import Text

from registry_proxy.commands.common import UsageError, settings_loader
from registry_proxy.commands.doctor.clients import Machine
from registry_proxy.commands.doctor.findings import Finding, Verdict, examine
from registry_proxy.commands.doctor.pull_check import client_checks
from registry_proxy.commands.doctor.server import configuration_findings, server_checks
from registry_proxy.config import ConfigError, find_config_file

_STYLE = {Verdict.OK: "green", Verdict.WARN: "yellow", Verdict.FAIL: "bold red"}


def run_server(config: Path | None, *, as_json: bool) -> bool:
    """Look at the server's machine; whether nothing fails."""
    try:
        settings = settings_loader(config)()
    except ConfigError as error:
        return _tell(configuration_findings(error), as_json=as_json)
    file = config or find_config_file()
    return _tell(asyncio.run(examine(server_checks(settings, file))), as_json=as_json)


def run_client(server: str | None, *, as_json: bool) -> bool:
    """Look at a client's machine; whether nothing fails. Raises UsageError."""
    if server is not None and not (urlsplit(server).scheme in {"http", "https"} and urlsplit(server).netloc):
        raise UsageError(f"{server} is no address of a server: write it like https://registry.example.com")
    machine = Machine(home=Path.home())

    async def look() -> list[Finding]:
        return await examine(await client_checks(machine, server))

    return _tell(asyncio.run(look()), as_json=as_json)


def _tell(findings: list[Finding], *, as_json: bool) -> bool:
    sound = all(finding.verdict is not Verdict.FAIL for finding in findings)
    if as_json:
        typer.echo(json.dumps({"sound": sound, "findings": [_as_json(each) for each in findings]}, indent=2))
        return sound
    console = Console(highlight=False, markup=False, soft_wrap=True)
    for finding in findings:
        line = Text(f"{finding.verdict:4}  ", _STYLE[finding.verdict])
        console.print(line.append(f"{finding.subject}: {finding.text}", "not bold default"))
        if finding.remedy:
            console.print(f"      {finding.remedy}")
    counts = {verdict: sum(each.verdict is verdict for each in findings) for verdict in Verdict}
    told = f"{counts[Verdict.OK]} well, {counts[Verdict.WARN]} to look at, {counts[Verdict.FAIL]} failing."
    console.print(f"\n{told}")
    return sound


def _as_json(finding: Finding) -> dict[str, str]:
    return {
        "verdict": finding.verdict.value,
        "subject": finding.subject,
        "text": finding.text,
        "remedy": finding.remedy,
    }
