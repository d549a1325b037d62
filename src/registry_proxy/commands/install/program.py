"""The service's copy of this program and of its packages, in a virtual environment.

Nothing is downloaded, so the service runs the tested versions, and its user needs no access to a checkout.
"""

from __future__ import annotations

import hashlib
import shutil
import sys
import sysconfig
import tomllib
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path
from typing import TYPE_CHECKING

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import registry_proxy
from registry_proxy import __version__
from registry_proxy.commands.changes.plan import ChangeError
from registry_proxy.commands.install.processes import Identity, run

if TYPE_CHECKING:
    from collections.abc import Iterable

_NAME = "registry-proxy"
_PACKAGE = Path(registry_proxy.__file__).parent
# The service cannot see these directories (ProtectHome=, PrivateTmp=).
HIDDEN = (Path("/home"), Path("/root"), Path("/run/user"), Path("/tmp"), Path("/var/tmp"))  # noqa: S108
_VERSION = f"{sys.version_info.major}.{sys.version_info.minor}"
# Prints the ABI, and as mapped files the paths of the interpreter and its libraries.
_INSPECT = (
    "import ssl, sqlite3, sysconfig; print(sysconfig.get_config_var('SOABI'), open('/proc/self/maps').read())"
)
_UNPRIVILEGED = Identity(65534, 65534, ())
_SCRIPT = """#!{python} -I
from registry_proxy.commands import main

main()
"""


def checkout() -> Path | None:
    """Return the checkout that this program runs from, None if it was installed."""
    root = _PACKAGE.parents[1]
    return root if (root / "pyproject.toml").is_file() else None


def find_python(wanted: Path | None) -> Path:
    """Return a Python like the one that runs this, and that every user can run. Raise ChangeError if there is none."""
    current = Path(getattr(sys, "_base_executable", sys.executable))
    others = [Path(directory) / f"python{_VERSION}" for directory in ("/usr/local/bin", "/usr/bin")]
    for candidate in [wanted] if wanted else [current, *others]:
        if candidate.exists() and _is_usable(candidate):
            return candidate
    raise ChangeError(
        f"the service requires a Python {_VERSION} that every user can run; {wanted or current} is not usable. "
        "Install one below /usr and pass it with --python, or install this program with the system's Python: "
        "make clean install PYTHON=/usr/bin/python3"
    )


def _is_usable(python: Path) -> bool:
    """Return whether an unprivileged user can run it, it has this ABI, and no file of it is hidden from the service."""
    try:
        output = run(
            [str(python), "-I", "-c", _INSPECT], environ={}, directory=Path("/"), identity=_UNPRIVILEGED
        )
    except ChangeError:
        return False
    abi, _, maps = output.partition(" ")
    places = [python, *(Path(line.split()[-1]) for line in maps.splitlines() if "/" in line)]
    hidden = any(place.is_relative_to(directory) for place in places for directory in HIDDEN)
    return abi == sysconfig.get_config_var("SOABI") and not hidden


