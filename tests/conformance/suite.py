"""The OCI distribution conformance suite: a Go program, which is built when it is first required."""

from __future__ import annotations

import asyncio
import os
import subprocess
from collections import Counter
from typing import TYPE_CHECKING
from xml.etree import ElementTree as ET

from tests.kit.processes import ROOT, environment

if TYPE_CHECKING:
    from pathlib import Path

MODULE = "github.com/opencontainers/distribution-spec/conformance"
VERSION = "v0.0.0-20260831232431-97274622c111"  # of specification 1.1; the module has no tagged versions
BUILD = ROOT / "build" / "conformance"
# The cache is read-only, so nothing is deleted, either.
SETTINGS = {
    "OCI_TLS": "disabled",
    "OCI_VERSION": "1.1",
    "OCI_LOG": "error",
    "OCI_API_BLOBS_DELETE": "false",
    "OCI_API_MANIFESTS_DELETE": "false",
    "OCI_API_TAGS_DELETE": "false",
}

Results = dict[str, Counter[str]]  # by test: how often it ended with each status


def program() -> Path:
    """Return the suite's program. Raise CalledProcessError if it cannot be built."""
    built = BUILD / VERSION / "conformance"
    if not built.exists():
        print(f"Building {MODULE}@{VERSION}", flush=True)
        built.parent.mkdir(parents=True, exist_ok=True)
        env = os.environ | {"GOBIN": str(built.parent)}
        subprocess.run(["go", "install", f"{MODULE}@{VERSION}"], check=True, env=env)
    return built


async def run(registry: str, folder: Path) -> Results:
    """Run all tests against the registry at host and port; the suite's reports are in `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    env = environment(SETTINGS | {"OCI_REGISTRY": registry, "OCI_RESULTS_DIR": str(folder)})
    with (folder / "output.txt").open("wb") as output:
        process = await asyncio.create_subprocess_exec(
            program(), env=env, cwd=folder, stdout=output, stderr=asyncio.subprocess.STDOUT
        )
        await process.wait()
    return results(folder / "junit.xml")


def results(report: Path) -> Results:
    """Return the results of a report in JUnit's format."""
    found: Results = {}
    for case in ET.parse(report).iter("testcase"):
        name = case.attrib["name"].removeprefix("OCI Conformance Test/")
        found.setdefault(name, Counter())[case.attrib["status"]] += 1
    return found
