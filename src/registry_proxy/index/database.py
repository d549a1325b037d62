"""Opening the index's file: its schema, its damage, and the processes that share it."""

from __future__ import annotations

import fcntl
import logging
import sqlite3
from contextlib import ExitStack, closing, suppress
from dataclasses import dataclass
from importlib import resources
from itertools import count
from typing import TYPE_CHECKING, BinaryIO

from registry_proxy.index.ballast import Ballast
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
    """The open index: `is_new` as in `Index`; `lock` tells other processes of this one."""

    reader: sqlite3.Connection
    writer: sqlite3.Connection
    is_new: bool
    lock: BinaryIO
    reserve: Ballast

    def close(self) -> None:
        """Close the reader and let go of the file; the writer is closed by who uses it, before."""
        self.reader.close()
        self.reserve.fill()
        self.lock.close()


def open_database(path: Path) -> Database:
    """Open the file, made or brought to the current schema where needed; a damaged one is moved aside.

    That is done by a process that is alone with it; one that joins others takes it as it is. Raises IndexFailedError.
    """
    try:
        with ExitStack() as on_failure:
            lock = on_failure.enter_context(path.with_name(f"{path.name}.lock").open("ab"))
            reserve = Ballast(lock)
            try:
                database = _open_locked(path, lock, reserve)
            except sqlite3.OperationalError:
                # The disk may be full.
                reserve.release()
                database = _open_locked(path, lock, reserve)
            reserve.fill()
            on_failure.pop_all()
            return database
    except (sqlite3.Error, OSError) as error:
        raise IndexFailedError(f"can't open the index {path}: {error}") from error


def _open_locked(path: Path, lock: BinaryIO, reserve: Ballast) -> Database:
    with ExitStack() as on_failure:
        is_new = _prepare(path) if _is_alone(lock) else False
        writer = on_failure.enter_context(closing(_connect(path, _WRITE_PATIENCE)))
        reader = on_failure.enter_context(closing(connect_reader(path)))
        _require_current_schema(path, reader)
        fcntl.flock(lock, fcntl.LOCK_SH)
        on_failure.pop_all()
    return Database(reader, writer, is_new, lock, reserve)


def damage_of(path: Path) -> str | None:
    """What is wrong with the file; None when it is whole. It reads all of it. Raises IndexFailedError."""
    try:
        _check(path)
    except _DamagedError as damage:
        return str(damage)
    except sqlite3.Error as error:
        raise IndexFailedError(f"can't read the index {path}: {error}") from error
    return None


def open_for_reading(path: Path) -> sqlite3.Connection:
    """A connection for reads only, to a file that is left as it is. Raises IndexFailedError."""
    try:
        with ExitStack() as on_failure:
            db = on_failure.enter_context(closing(connect_reader(path)))
            (version,) = db.execute("PRAGMA user_version").fetchone()
            if version != len(_schema()):
                raise IndexFailedError(
                    f"the index {path} has the schema {version}, not {len(_schema())}: another version of this program"
                    " uses it, or did at last. Run that version, or start this one's server once"
                )
            on_failure.pop_all()
            return db
    except sqlite3.Error as error:
        raise IndexFailedError(f"can't read the index {path}: {error}") from error


def connect_reader(path: Path) -> sqlite3.Connection:
    """A connection for reads only, to a file that exists. Raises sqlite3.Error."""
    # Not "mode=ro": the first one to come after a crash recovers the write-ahead log.
    db = _connect(f"{path.absolute().as_uri()}?mode=rw", _READ_PATIENCE)
    db.execute("PRAGMA query_only = ON")
    return db


def _connect(path: Path | str, patience: float) -> sqlite3.Connection:
    """A connection to a file, or to one that a URI names."""
    # Autocommit: transactions are begun where they are meant. Used by one thread at a time, not always the same one.
    db = sqlite3.connect(
        path, timeout=patience, isolation_level=None, check_same_thread=False, uri=isinstance(path, str)
    )
    # Syncs at checkpoints, not at commits: a power loss may undo the last commits, and damages nothing.
    db.execute("PRAGMA synchronous = NORMAL")
    return db


def _is_alone(lock: BinaryIO) -> bool:
    """Lock the index: alone, or together with the processes that have it open."""
    # Twice: a process that prepares the file is waited for, and may die of it.
    for _ in range(2):
        with suppress(BlockingIOError):
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        fcntl.flock(lock, fcntl.LOCK_SH)
    return False


def _prepare(path: Path) -> bool:
    """Make the file good to use; tells whether the store is to be scanned."""
    try:
        _check(path)
    except _DamagedError as damage:
        _log.warning(
            "the index %s can't be used (%s): it is now %s, and a new one is begun. Nothing stored is lost: it is"
            " counted again from the files, and linked again as images are pulled.",
            path,
            damage,
            _move_aside(path),
        )
    with closing(_connect(path, _WRITE_PATIENCE)) as db:
        db.execute("PRAGMA journal_mode = WAL")
        _migrate(path, db)
        return not db.execute("SELECT scanned FROM state").fetchone()[0]


def _check(path: Path) -> None:
    if not path.is_file():
        return
    try:
        # Read-only: a file that is to be moved aside keeps its log as it is.
        uri = f"{path.absolute().as_uri()}?mode=ro"
        with closing(sqlite3.connect(uri, uri=True, timeout=_WRITE_PATIENCE)) as db:
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
    candidates = (path.with_name(f"{path.name}.damaged-{number}") for number in count(1))
    target = next(candidate for candidate in candidates if not candidate.exists())
    for companion in _COMPANIONS:
        with suppress(FileNotFoundError):
            path.with_name(path.name + companion).rename(target.with_name(target.name + companion))
    return target


def _schema() -> list[str]:
    """The steps from an empty file to the current schema; a file's version is the number of steps it has taken."""
    steps = [
        step
        for step in resources.files(__package__).joinpath("schema").iterdir()
        if step.name.endswith(".sql")
    ]
    return [step.read_text() for step in sorted(steps, key=lambda step: step.name)]


def _migrate(path: Path, db: sqlite3.Connection) -> None:
    steps = _schema()
    (version,) = db.execute("PRAGMA user_version").fetchone()
    if version > len(steps):
        raise IndexFailedError(
            f"the index {path} was written by a newer version of this program (its schema is {version}, the last one"
            f" known here is {len(steps)}): run that version, or move the file away to begin a new index"
        )
    for number, step in enumerate(steps[version:], start=version + 1):
        marks = f"PRAGMA application_id = {_APPLICATION_ID}; PRAGMA user_version = {number}"
        db.executescript(f"BEGIN IMMEDIATE; {step}; {marks}; COMMIT")


def _require_current_schema(path: Path, db: sqlite3.Connection) -> None:
    (version,) = db.execute("PRAGMA user_version").fetchone()
    if version != len(_schema()):
        raise IndexFailedError(
            f"the index {path} has the schema {version}, not {len(_schema())}, and other processes are using it:"
            " stop all of them, then start again"
        )
