"""Whether this esa can read what lies in a state folder: asked before anything there is opened for writing, so that a refusal changes nothing.

The parent of `esa serve` asks. What is older is brought to the present version by whoever writes it; what is newer is left untouched.
"""

from __future__ import annotations

import contextlib
import os
import struct
from pathlib import Path
from typing import Final

from esa.errors import StoreError
from esa.store import entry, outbox, queue_table
from esa.store.record import VERSION as RECORD_VERSION
from esa.store.spool import parse_segment_name

QUARANTINE_FILE: Final = "quarantine.db"
QUARANTINE_VERSION: Final = 4
_DATABASES: Final = {
    entry.FILE_NAME: queue_table.VERSION,
    outbox.FILE_NAME: outbox.VERSION,
    QUARANTINE_FILE: QUARANTINE_VERSION,
}
_USER_VERSION: Final = 60  # offset in the header of an SQLite file, four octets, big-endian
_RECORD_VERSION: Final = 8  # offset in a record, two octets, little-endian


def check_versions(state: Path) -> None:
    """Raises StoreError, with all that is newer, if anything is. Reads a few octets of each file, and changes nothing."""
    newer = [
        f"{name} has schema {found}, and this esa knows up to {known}"
        for name, known in _DATABASES.items()
        if (found := _database_version(state / name)) > known
    ]
    newer += [
        f"{path.relative_to(state)} has records of version {found}" for path, found in _segments(state / "spool") if found > RECORD_VERSION
    ]
    if newer:
        mend = "nothing was changed: go on with the esa that wrote it, or empty the queue with that one first (`esa queue drain`)"
        raise StoreError(f"a newer esa has written this state folder: {'; '.join(newer[:5])}", where=str(state), mend=mend)


def _database_version(path: Path) -> int:
    """0 where it is not there, or no whole header is. A version that is still in the log alone is looked for there as well."""
    head = _octets(path, 100)
    found: int = struct.unpack_from(">I", head, _USER_VERSION)[0] if len(head) == 100 and head.startswith(b"SQLite format 3") else 0
    return max(found, _version_in_log(path.with_name(f"{path.name}-wal")))


def _version_in_log(path: Path) -> int:
    """Of the first page in a write-ahead log that is page 1; it was changed with the version."""
    head = _octets(path, 32)
    if len(head) < 32:
        return 0
    size = struct.unpack_from(">I", head, 8)[0]
    found = 0
    with contextlib.suppress(OSError), path.open("rb") as log:
        log.seek(32)
        while len(frame := log.read(24)) == 24:
            is_first = struct.unpack_from(">I", frame)[0] == 1 and frame[8:16] == head[16:24]
            if is_first and len(page := log.read(100)) == 100:
                found = max(found, struct.unpack_from(">I", page, _USER_VERSION)[0])
                log.seek(size - 100, os.SEEK_CUR)
            else:
                log.seek(size, os.SEEK_CUR)
    return found


def _segments(spool: Path) -> list[tuple[Path, int]]:
    """Segments and the version of their first record, where its header is one of this segment."""
    found = []
    for path in spool.glob("*/segments/*"):
        parsed = parse_segment_name(path.name)
        head = _octets(path, 10)
        if parsed is not None and len(head) == 10 and head[:8] == parsed[1]:
            found.append((path, struct.unpack_from("<H", head, _RECORD_VERSION)[0]))
    return found


def _octets(path: Path, count: int) -> bytes:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:
        return b""
    try:
        return os.pread(descriptor, count, 0)
    except OSError:
        return b""
    finally:
        os.close(descriptor)
