"""Opening of the index's file: schema, damage, and sharing between processes."""

from __future__ import annotations

import fcntl
import logging
import os
import sqlite3
import stat
from contextlib import ExitStack, closing, suppress
from dataclasses import dataclass
from importlib import resources
from itertools import count
from typing import TYPE_CHECKING, BinaryIO

from registry_proxy.index.ballast import Ballast
from registry_proxy.index.base import IndexCheck, IndexFailedError

if TYPE_CHECKING:
    from pathlib import Path

log = logging.getLogger(__name__)

# "RgPx": distinguishes this program's files from other SQLite databases.
_APPLICATION_ID = 0x52675078
_DAMAGED = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB})
# Names of private repositories are in the index.
_PRIVATE = 0o600
# The disk cannot read a part of the file. A disk that cannot be written is another matter: all content stays readable.
_UNREADABLE = frozenset(
    {
        sqlite3.SQLITE_IOERR_READ,
        sqlite3.SQLITE_IOERR_SHORT_READ,
        sqlite3.SQLITE_IOERR_CORRUPTFS,
        sqlite3.SQLITE_IOERR_DATA,
    }
)
_COMPANIONS = ("", "-wal", "-shm")
# Seconds that a write waits for other processes' transactions.
_WRITE_TIMEOUT = 30.0
# Seconds that a read waits, in the event loop, while another process recovers the file after a crash.
_READ_TIMEOUT = 1.0


@dataclass(frozen=True, slots=True)
class Database:
    """The open index. `is_new` is as in `Index`. `lock` shows other processes that this one has the file open."""

    reader: sqlite3.Connection
    writer: sqlite3.Connection
    is_new: bool
    lock: BinaryIO
    ballast: Ballast

    def close(self) -> None:
        """Close the reader and release the lock. The user of the writer closes that first."""
        self.reader.close()
        self.ballast.fill()
        self.lock.close()


def open_database(path: Path, check: IndexCheck) -> Database:
    """Open the file. Create or migrate it if needed, and move a damaged one aside. Raise IndexFailedError.

    Only a process that has the file alone changes it so.
    Further processes open it as it is.
    """
    try:
        with ExitStack() as on_failure:
            lock = on_failure.enter_context(_open_private(path.with_name(f"{path.name}.lock")))
            ballast = Ballast(lock)
            try:
                database = _open_locked(path, lock, ballast, check)
            except sqlite3.OperationalError:
                # The disk may be full.
                ballast.release()
                database = _open_locked(path, lock, ballast, check)
            ballast.fill()
            on_failure.pop_all()
            return database
    except (sqlite3.Error, OSError) as error:
        raise IndexFailedError(f"can't open the index {path}: {error}") from error


def _open_private(path: Path) -> BinaryIO:
    """Open a file for writing, which only its owner can read. Raise OSError."""
    flags = os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC
    file = os.fdopen(os.open(path, flags, _PRIVATE), "ab")
    status = os.fstat(file.fileno())
    if stat.S_IMODE(status.st_mode) != _PRIVATE and status.st_uid == os.geteuid():
        os.fchmod(file.fileno(), _PRIVATE)
    return file


def _open_locked(path: Path, lock: BinaryIO, ballast: Ballast, check: IndexCheck) -> Database:
    with ExitStack() as on_failure:
        is_new = _prepare(path, check) if _is_alone(lock) else False
        writer = on_failure.enter_context(closing(_connect(path, _WRITE_TIMEOUT)))
        reader = on_failure.enter_context(closing(connect_reader(path)))
        _require_current_schema(path, reader)
        fcntl.flock(lock, fcntl.LOCK_SH)
        on_failure.pop_all()
    return Database(reader, writer, is_new, lock, ballast)


def damage_of(path: Path) -> str | None:
    """Return the damage of the file, or None if it is intact. Reads the whole file. Raise IndexFailedError."""
    try:
        return _find_damage(path, is_full=True)
    except sqlite3.Error as error:
        raise IndexFailedError(f"can't read the index {path}: {error}") from error


def open_for_reading(path: Path) -> sqlite3.Connection:
    """Return a read-only connection to a file, without creating or migrating it. Raise IndexFailedError."""
    try:
        with ExitStack() as on_failure:
            db = on_failure.enter_context(closing(connect_reader(path)))
            (version,) = db.execute("PRAGMA user_version").fetchone()
            if version != len(_schema()):
                raise IndexFailedError(
                    f"the index {path} has the schema {version}, not {len(_schema())}: another version of this program"
                    " has written it. Run that version, or start the server of this version once"
                )
            on_failure.pop_all()
            return db
    except sqlite3.Error as error:
        raise IndexFailedError(f"can't read the index {path}: {error}") from error


