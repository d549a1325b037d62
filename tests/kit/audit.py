"""The check of the locks against known vulnerabilities, by pip-audit: `python -m tests.kit.audit`.

What is found fails the check. A database or a download that is not available does not, and is told: a mirror without
the vulnerabilities of its packages would otherwise pass for a list without any.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import venv
from dataclasses import dataclass
from pathlib import Path
from typing import Any

LOCKS = sorted((Path(__file__).parents[2] / "requirements").glob("*.txt"))
_TOOL = "pip-audit==2.10.1"
_SECONDS = 300


@dataclass(frozen=True, slots=True)
class Verdict:
    """What to tell, and whether a vulnerability was found."""

    text: str
    found: bool = False


def verdict(report: str) -> Verdict:
    """Judge what pip-audit reports as JSON."""
    try:
        packages: list[dict[str, Any]] = json.loads(report)["dependencies"]
    except (ValueError, KeyError, TypeError):
        return Verdict("not checked: the database is not available.")
    skipped = [each["name"] for each in packages if "skip_reason" in each]
    found = [
        f"{each['name']} {each['version']}: {flaw['id']}, fixed in {', '.join(flaw['fix_versions']) or 'no version'}"
        for each in packages
        for flaw in each.get("vulns", ())
    ]
    if len(skipped) == len(packages):
        return Verdict("not checked: the database has none of the packages.")
    lines = [*found, f"{len(packages) - len(skipped)} packages checked, {len(found)} vulnerabilities found."]
    if skipped:
        lines.append(f"not checked, because the database does not have them: {', '.join(skipped)}.")
    return Verdict("\n".join(lines), bool(found))


def audit(folder: Path) -> Verdict:
    """Install the tool into a folder, and have it check the locks."""
    tool = folder / "tool"
    venv.create(tool, with_pip=True)
    install = [
        str(tool / "bin/python"),
        "-m",
        "pip",
        "install",
        "--quiet",
        "--disable-pip-version-check",
        _TOOL,
    ]
    locks = [argument for lock in LOCKS for argument in ("--requirement", str(lock))]
    check = [str(tool / "bin/pip-audit"), "--disable-pip", "--require-hashes", "--format", "json", *locks]
    check += ["--progress-spinner", "off"]
    try:
        if subprocess.run(install, check=False, timeout=_SECONDS).returncode:
            return Verdict(f"not checked: {_TOOL} can't be installed.")
        done = subprocess.run(check, capture_output=True, text=True, check=False, timeout=_SECONDS)
    except subprocess.TimeoutExpired as error:
        return Verdict(f"not checked: {error}")
    return verdict(done.stdout)


def main() -> int:
    """Check; return the exit code."""
    with tempfile.TemporaryDirectory() as folder:
        outcome = audit(Path(folder))
    print(outcome.text)
    return int(outcome.found)


if __name__ == "__main__":
    sys.exit(main())
