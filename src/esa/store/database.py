"""Opening the SQLite files of the state folder: durable, checked for their schema, with faults said in words.

Used by queue.py directly and by quarantine.py and tracking.py under SQLAlchemy. Every file has one writing process; others open it
read-only.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import MappingProxyType

from esa.errors import StoreError
from esa.store.folder import store_error

BUSY_TIMEOUT = 10.0  # seconds; only a reader's checkpoint or another esa command can hold a lock at all
_FULL = frozenset({sqlite3.SQLITE_FULL})
_IN_USE = frozenset({sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED})


def database_error(error: sqlite3.Error, path: Path) -> StoreError:
    """Say what went wrong with the file, and how to mend it."""
    code = getattr(error, "sqlite_errorcode", 0) or 0
    primary = code & 0xFF
    where = str(path)
    if primary in _FULL or (primary == sqlite3.SQLITE_IOERR and _is_full(path)):
        return StoreError("the disk is full", where=where, mend="free some space; work goes on by itself", is_full=True)
    if primary in _IN_USE:
        return StoreError("the database is locked by another process", where=where, mend="stop the other esa first", is_in_use=True)
    if primary == sqlite3.SQLITE_READONLY:
        return StoreError(
            "the database cannot be written", where=where, mend="give the folder to the user esa runs as, or remount it for writing"
        )
    if primary == sqlite3.SQLITE_CANTOPEN:
        return StoreError(
            "the database cannot be opened", where=where, mend="check that the folder is there and this user may read and write it"
        )
    if primary in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
        mend = "restore it from a backup, or move it away: it is begun anew"
        return StoreError("the database is damaged", where=where, mend=mend, is_damaged=True)
    return StoreError(f"the database says: {error}", where=where)


def _is_full(path: Path) -> bool:
    """Whether the disk is: SQLite calls it an I/O error when it is the WAL's index that finds no room."""
    with contextlib.suppress(OSError):
        return os.statvfs(path.parent).f_bavail == 0
    return False


@contextmanager
def telling_database(path: Path) -> Iterator[None]:
    """Turn an sqlite3.Error of the body into a StoreError about `path`."""
    try:
        yield
    except sqlite3.Error as error:
        raise database_error(error, path) from error


Changes = Mapping[int, Sequence[str]]  # version that a file has: statements that make the next one of it


def open_database(
    path: Path, schema: Sequence[str], *, version: int, changes: Changes = MappingProxyType({}), patience: float = BUSY_TIMEOUT
) -> sqlite3.Connection:
    """Open for writing, in autocommit mode (say BEGIN), WAL, synchronous=FULL; makes the tables of `schema` in a new file.

    A file of an older version is brought to this one where `changes` say how. `patience`: seconds to wait for a lock, now and later. The
    connection may be handed from thread to thread, but used by one at a time. Raises StoreError.
    """
    with telling_database(path):
        connection = _connect(path, patience)
        try:
            _prepare(connection, path, schema, version, changes)
        except BaseException:
            connection.close()
            raise
    return connection


def _connect(path: Path, patience: float) -> sqlite3.Connection:
    if not path.exists():  # SQLite gives the WAL and its index the mode of the file
        try:
            os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
        except OSError as error:
            raise store_error(error, path) from error
    return sqlite3.connect(path, timeout=patience, isolation_level=None, check_same_thread=False, cached_statements=256)


def _prepare(connection: sqlite3.Connection, path: Path, schema: Sequence[str], version: int, changes: Changes) -> None:
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=FULL")  # in WAL: every commit is synced
    connection.execute("PRAGMA foreign_keys=ON")
    found = _version(connection)
    if found == 0:
        connection.execute("BEGIN IMMEDIATE")
        if _version(connection) == 0:
            for statement in schema:
                connection.execute(statement)
            connection.execute(f"PRAGMA user_version={version:d}")
        connection.execute("COMMIT")
    elif found > version or not all(number in changes for number in range(found, version)):
        raise _other_version(path, found, version)
    elif found < version:
        connection.execute("BEGIN IMMEDIATE")
        for number in range(_version(connection), version):
            for statement in changes[number]:
                connection.execute(statement)
        connection.execute(f"PRAGMA user_version={version:d}")
        connection.execute("COMMIT")


def open_read_only(path: Path, *, version: int, changes: Changes = MappingProxyType({})) -> sqlite3.Connection | None:
    """Open for reading beside a living writer; None if the file is not there yet, or its writer has still to change it. Raises StoreError."""
    if not path.exists():
        return None
    with telling_database(path):
        connection = sqlite3.connect(_uri(path), uri=True, timeout=BUSY_TIMEOUT, isolation_level=None, check_same_thread=False)
        try:
            found = _version(connection)
        except BaseException:
            connection.close()
            raise
    if found == 0 or found in changes:  # made, but its tables are not there yet, or not as they will be
        connection.close()
        return None
    if found != version:
        connection.close()
        raise _other_version(path, found, version)
    return connection


def _uri(path: Path) -> str:
    """Read-only; where nothing can be written and no log is left, as a file that nobody changes: SQLite then needs no index of its log."""
    is_still = not os.access(path.parent, os.W_OK) and not path.with_name(path.name + "-wal").exists()
    return f"{path.absolute().as_uri()}?{'immutable=1' if is_still else 'mode=ro'}"


def _version(connection: sqlite3.Connection) -> int:
    return int(connection.execute("PRAGMA user_version").fetchone()[0])


def _other_version(path: Path, found: int, version: int) -> StoreError:
    return StoreError(
        f"the database has schema {found}, this esa reads {version}",
        where=str(path),
        mend="use the esa that wrote it, or one that converts it",
    )


@contextmanager
def transaction(connection: sqlite3.Connection, path: Path) -> Iterator[None]:
    """BEGIN IMMEDIATE, the body, COMMIT; all or nothing. Durable on return. Raises StoreError."""
    with telling_database(path):
        connection.execute("BEGIN IMMEDIATE")
        try:
            yield
            connection.execute("COMMIT")
        except BaseException:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            raise


def printable(text: str) -> str:
    """Text that SQLite can hold: lone surrogates (octets that were no UTF-8) become escapes."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8") if not text.isascii() else text
