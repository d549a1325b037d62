"""Questions about the store: its directory, and its size."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from registry_proxy.commands.config.prompter import MissingAnswerError
from registry_proxy.commands.config.validators import is_a
from registry_proxy.config.load import default_storage_path
from registry_proxy.config.types import ByteSize
from registry_proxy.config.units import format_size, parse_size

if TYPE_CHECKING:
    from registry_proxy.commands.config.context import Context

_GIB = 1024**3
_size_problem = is_a(ByteSize)


def ask_storage(context: Context) -> None:
    """Ask for the directory and the size limit."""
    flags, old, prompter = context.flags, context.old, context.prompter
    before = old.storage.path if old else default_storage_path(os.environ)
    path = flags.path or prompter.text(
        "Where to store the content?", str(before), _directory_problem, "--path"
    )
    if problem := _directory_problem(str(path)):
        raise MissingAnswerError(f"--path {path}: {problem}")
    directory = Path(context.absolute(path))
    context.answers.values["storage", "path"] = str(directory)
    size = format_size(old.storage.max_size) if old else "100GiB"
    disk = shutil.disk_usage(_nearest(directory))
    question = (
        f"How much space may it use? ({disk.free // _GIB} of {disk.total // _GIB} GiB on that disk are free)"
    )
    text = flags.max_size or prompter.text(question, size, _size_problem, "--max-size")
    if problem := _size_problem(text):
        raise MissingAnswerError(f"--max-size {text}: {problem}")
    same = old is not None and parse_size(text) == old.storage.max_size
    context.answers.values["storage", "max_size"] = size if same else text
    if parse_size(text) > disk.total:
        prompter.print(f"{text} is larger than that disk: content is evicted when the disk is full.")


def _directory_problem(text: str) -> str | None:
    path = Path(text).expanduser()
    if not text or not path.is_absolute():
        return "The path must begin with a slash."
    nearest = _nearest(path)
    return None if nearest.is_dir() else f"{nearest} is not a directory."


def _nearest(path: Path) -> Path:
    """Return the path itself, or the nearest existing directory above it."""
    return next(place for place in (path, *path.parents) if place.exists())
