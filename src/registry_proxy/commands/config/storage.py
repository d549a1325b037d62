"""Where content is kept, and how much of it."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from registry_proxy.commands.config.checks import is_a
from registry_proxy.commands.config.prompter import MissingAnswerError
from registry_proxy.config.load import default_storage_path
from registry_proxy.config.types import ByteSize
from registry_proxy.config.units import format_size, parse_size

if TYPE_CHECKING:
    from registry_proxy.commands.config.context import Context

_GIB = 1024**3
_is_size = is_a(ByteSize)


def ask_storage(context: Context) -> None:
    """The folder, and the budget."""
    flags, old, prompter = context.flags, context.old, context.prompter
    before = old.storage.path if old else default_storage_path(os.environ)
    path = flags.path or prompter.text("Where to keep the content?", str(before), _is_folder, "--path")
    if problem := _is_folder(str(path)):
        raise MissingAnswerError(f"--path {path}: {problem}")
    folder = Path(context.absolute(path))
    context.answers.values["storage", "path"] = str(folder)
    size = format_size(old.storage.max_size) if old else "100GiB"
    disk = shutil.disk_usage(_nearest(folder))
    question = f"How much may it take? ({disk.free // _GIB} GiB of that disk's {disk.total // _GIB} are free)"
    text = flags.max_size or prompter.text(question, size, _is_size, "--max-size")
    if problem := _is_size(text):
        raise MissingAnswerError(f"--max-size {text}: {problem}")
    same = old is not None and parse_size(text) == old.storage.max_size
    context.answers.values["storage", "max_size"] = size if same else text
    if parse_size(text) > disk.total:
        prompter.tell(f"{text} is more than that disk has; content is then evicted once the disk is full.")


def _is_folder(text: str) -> str | None:
    path = Path(text).expanduser()
    if not text or not path.is_absolute():
        return "It must begin with a slash."
    nearest = _nearest(path)
    return None if nearest.is_dir() else f"{nearest} is no folder."


def _nearest(path: Path) -> Path:
    """The folder itself, or the nearest one over it that there is."""
    return next(folder for folder in (path, *path.parents) if folder.exists())
