"""The program's own copy for a service: what this very program runs with, in a virtual environment of its own.

Nothing is fetched, so what runs is what was tried; and the service's user needs no access to a checkout.
"""

from __future__ import annotations

import hashlib
import re
import shutil
import sys
import sysconfig
import tomllib
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path
from typing import TYPE_CHECKING

import registry_proxy
from registry_proxy.commands.install.commands import Identity, run
from registry_proxy.commands.install.plan import InstallError

if TYPE_CHECKING:
    from collections.abc import Iterator

_NAME = "registry-proxy"
_PACKAGE = Path(registry_proxy.__file__).parent
# PEP 508: a name, extras, a version, a marker.
_REQUIREMENT = re.compile(r"\s*([A-Za-z0-9._-]+)\s*(?:\[([^\]]*)\])?[^;]*(?:;(.*))?")
_EXTRA = re.compile(r"""extra\s*==\s*["']([^"']+)["']""")
# The service sees none of these (ProtectHome=, PrivateTmp=).
HIDDEN = (Path("/home"), Path("/root"), Path("/run/user"), Path("/tmp"), Path("/var/tmp"))  # noqa: S108
_VERSION = f"{sys.version_info.major}.{sys.version_info.minor}"
# What is mapped are the interpreter and its libraries, wherever they are.
_TELL = (
    "import ssl, sqlite3, sysconfig; print(sysconfig.get_config_var('SOABI'), open('/proc/self/maps').read())"
)
_NOBODY = Identity(65534, 65534, ())
_SCRIPT = """#!{python} -I
from registry_proxy.commands import main

main()
"""


def checkout() -> Path | None:
    """The checkout that this program runs from; None when it was installed."""
    root = _PACKAGE.parents[1]
    return root if (root / "pyproject.toml").is_file() else None


def find_python(wanted: Path | None) -> Path:
    """A Python like the one that runs this, which every user may run. Raises InstallError."""
    own = Path(getattr(sys, "_base_executable", sys.executable))
    others = [Path(folder) / f"python{_VERSION}" for folder in ("/usr/local/bin", "/usr/bin")]
    for candidate in [wanted] if wanted else [own, *others]:
        if candidate.exists() and _serves_all(candidate):
            return candidate
    raise InstallError(
        f"the service needs a Python {_VERSION} that every user may run, and {wanted or own} isn't one. "
        f"Install one below /usr and name it with --python, or set this program up with the system's: "
        "make clean install PYTHON=/usr/bin/python3"
    )


def _serves_all(python: Path) -> bool:
    """Whether it works for a user without any rights, has our ABI, and nothing of it is hidden from the service."""
    try:
        said = run([str(python), "-I", "-c", _TELL], environ={}, folder=Path("/"), identity=_NOBODY)
    except InstallError:
        return False
    abi, _, maps = said.partition(" ")
    places = [python, *(Path(line.split()[-1]) for line in maps.splitlines() if "/" in line)]
    hidden = any(place.is_relative_to(folder) for place in places for folder in HIDDEN)
    return abi == sysconfig.get_config_var("SOABI") and not hidden


class Program:
    """Builds the copy, to be used at `place` with `python`."""

    def __init__(self, place: Path, python: Path) -> None:
        self._place = place
        self._python = python
        self._distributions = list(_closure(_requirements()))

    def fingerprint(self) -> str:
        """Tells whether a copy is of this very program."""
        digest = hashlib.sha256(f"{self._place} {self._python} {sys.version}".encode())
        for each in self._distributions:
            digest.update(f"\0{each.name} {each.version}\0{each.read_text('RECORD')}".encode())
        for path in _own_files():
            digest.update(f"\0{path}\0".encode() + (_PACKAGE / path).read_bytes())
        return digest.hexdigest()

    def build(self, target: Path) -> None:
        """Make the copy in the folder `target`, and see that it works. Raises InstallError, OSError."""
        site = target / f"lib/python{_VERSION}/site-packages"
        # PEP 405: this file and the link beside `lib` make a virtual environment.
        config = f"home = {self._python.parent}\ninclude-system-site-packages = false\nversion = {_VERSION}\n"
        _write(target / "pyvenv.cfg", config)
        for name in ("python", "python3"):
            link = target / "bin" / name
            link.parent.mkdir(exist_ok=True)
            link.symlink_to(self._python)
        for each in self._distributions:
            _copy(each, site)
        for path in _own_files():
            _copy_file(_PACKAGE / path, site / "registry_proxy" / path)
        _write(target / "bin" / _NAME, _SCRIPT.format(python=self._place / "bin/python"), mode=0o755)
        self._compile(target)
        for folder in (target, *target.rglob("*/")):
            folder.chmod(0o755)

    def _compile(self, target: Path) -> None:
        python = [str(target / "bin/python"), "-I"]
        # The service can't write there, so what isn't compiled now would be at each start.
        places = ["-s", str(target), "-p", str(self._place)]
        run([*python, "-m", "compileall", "-q", "-j", "0", *places, str(target / "lib")])
        run([*python, str(target / "bin" / _NAME), "--version"])


def _requirements() -> list[str]:
    """What this program needs. An editable installation's own records can be older than the checkout."""
    root = checkout()
    if root is not None:
        project = tomllib.loads((root / "pyproject.toml").read_text("utf-8"))["project"]
        return list(project["dependencies"])
    return distribution(_NAME).requires or []


def _closure(requirements: list[str]) -> Iterator[Distribution]:
    """The distributions that requirements lead to. Raises InstallError when one is missing."""
    seen: set[tuple[str, frozenset[str]]] = set()
    yielded: set[str] = set()
    waiting = [(text, frozenset[str]()) for text in requirements]
    while waiting:
        text, wanted = waiting.pop()
        match = _REQUIREMENT.match(text)
        assert match is not None
        name, extras, marker = match[1], _split(match[2]), match[3] or ""
        extra = _EXTRA.search(marker)
        if (extra and extra[1] not in wanted) or (name, extras) in seen:
            continue
        seen.add((name, extras))
        try:
            found = distribution(name)
        except PackageNotFoundError:
            if marker:
                continue  # for another platform or another Python
            raise InstallError(
                f"{name}, which this program needs, isn't installed. Run: make install"
            ) from None
        waiting += [(text, extras) for text in found.requires or []]
        if found.name.lower() not in yielded:
            yielded.add(found.name.lower())
            yield found


def _split(extras: str | None) -> frozenset[str]:
    return frozenset(extra.strip() for extra in (extras or "").split(",") if extra.strip())


def _own_files() -> list[Path]:
    found = (path.relative_to(_PACKAGE) for path in _PACKAGE.rglob("*") if path.is_file())
    return sorted(path for path in found if "__pycache__" not in path.parts)


def _copy(each: Distribution, site: Path) -> None:
    if each.files is None:
        raise InstallError(
            f"{each.name} has no list of its files, so it can't be copied. Install it with pip."
        )
    for path in each.files:
        # What lies outside are scripts and manual pages.
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
