"""Private folders, locks and directory syncs of the state folder, and the translation of what the system refuses into StoreError."""

from __future__ import annotations

import errno
import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from esa.errors import StoreError

_FULL = frozenset({errno.ENOSPC, errno.EDQUOT})
_READ_ONLY = frozenset({errno.EROFS})
_DENIED = frozenset({errno.EACCES, errno.EPERM})
_GONE = frozenset({errno.ENOENT, errno.EIO, errno.ELOOP, errno.EISDIR, errno.ENOTDIR})
_PATIENCE = 2.0  # seconds to wait for a lock: a reader that asks whether the writer lives holds it for an instant


def store_error(error: OSError, where: Path | str) -> StoreError:
    """Say what the system refused, where, and how to mend it."""
    if error.errno in _FULL:
        return StoreError("the disk is full", where=str(where), mend="free some space; work goes on by itself", is_full=True)
    if error.errno in _READ_ONLY:
        return StoreError(
            "the file system is read-only", where=str(where), mend="remount it for writing, or give another folder with --state"
        )
    if error.errno in _DENIED:
        return StoreError(
            "this user may not write here",
            where=str(where),
            mend="give the folder to the user esa runs as, or give another folder with --state",
        )
    if error.errno == errno.ENOENT:
        return StoreError("the file is not there", where=str(where), mend="check the state folder given with --state")
    return StoreError(f"the system says: {error.strerror or error}", where=str(where))


@contextmanager
def telling(where: Path | str) -> Iterator[None]:
    """Turn an OSError of the body into a StoreError about `where`."""
    try:
        yield
    except OSError as error:
        raise store_error(error, error.filename or where) from error


@contextmanager
def reading(path: Path) -> Iterator[None]:
    """As `telling`, for reading back what was stored: if it is gone or the disk cannot read it, that is damage (`is_damaged`)."""
    try:
        yield
    except OSError as error:
        fault = store_error(error, error.filename or path)
        fault.is_damaged = error.errno in _GONE
        raise fault from error


def make_private(folder: Path) -> Path:
    """Make the folder and its parents (mode 0700), durable in their parents. Returns it. Raises StoreError."""
    with telling(folder):
        missing = []
        place = folder
        while not place.is_dir():
            missing.append(place)
            if place.parent == place:
                break
            place = place.parent
        for place in reversed(missing):
            place.mkdir(mode=0o700, exist_ok=True)
            sync_directory(place.parent)
    return folder


def sync_directory(folder: Path) -> None:
    """fsync a directory: names made or renamed in it are on disk afterwards. Raises OSError."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def take_lock(path: Path, *, what: str, patience: float = _PATIENCE) -> int:
    """Lock the file for this process alone and return its descriptor; closing it gives the lock back.

    Raises StoreError with `is_in_use`.
    """
    with telling(path):
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        deadline = time.monotonic() + patience
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return descriptor
            except BlockingIOError:
                if time.monotonic() >= deadline:
                    os.close(descriptor)
                    raise StoreError(
                        f"{what} is in use by another process",
                        where=str(path),
                        mend="stop the other esa first, or give another folder with --state",
                        is_in_use=True,
                    ) from None
                time.sleep(0.01)


def is_locked(path: Path) -> bool:
    """True while some process holds the lock that `take_lock` gives. A file that is not there is not locked."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False