def connect_reader(path: Path) -> sqlite3.Connection:
    """Return a read-only connection to a file that exists. Raise sqlite3.Error."""
    # Not "mode=ro": the first connection after a crash recovers the write-ahead log.
    db = _connect(f"{path.absolute().as_uri()}?mode=rw", _READ_TIMEOUT)
    db.execute("PRAGMA query_only = ON")
    return db


def _connect(path: Path | str, timeout: float) -> sqlite3.Connection:
    """Return a connection to a path or a URI. `timeout` is in seconds."""
    # Autocommit: transactions begin explicitly. One thread at a time uses the connection, not always the same one.
    db = sqlite3.connect(
        path, timeout=timeout, isolation_level=None, check_same_thread=False, uri=isinstance(path, str)
    )
    # Sync at checkpoints, not at commits: a power loss may undo the last commits, but damages nothing.
    db.execute("PRAGMA synchronous = NORMAL")
    return db


def _is_alone(lock: BinaryIO) -> bool:
    """Lock the index, and return whether this process has it alone. Otherwise share the lock."""
    # Twice: the process that prepares the file, which this one waits for, may die.
    for _ in range(2):
        with suppress(BlockingIOError):
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        fcntl.flock(lock, fcntl.LOCK_SH)
    return False


def _prepare(path: Path, check: IndexCheck) -> bool:
    """Create, migrate or replace the file as needed. Return whether the store must be scanned."""
    damage = _find_damage(path, is_full=check is not IndexCheck.QUICK)
    if damage is None and check is IndexCheck.REPLACE and path.is_file():
        damage = "no damage is found, but it failed again"
    if damage is not None:
        log.warning(
            "index %s is unusable (%s): moved to %s, starting a new one. No content is lost: it is counted again from"
            " the files, and linked again when images are pulled.",
            path,
            damage,
            _move_aside(path),
        )
    _open_private(path).close()  # SQLite gives its companions the same mode
    with closing(_connect(path, _WRITE_TIMEOUT)) as db:
        db.execute("PRAGMA journal_mode = WAL")
        _migrate(path, db)
        return not db.execute("SELECT scanned FROM state").fetchone()[0]


def _find_damage(path: Path, *, is_full: bool) -> str | None:
    """Return the damage of the file, or None. Raise sqlite3.Error if it can't be read for another reason.

    A full check reads all of the file, which takes a second per 100 MB.
    """
    if not path.is_file():
        return None
    try:
        # Read-only: a damaged file is moved together with its unchanged log.
        uri = f"{path.absolute().as_uri()}?mode=ro"
        with closing(sqlite3.connect(uri, uri=True, timeout=_WRITE_TIMEOUT)) as db:
            (application,) = db.execute("PRAGMA application_id").fetchone()
            (tables,) = db.execute("SELECT count(*) FROM sqlite_schema").fetchone()
            (verdict,) = db.execute("PRAGMA quick_check(1)").fetchone() if is_full else ("ok",)
    except sqlite3.Error as error:
        if is_damage(error):
            return str(error)
        raise
    if verdict != "ok":
        return str(verdict)
    if tables and application != _APPLICATION_ID:
        return "the database of another program"
    return None


def is_damage(error: sqlite3.Error) -> bool:
    """Return whether an error shows that the file is damaged or unreadable, so that only another file helps."""
    # Misuse of the library has no code. A file that another program has emptied has no tables.
    code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_OK)
    is_empty = code == sqlite3.SQLITE_ERROR and str(error).startswith("no such table")
    return is_empty or code & 0xFF in _DAMAGED or code in _UNREADABLE


def replaced_files(path: Path) -> list[Path]:
    """Return the damaged files that the index at `path` has replaced."""
    return sorted(path.parent.glob(f"{path.name}.damaged-*[0-9]"))


def _move_aside(path: Path) -> Path:
    candidates = (path.with_name(f"{path.name}.damaged-{number}") for number in count(1))
    target = next(candidate for candidate in candidates if not candidate.exists())
    for companion in _COMPANIONS:
        with suppress(FileNotFoundError):
            path.with_name(path.name + companion).rename(target.with_name(target.name + companion))
    return target


def _schema() -> list[str]:
    """Return the migrations from an empty file to the current schema. A file's version is the number applied to it."""
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
            f"the index {path} was written by a newer version of this program (its schema is {version}, the last known"
            f" one is {len(steps)}): run the newer version, or move the file away to start a new index"
        )
    for number, step in enumerate(steps[version:], start=version + 1):
        marks = f"PRAGMA application_id = {_APPLICATION_ID}; PRAGMA user_version = {number}"
        db.executescript(f"BEGIN IMMEDIATE; {step}; {marks}; COMMIT")


def _require_current_schema(path: Path, db: sqlite3.Connection) -> None:
    (version,) = db.execute("PRAGMA user_version").fetchone()
    if version != len(_schema()):
        raise IndexFailedError(
            f"the index {path} has the schema {version}, not {len(_schema())}, and other processes are using it:"
            " stop all of them, then start the server again"
        )