class Program:
    """Builder of the copy, which runs at `place` with `python`."""

    def __init__(self, place: Path, python: Path) -> None:
        self._place = place
        self._python = python
        self._distributions = required_distributions(_requirements())

    def fingerprint(self) -> str:
        """Return a digest of everything that the copy is built from."""
        # The copy and its source may run with different releases of the same Python version.
        abi = sysconfig.get_config_var("SOABI")
        digest = hashlib.sha256(f"{self._place} {self._python} {abi}".encode())
        for each in self._distributions:
            digest.update(f"\0{each.name} {each.version}\0{each.read_text('RECORD')}".encode())
        for path in _package_files():
            digest.update(f"\0{path}\0".encode() + (_PACKAGE / path).read_bytes())
        return digest.hexdigest()

    def build(self, target: Path) -> None:
        """Build the copy in the directory `target`, and run it once. Raise ChangeError or OSError."""
        site = target / f"lib/python{_VERSION}/site-packages"
        # PEP 405: this file and the link next to `lib` make a virtual environment.
        config = f"home = {self._python.parent}\ninclude-system-site-packages = false\nversion = {_VERSION}\n"
        _write(target / "pyvenv.cfg", config)
        for name in ("python", "python3"):
            link = target / "bin" / name
            link.parent.mkdir(exist_ok=True)
            link.symlink_to(self._python)
        for each in self._distributions:
            _copy(each, site)
        for path in _package_files():
            _copy_file(_PACKAGE / path, site / "registry_proxy" / path)
        # The copy can install itself: it has the list of its requirements.
        _write(site / f"registry_proxy-{__version__}.dist-info/METADATA", _metadata())
        _write(target / "bin" / _NAME, _SCRIPT.format(python=self._place / "bin/python"), mode=0o755)
        self._compile(target)
        for directory in (target, *target.rglob("*/")):
            directory.chmod(0o755)

    def _compile(self, target: Path) -> None:
        python = [str(target / "bin/python"), "-I"]
        # The service cannot write there: it would compile the rest on each start.
        places = ["-s", str(target), "-p", str(self._place)]
        run([*python, "-m", "compileall", "-q", "-j", "0", *places, str(target / "lib")])
        run([*python, str(target / "bin" / _NAME), "--version"])


def _requirements() -> list[str]:
    """Return this program's requirements. The metadata of an editable installation can be older than the checkout."""
    root = checkout()
    if root is not None:
        project = tomllib.loads((root / "pyproject.toml").read_text("utf-8"))["project"]
        return list(project["dependencies"])
    return distribution(_NAME).requires or []


def _metadata() -> str:
    """Return the core metadata of this program (PEP 566)."""
    lines = ["Metadata-Version: 2.1", f"Name: {_NAME}", f"Version: {__version__}"]
    return "\n".join([*lines, *(f"Requires-Dist: {each}" for each in _requirements()), ""])


def required_distributions(requirements: Iterable[str]) -> list[Distribution]:
    """Return the distributions that meet the requirements, with their own. Raise ChangeError if one is missing."""
    found: dict[str, Distribution] = {}
    seen: set[tuple[str, frozenset[str]]] = set()
    waiting = [(Requirement(text), frozenset[str]()) for text in requirements]
    while waiting:
        requirement, extras = waiting.pop()
        name = canonicalize_name(requirement.name)
        wanted = name, frozenset(requirement.extras)
        if wanted in seen or not _applies(requirement, extras):
            continue
        seen.add(wanted)
        try:
            found[name] = distribution(name)
        except PackageNotFoundError:
            raise ChangeError(
                f"the package {name} is required but not installed. Run: make install"
            ) from None
        waiting += [(Requirement(text), wanted[1]) for text in found[name].requires or []]
    return list(found.values())


def _applies(requirement: Requirement, extras: frozenset[str]) -> bool:
    """Return whether the marker holds on this platform, for a package that is required with these extras."""
    marker = requirement.marker
    return marker is None or any(marker.evaluate({"extra": extra}) for extra in extras or {""})


def _package_files() -> list[Path]:
    found = (path.relative_to(_PACKAGE) for path in _PACKAGE.rglob("*") if path.is_file())
    return sorted(path for path in found if "__pycache__" not in path.parts)


def _copy(each: Distribution, site: Path) -> None:
    if each.files is None:
        raise ChangeError(f"can't copy {each.name}: its list of files is missing. Install it with pip.")
    for path in each.files:
        # Files outside of `site` are scripts and manual pages.
        if ".." not in path.parts and path.suffix != ".pyc":
            _copy_file(Path(str(each.locate_file(path))), site / path)


def _copy_file(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source, target)
    target.chmod(0o644)


def _write(path: Path, text: str, *, mode: int = 0o644) -> None:
    path.parent.mkdir(exist_ok=True)
    path.write_text(text, "utf-8")
    path.chmod(mode)
