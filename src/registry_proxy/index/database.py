"""Opening the index's file: its schema, its damage, and the processes that share it."""

from __future__ import annotations

import fcntl
import logging
import sqlite3
from contextlib import closing, suppress
from dataclasses import dataclass
from importlib import resources
from itertools import count
from typing import TYPE_CHECKING, BinaryIO

from registry_proxy.index.base import IndexFailedError

if TYPE_CHECKING:
    from pathlib import Path

_log = logging.getLogger(__name__)

# "RgPx": tells this program's files from other SQLite databases.
_APPLICATION_ID = 0x52675078
_DAMAGED = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB})
_COMPANIONS = ("", "-wal", "-shm")
# How long a write waits for other processes' transactions, in seconds.
_WRITE_PATIENCE = 30.0
# Reads run in the event loop; they wait only while another process recovers the file after a crash.
_READ_PATIENCE = 1.0


class _DamagedError(Exception):
    """The file can't be the index: the text says why."""


@dataclass(frozen=True, slots=True)
class Database:
    """The open index: `is_new` as in `Index`, and `lock` to be closed last (it tells other processes of this one)."""

    reader: sqlite3.Connection
    writer: sqlite3.Connection
    is_new: bool
    lock: BinaryIO


def open_database(path: Path) -> Database:
    """Open the file, made or brought to the current schema where needed; a damaged one is moved aside.

    That is done by a process that is alone with it; one that joins others takes it as it is. Raises IndexFailedError.
    """
    try:
        lock = path.with_name(f"{path.name}.lock").open("ab")
    except OSError as error:
        raise IndexFailedError(f"can't open the index {path}: {error.strerror}") from error
    try:
        return _open_locked(path, lock)
    except BaseException:
        lock.close()
        raise


def _open_locked(path: Path, lock: BinaryIO) -> Database:
    try:
        is_new = _prepare(path) if _is_alone(lock) else False
        writer = _connect(path, _WRITE_PATIENCE)
        reader = _connect(path, _READ_PATIENCE)
        reader.execute("PRAGMA query_only = ON")
    except (sqlite3.Error, OSError) as error:
        raise IndexFailedError(f"can't open the index {path}: {error}") from error
    fcntl.flock(lock, fcntl.LOCK_SH)
    return Database(reader, writer, is_new, lock)


def _is_alone(lock: BinaryIO) -> bool:
    """Lock the index: alone, or together with the processes that have it open."""
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        fcntl.flock(lock, fcntl.LOCK_SH)
        return False
    return True


def _prepare(path: Path) -> bool:
    """Make the file good to use; tells whether the store is to be scanned."""
    try:
        _check(path)
    except _DamagedError as damage:
        aside = _move_aside(path)
        _log.warning(
            "the index %s can't be used (%s): it is now %s, and a new one is begun. Nothing stored is lost: it is"
            " counted again from the files, and linked again as images are pulled.",
            path, damage, aside,
        )  # fmt: skip
    with closing(_connect(path, _WRITE_PATIENCE)) as db:
        _migrate(db)
        return not db.execute("SELECT scanned FROM state").fetchone()[0]


def _check(path: Path) -> None:
    if not path.exists():
        return
    try:
        with closing(_connect(path, _WRITE_PATIENCE)) as db:
            (application,) = db.execute("PRAGMA application_id").fetchone()
            (tables,) = db.execute("SELECT count(*) FROM sqlite_schema").fetchone()
            (verdict,) = db.execute("PRAGMA quick_check(1)").fetchone()
    except sqlite3.DatabaseError as error:
        if error.sqlite_errorcode & 0xFF in _DAMAGED:
            raise _DamagedError(error) from error
        raise
    if verdict != "ok":
        raise _DamagedError(verdict)
    if tables and application != _APPLICATION_ID:
        raise _DamagedError("it is another program's database")


def _move_aside(path: Path) -> Path:
    target = next(
        candidate
        for number in count(1)
        if not (candidate := path.with_name(f"{path.name}.damaged-{number}")).exists()
    )
    for companion in _COMPANIONS:
        with suppress(FileNotFoundError):
            path.with_name(path.name + companion).rename(target.with_name(target.name + companion))
    return target


def _connect(path: Path, patience: float) -> sqlite3.Connection:
    # Autocommit: transactions are begun where they are meant. Used by one thread at a time, made in another.
    db = sqlite3.connect(path, timeout=patience, isolation_level=None, check_same_thread=False)
    try:
        db.execute("PRAGMA journal_mode = WAL")
        # Syncs at checkpoints, not at commits: a power loss may undo the last commits, and damages nothing.
        db.execute("PRAGMA synchronous = NORMAL")
    except BaseException:
        db.close()
        raise
    return db


def _migrate(db: sqlite3.Connection) -> None:
    steps = sorted(
        (
            step
            for step in resources.files(__package__).joinpath("schema").iterdir()
            if step.name.endswith(".sql")
        ),
        key=lambda step: step.name,
    )
    (version,) = db.execute("PRAGMA user_version").fetchone()
    if version > len(steps):
        raise IndexFailedError(
            f"the index was written by a newer version of this program (its schema is {version}, the last one known"
            f" here is {len(steps)}): run that version, or move the file away to begin a new index"
        )
    for number, step in enumerate(steps[version:], start=version + 1):
        db.executescript(
            f"BEGIN IMMEDIATE; {step.read_text()}; PRAGMA application_id = {_APPLICATION_ID};"
            f" PRAGMA user_version = {number}; COMMIT;"
        )
