"""Questions about the store: its directory, and its size."""

from __future__ import annotations

import os
import shutil
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from registry_proxy.commands.config.prompter import MissingAnswerError
from registry_proxy.commands.config.runner import default_store, unusable_store
from registry_proxy.commands.config.validators import is_a
from registry_proxy.config.load import default_storage_path
from registry_proxy.config.settings import StorageSettings
from registry_proxy.config.types import ByteSize
from registry_proxy.config.units import format_size, parse_size

if TYPE_CHECKING:
    from registry_proxy.commands.config.context import Context

_GIB = 1024**3
# The part of the free space that a new store may use, so that the disk does not get full.
_SHARE = 0.8
_size_problem = is_a(ByteSize)


def ask_storage(context: Context) -> None:
    """Ask for the directory and the size limit."""
    flags, old, prompter = context.flags, context.old, context.prompter
    directory = _ask_directory(context)
    disk = shutil.disk_usage(_nearest(directory))
    size = format_size(old.storage.max_size if old else _fitting(disk.free))
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


def _ask_directory(context: Context) -> Path:
    """Ask for the directory. The default is not written: each way to run the server has another one."""
    default, old = default_store(context.answers.runner), context.old.storage.path if context.old else None
    defaults = {default, default_storage_path(os.environ), default_storage_path({})}
    usable = old is not None and old not in defaults and not unusable_store(context, old)
    check = partial(_directory_problem, context)
    path = context.flags.path or context.prompter.text(
        "Where to store the content?", str(old if usable else default), check, "--path"
    )
    if problem := check(str(path)):
        raise MissingAnswerError(f"--path {path}: {problem}")
    directory = Path(context.absolute(path))
    if directory != old:
        context.answers.values["storage", "path"] = str(directory) if directory != default else None
    context.answers.store = directory
    return directory


def _directory_problem(context: Context, text: str) -> str | None:
    path = Path(text).expanduser()
    if not text or not path.is_absolute():
        return "The path must begin with a slash."
    nearest = _nearest(path)
    return unusable_store(context, path) if nearest.is_dir() else f"{nearest} is not a directory."


def _fitting(free: int) -> int:
    """Return the default budget in bytes, or most of the free space if that is smaller."""
    default: int = StorageSettings.model_fields["max_size"].default
    return max(min(default, int(free * _SHARE) // _GIB * _GIB), _GIB)


def _nearest(path: Path) -> Path:
    """Return the path itself, or the nearest existing directory above it."""
    return next(place for place in (path, *path.parents) if place.exists())
