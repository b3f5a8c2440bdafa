"""Messages that outlive their segment: each in a file of its own, so that the segment can go although one still waits or has failed.

Written and removed by `deliver` alone, under the writer name SURVIVORS of the spool folder. A file holds the octets as they leave; its name
carries their checksum, so that a damaged one is never sent.

    <spool>/survivors/content/<key>.<CRC-32>
"""

from __future__ import annotations

import contextlib
import os
import zlib
from collections.abc import Collection
from pathlib import Path

from esa.store.folder import make_private, sync_directory, telling
from esa.store.segments import SURVIVORS, Location, StoredMessage


def keep_apart(spool: Path, key: str, message: StoredMessage) -> Location:
    """Write the message into a file of its own and return where it is; durable but for the directory (see `sync`). Raises StoreError."""
    folder = make_private(spool / SURVIVORS / "content")
    working = folder / f"{key}.new"
    size = checksum = 0
    with telling(working):
        try:
            with open(os.open(working, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600), "wb") as file:  # noqa: PTH123
                for chunk in message.chunks():
                    file.write(chunk)
                    size += len(chunk)
                    checksum = zlib.crc32(chunk, checksum)
                file.flush()
                os.fsync(file.fileno())
            name = f"{key}.{checksum:08x}"
            working.rename(folder / name)
        except BaseException:
            with contextlib.suppress(OSError):
                working.unlink(missing_ok=True)
            raise
    return Location(SURVIVORS, name, 0, size)


def link(spool: Path, location: Location, key: str) -> Location:
    """Another name for a message that stands by itself already, for a second entry; durable. Raises StoreError."""
    folder = spool / SURVIVORS / "content"
    name = f"{key}.{location.segment.rpartition('.')[2]}"
    with telling(folder / name):
        (folder / name).unlink(missing_ok=True)
        os.link(folder / location.segment, folder / name)
        sync_directory(folder)
    return Location(SURVIVORS, name, 0, location.length)


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
