"""An image with Python to build on, made from this machine's Debian packages: no registry is asked for it."""

from __future__ import annotations

import io
import re
import subprocess
import tarfile
from pathlib import Path
from typing import TYPE_CHECKING

from tests.kit.processes import ROOT, Local, python, run

if TYPE_CHECKING:
    from collections.abc import Iterator

# A shell and the usual commands, and Python with its venv module.
_PACKAGES = ("base-files", "coreutils", "dash", "python3", "python3-venv")
_UNUSED = re.compile(r"/usr/share/(doc|man|locale|info|lintian|bug)/")
_MERGED = re.compile(r"^/(bin|sbin|lib|lib32|lib64|libx32)(?=/)")
_WHEELS = "wheels"
_FILES = {
    "etc/passwd": "root:x:0:0:root:/root:/bin/sh\n",
    "etc/group": "root:x:0:\n",
    # So that pip in the image needs no network.
    "etc/pip.conf": f"[global]\nno-index = true\nfind-links = /{_WHEELS}\n",
}


def download_wheels(folder: Path) -> None:
    """What the image of the program is built from, as pip fetches or has it."""
    locks = [f"--requirement={ROOT / 'requirements' / name}" for name in ("runtime.txt", "build.txt")]
    target = ["--require-hashes", "--only-binary=:all:", f"--dest={folder}"]
    run(Local(), python("-m", "pip", "download", "--quiet", *locks, *target), seconds=300)


def write_archive(path: Path, wheels: Path) -> None:
    """The file system of the image, for `docker import`."""
    with tarfile.open(path, "w") as archive:
        for folder in ("tmp", "root", "proc", "sys", "dev", "run", "etc", "usr"):
            _add_folder(archive, folder, 0o1777 if folder == "tmp" else 0o755)
        for name in ("bin", "sbin", "lib", "lib64"):
            _add_link(archive, name, f"usr/{name}")
        files = (file for package in _closure() for file in _files_of(package))
        # The same file under its old name and its new one is one file: /bin is a link to /usr/bin.
        for name, file in {_MERGED.sub(r"/usr/\1", file).lstrip("/"): file for file in files}.items():
            archive.add(file, name, recursive=False)
        for name, text in _FILES.items():
            _add_text(archive, name, text)
        archive.add(wheels, _WHEELS)


def _add_folder(archive: tarfile.TarFile, name: str, mode: int) -> None:
    entry = tarfile.TarInfo(name)
    entry.type, entry.mode = tarfile.DIRTYPE, mode
    archive.addfile(entry)


def _add_link(archive: tarfile.TarFile, name: str, target: str) -> None:
    entry = tarfile.TarInfo(name)
    entry.type, entry.linkname = tarfile.SYMTYPE, target
    archive.addfile(entry)


def _add_text(archive: tarfile.TarFile, name: str, text: str) -> None:
    entry = tarfile.TarInfo(name)
    entry.size, entry.mode = len(text), 0o644
    archive.addfile(entry, io.BytesIO(text.encode()))


def _closure() -> list[str]:
    """The packages and all that they depend on, as they are installed here."""
    depends = _dependencies()
    found: dict[str, None] = {}
    waiting = list(_PACKAGES)
    while waiting:
        package = waiting.pop()
        if package not in found:
            found[package] = None
            waiting += depends[package]
    return list(found)


def _dependencies() -> dict[str, list[str]]:
    """Of each installed package, the installed ones that it depends on."""
    form = "${db:Status-Abbrev}|${Package}|${Provides}|${Pre-Depends},${Depends}\n"
    output = run(Local(), ["dpkg-query", "--show", f"--showformat={form}"])
    rows = [line.split("|", 3) for line in output.splitlines() if line.startswith("ii")]
    providers = {name: package for _, package, provides, _ in rows for name in (*_names(provides), package)}
    return {
        package: [providers[name] for name in _names(depends.replace("|", ",")) if name in providers]
        for _, package, _, depends in rows
    }


def _names(relations: str) -> Iterator[str]:
    for relation in relations.split(","):
        if name := re.match(r"\s*([a-z0-9.+-]+)", relation):
            yield name[1]


def _files_of(package: str) -> Iterator[str]:
    listed = subprocess.run(
        ["dpkg", "--listfiles", package], capture_output=True, text=True, check=True
    ).stdout
    for file in listed.splitlines():
        if (
            file.count("/") > 1
            and not _UNUSED.match(file)
            and (Path(file).is_symlink() or Path(file).is_file())
        ):
            yield file
