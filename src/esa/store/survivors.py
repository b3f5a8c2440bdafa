"""Messages that outlive their segment: each in a file of its own, so that the segment can go although one still waits or has failed.

Written and removed by `deliver` alone, under the writer name SURVIVORS of the spool folder. A file holds the entry as it was then, so that
the queue can be made anew from it, and the octets as they leave; its name carries their checksum, so that a damaged one is never sent.

    <spool>/survivors/content/<key>.<CRC-32>    magic 8 · octets of the entry 4 · CRC of it 4 · the entry as JSON · the message
    <spool>/survivors/corrupt/                  what could not be read when the queue was made anew
"""

from __future__ import annotations

import contextlib
import json
import os
import struct
import zlib
from collections.abc import Collection, Iterator
from dataclasses import replace
from pathlib import Path

from esa.errors import StoreError
from esa.store.entry import COLUMNS, WRITTEN, Entry, encode, entry_of, row_of
from esa.store.folder import make_private, reading, sync_directory, telling
from esa.store.record import METADATA_LIMIT
from esa.store.segments import SURVIVORS, Location, StoredMessage

_HEAD = struct.Struct("<8sII")
_MAGIC = b"ESASURV1"
_NAMES = COLUMNS.split(", ")


def keep_apart(spool: Path, entry: Entry, message: StoredMessage) -> Location:
    """Write the message into a file of its own and return where it is; durable but for the directory (see `sync`). Raises StoreError."""
    folder = make_private(spool / SURVIVORS / "content")
    working = folder / f"{entry.key}.new"
    told = encode(dict(zip(WRITTEN.split(", "), row_of(entry), strict=True))).encode()
    size = checksum = 0
    with telling(working):
        try:
            with open(os.open(working, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600), "wb") as file:  # noqa: PTH123
                file.write(_HEAD.pack(_MAGIC, len(told), zlib.crc32(told)) + told)
                for chunk in message.chunks():
                    file.write(chunk)
                    size += len(chunk)
                    checksum = zlib.crc32(chunk, checksum)
                file.flush()
                os.fsync(file.fileno())
            name = f"{entry.key}.{checksum:08x}"
            working.rename(folder / name)
        except BaseException:
            with contextlib.suppress(OSError):
                working.unlink(missing_ok=True)
            raise
    return Location(SURVIVORS, name, _HEAD.size + len(told), size)


def read_entries(spool: Path) -> Iterator[tuple[Path, Entry | None]]:
    """Each file and the entry that it was kept for, as it was then; None if it cannot be read. Raises StoreError."""
    folder = spool / SURVIVORS / "content"
    paths = sorted(path for path in folder.iterdir() if path.suffix != ".new") if folder.is_dir() else []
    for path in paths:
        try:
            yield path, _read_entry(path)
        except StoreError as fault:
            if not fault.is_damaged:
                raise
            yield path, None


def _read_entry(path: Path) -> Entry:
    """Raises StoreError with `is_damaged`."""
    with reading(path), open(os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC), "rb") as file:  # noqa: PTH123
        head = file.read(_HEAD.size)
        magic, length, checksum = _HEAD.unpack(head) if len(head) == _HEAD.size else (b"", 0, 0)
        told = file.read(length) if magic == _MAGIC and length <= METADATA_LIMIT else b""
        size = os.fstat(file.fileno()).st_size - _HEAD.size - length
    try:
        if not told or zlib.crc32(told) != checksum:
            raise ValueError
        document = json.loads(told)
        entry = entry_of([document.get(name, "") for name in _NAMES])
    except (ValueError, StoreError):
        raise StoreError("it does not say whom it is for", where=str(path), is_damaged=True) from None
    return replace(entry, location=Location(SURVIVORS, path.name, _HEAD.size + length, size))


def set_aside(spool: Path, path: Path) -> Path:
    """Move a file that cannot be read into the folder `corrupt`. Returns where it is. Raises StoreError."""
    corrupt = make_private(spool / SURVIVORS / "corrupt")
    with telling(path):
        path.rename(corrupt / path.name)
        sync_directory(corrupt)
    return corrupt / path.name


def link(spool: Path, location: Location, key: str) -> Location:
    """Another name for a message that stands by itself already, for a second entry; durable. Raises StoreError."""
    folder = spool / SURVIVORS / "content"
    name = f"{key}.{location.segment.rpartition('.')[2]}"
    with telling(folder / name):
        (folder / name).unlink(missing_ok=True)
        os.link(folder / location.segment, folder / name)
        sync_directory(folder)
    return Location(SURVIVORS, name, location.offset, location.length)


def sync(spool: Path) -> None:
    """Make the names of all files kept apart durable; before anything refers to them. Raises StoreError."""
    folder = spool / SURVIVORS / "content"
    with telling(folder):
        sync_directory(folder)


def remove(spool: Path, names: Collection[str]) -> None:
    """Remove files that nothing refers to any more. What cannot be removed is swept up at the next start."""
    for name in names:
        with contextlib.suppress(OSError):
            (spool / SURVIVORS / "content" / name).unlink(missing_ok=True)


def sweep(spool: Path, wanted: Collection[str]) -> int:
    """Remove files that a crash left without an entry; returns how many. Call before anything is kept apart."""
    folder = spool / SURVIVORS / "content"
    if not folder.is_dir():
        return 0
    left = {path.name for path in folder.iterdir()} - set(wanted)
    remove(spool, left)
    return len(left)
