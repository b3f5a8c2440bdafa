"""The reader of spools: follows every writer's segments from a cursor, and reads one message's bytes again.

Called by `deliver` and `keep`, each with cursors of its own. Promises: of a living writer only committed records are seen; of closed
segments (an older generation, or the writer's lock is free) everything up to the end whose checksums hold; damage in between is skipped
to the next header and reported, and never hides a later record. The reader changes nothing on disk.
"""

from __future__ import annotations

import errno
import os
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from esa.errors import StoreError
from esa.message.envelope import Envelope, Session
from esa.store.folder import is_locked, reading, telling
from esa.store.record import HEADER_SIZE, ContentFile, Header, Record, decode_header, decode_metadata
from esa.store.spool import Committed, parse_segment_name

_WINDOW = 512 << 10  # octets read at a time
_BLOCK = 4096  # what an unreadable place costs
CHUNK = 256 << 10  # octets of a long content handed on at a time
_LOOK = "look at the disk; restore the file if you can"
BATCH_RECORDS = 512
BATCH_BYTES = 16 << 20


@dataclass(frozen=True, slots=True)
class Cursor:
    """How far a segment has been read. `finished`: it is closed and read to its end."""

    offset: int = 0
    sequence: int = 0  # of the next record expected
    finished: bool = False


_START = Cursor()
SURVIVORS = "survivors"  # writer name of messages kept apart from their segment (survivors.py)


@dataclass(frozen=True, slots=True)
class Location:
    """Where a committed message lies: `length` octets of the whole record at `offset` of the writer's segment (of SURVIVORS: of the message in its
    file)."""

    writer: str
    segment: str
    offset: int
    length: int


@dataclass(frozen=True, slots=True)
class Stored:
    """A record as read (without prefix and content) and where its bytes are."""

    record: Record
    location: Location


@dataclass(frozen=True, slots=True)
class Damage:
    """A place of a segment that holds no valid record.

    `torn`: the end of what a writer that died was just writing; nothing acknowledged was there. `damaged`: anything else; look at the disk.
    `unreadable`: the file cannot be opened, or belongs to another user; nothing of it was read, and it is tried again after a restart.
    `lost` is the number of records that are known to be missing there, at least.
    """

    writer: str
    segment: str
    offset: int
    length: int
    kind: Literal["torn", "damaged", "unreadable"]
    lost: int


@dataclass(slots=True)
class Batch:
    """What one reading gave, with the cursors to store together with what is made of it."""

    stored: list[Stored] = field(default_factory=list)
    damages: list[Damage] = field(default_factory=list)
    cursors: dict[tuple[str, str], Cursor] = field(default_factory=dict)
    is_complete: bool = True  # False: there is more to read at once

    def __bool__(self) -> bool:
        return bool(self.stored or self.damages or self.cursors)


@dataclass(frozen=True, slots=True)
class _Segment:
    """A segment to read: up to `end` (None: to the end of the file). `committed` is where acknowledged records end, if known."""

    writer: str
    name: str
    generation: int
    marker: bytes
    is_closed: bool
    end: int | None = None
    committed: int | None = None


class SpoolReader:
    """Reads all writers' spools under `directory`, from cursors (writer, segment name) → Cursor that the caller keeps on disk."""

    def __init__(self, directory: Path, cursors: Mapping[tuple[str, str], Cursor] | None = None) -> None:
        self.directory = directory
        self.cursors = dict(cursors or {})
        self._uid = -1
        self._unreadable: set[tuple[str, str]] = set()  # segments this process may not open: told once, looked at again after a restart

    def read(self, *, records: int = BATCH_RECORDS, octets: int = BATCH_BYTES) -> Batch:
        """Return the next records of all writers, about so many.

        Call `advance` once they are stored, or read them again. Raises StoreError.
        """
        batch = Batch()
        with telling(self.directory):
            for writer in self.writers():
                for segment in self._segments(writer):
                    if len(batch.stored) >= records or octets <= 0:
                        batch.is_complete = False
                        return batch
                    octets -= self._read_segment(segment, batch, records - len(batch.stored), octets)
        return batch

    def advance(self, batch: Batch) -> None:
        """Go on behind this batch."""
        self.cursors.update(batch.cursors)

    def forget(self, writer: str, segment: str) -> None:
        """The segment is gone."""
        self.cursors.pop((writer, segment), None)

    def writers(self) -> list[str]:
        """Names of the writers that have a spool here."""
        try:
            return sorted(entry.name for entry in os.scandir(self.directory) if entry.is_dir(follow_symlinks=False))
        except FileNotFoundError:
            return []

    def _segments(self, writer: str) -> list[_Segment]:
        """The writer's segments that have something to read, oldest first.

        The order of looking matters: names first, then whether the writer lives, then how far it is. What was there before the lock was
        found free belongs to a writer that has ended; what is older than the published generation is closed.
        """
        folder = self.directory / writer
        found = [
            (generation, marker, name)
            for name, generation, marker in list_segments(folder)
            if not self._cursor(writer, name).finished and (writer, name) not in self._unreadable
        ]
        if not found:
            return []
        is_alive = is_locked(folder / "lock")
        ends = Committed.read(folder / "committed")
        if is_alive and not ends:
            return []  # the writer is just starting, or just publishing: the next look will tell
        live, position = (ends or [(-1, 0)])[0]
        cut = dict((ends or [])[1:])
        segments = []
        for generation, marker, name in found:
            if not is_alive:
                known = position if generation == live else None
                segments.append(_Segment(writer, name, generation, marker, True, cut.get(generation), known))
            elif generation < live:
                segments.append(_Segment(writer, name, generation, marker, True, cut.get(generation)))
            elif generation == live and position > self._cursor(writer, name).offset:
                segments.append(_Segment(writer, name, generation, marker, False, position, position))
        return segments

    def _owner(self) -> int:
        """The user whose spools these are: what belongs to another was not written by us."""
        if self._uid < 0:
            self._uid = self.directory.stat().st_uid
        return self._uid

    def _cursor(self, writer: str, name: str) -> Cursor:
        return self.cursors.get((writer, name), _START)

    def _read_segment(self, segment: _Segment, batch: Batch, records: int, octets: int) -> int:
        """Read on in one segment; returns the octets passed."""
        cursor = self._cursor(segment.writer, segment.name)
        path = self.directory / segment.writer / "segments" / segment.name
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
        except FileNotFoundError:
            return 0
        except OSError as error:
            if error.errno not in (errno.EACCES, errno.EPERM, errno.EIO):
                raise
            self._unreadable.add((segment.writer, segment.name))
            batch.damages.append(Damage(segment.writer, segment.name, cursor.offset, 0, "unreadable", 1))
            return 0
        try:
            status = os.fstat(descriptor)
            if status.st_uid not in (os.geteuid(), self._owner()):
                self._unreadable.add((segment.writer, segment.name))
                batch.damages.append(Damage(segment.writer, segment.name, cursor.offset, 0, "unreadable", 1))
                return 0
            size = status.st_size
            scan = _Scan(segment, descriptor, cursor, size if segment.end is None else min(segment.end, size), batch)
            scan.run(records, octets)
        finally:
            os.close(descriptor)
        finished = segment.is_closed and scan.offset >= scan.end
        if scan.offset < scan.end:
            batch.is_complete = False
        batch.cursors[segment.writer, segment.name] = Cursor(scan.offset, scan.sequence, finished)
        return scan.offset - cursor.offset


def list_segments(folder: Path) -> list[tuple[str, int, bytes]]:
    """Return (name, generation, marker) of a writer's segments, oldest first; foreign files are left out."""
    try:
        with os.scandir(folder / "segments") as entries:
            names = [entry.name for entry in entries if entry.is_file(follow_symlinks=False)]
    except FileNotFoundError:
        return []
    found = [(parsed[0], parsed[1], name) for name in names if (parsed := parse_segment_name(name))]
    return [(name, generation, marker) for generation, marker, name in sorted(found)]


class _Scan:
    """Walks records of one segment from a cursor, through windows of the file; puts what it finds into a batch."""

    def __init__(self, segment: _Segment, descriptor: int, cursor: Cursor, end: int, batch: Batch) -> None:
        self.segment = segment
        self.descriptor = descriptor
        self.offset = cursor.offset
        self.sequence = cursor.sequence
        self.end = end
        self.batch = batch
        self._window = b""
        self._base = 0

    def run(self, records: int, octets: int) -> None:
        stop = self.offset + octets
        while records > 0 and self.offset < min(self.end, stop):
            header = self._header_at(self.offset)
            if header is None:
                self._skip_damage()
                continue
            record = self._record(header)
            if record is None:
                self._report(header.length, "damaged", 1)
            else:
                location = Location(self.segment.writer, self.segment.name, self.offset, header.length)
                self.batch.stored.append(Stored(record, location))
                records -= 1
            self.offset += header.length
            self.sequence = header.sequence + 1

    def _at(self, offset: int, length: int) -> tuple[bytes, int]:
        """Return (window, index) with at least `length` octets from file `offset`, if the file has them."""
        if not (self._base <= offset and offset + length <= self._base + len(self._window)):
            self._window = _read(self.descriptor, offset, min(max(length, _WINDOW), self.end - offset))
            self._base = offset
        return self._window, offset - self._base

    def _header_at(self, offset: int) -> Header | None:
        window, index = self._at(offset, HEADER_SIZE)
        header = decode_header(window, index, marker=self.segment.marker, generation=self.segment.generation)
        if header is None or header.sequence < self.sequence or offset + header.length > self.end:
            return None
        return header

    def _record(self, header: Header) -> Record | None:
        window, index = self._at(self.offset, header.length)
        start, end = index + HEADER_SIZE, index + header.length
        if zlib.crc32(memoryview(window)[start:end]) != header.checksum:
            return None
        try:
            return decode_metadata(window[start : start + header.metadata_length])[0]
        except ValueError:
            return None

    def _skip_damage(self) -> None:
        """Find the next header and report what lies before it."""
        marker = self.segment.marker
        place = self.offset + 1
        while place < self.end:
            window, index = self._at(place, min(_WINDOW, self.end - place))
            hit = window.find(marker, index)
            if hit < 0:
                if len(window) - index <= len(marker):  # the end, or the file was cut meanwhile
                    break
                place = self._base + len(window) - len(marker) + 1
                continue
            place = self._base + hit
            if header := self._header_at(place):
                self._report(place - self.offset, "damaged", max(1, header.sequence - self.sequence))
                self.offset = place
                self.sequence = header.sequence
                return
            place += 1
        is_torn = self.segment.is_closed and self.segment.end is None and self.offset >= (self.segment.committed or 0)
        self._report(self.end - self.offset, "torn" if is_torn else "damaged", 0 if is_torn else 1)
        self.offset = self.end

    def _report(self, length: int, kind: Literal["torn", "damaged"], lost: int) -> None:
        self.batch.damages.append(Damage(self.segment.writer, self.segment.name, self.offset, length, kind, lost))


def _read(descriptor: int, offset: int, length: int) -> bytes:
    """pread that goes around places the disk cannot read: they come as zeros, and the checksums tell."""
    try:
        return os.pread(descriptor, length, offset)
    except OSError as error:
        if error.errno != errno.EIO:
            raise
    blocks = []
    for place in range(offset, offset + length, _BLOCK):
        wanted = min(_BLOCK, offset + length - place)
        try:
            blocks.append(os.pread(descriptor, wanted, place))
        except OSError:
            blocks.append(bytes(wanted))
    return b"".join(blocks)


@dataclass(frozen=True, slots=True)
class StoredMessage:
    """One message's octets as they leave: prefix, then the content without its omitted ranges.

    `path` is set for content in a file of its own.
    """

    record: Record
    prefix: bytes
    content: bytes  # empty if `path` is set
    path: Path | None
    size: int  # octets in all, prefix included
    start: int = 0  # of the content in the file

    def chunks(self) -> Iterator[bytes]:
        """Yield the octets in order, at most CHUNK at a time from a file. Raises StoreError."""
        if self.prefix:
            yield self.prefix
        if self.path is None:
            yield from _without(iter((self.content,)), self.record.omitted)
        else:
            yield from _without(_file_chunks(self.path, self.start), self.record.omitted)

    def to_bytes(self) -> bytes:
        return b"".join(self.chunks())


def read_message(directory: Path, location: Location) -> StoredMessage:
    """Read a committed message again and check it. Raises StoreError if it is gone or damaged."""
    folder = directory / location.writer
    if location.writer == SURVIVORS:
        return _read_survivor(folder / "content" / location.segment, location)
    path = folder / "segments" / location.segment
    parsed = parse_segment_name(location.segment)
    if parsed is None:
        raise StoreError("this is no segment", where=str(path), is_damaged=True)
    with reading(path):
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
        try:
            data = os.pread(descriptor, location.length, location.offset)
        finally:
            os.close(descriptor)
    header = decode_header(data, 0, marker=parsed[1], generation=parsed[0])
    if header is None or header.length != len(data) or zlib.crc32(memoryview(data)[HEADER_SIZE:]) != header.checksum:
        raise StoreError(f"the record at {location.offset} is damaged", where=str(path), mend=_LOOK, is_damaged=True)
    prefix_start = HEADER_SIZE + header.metadata_length
    content_start = prefix_start + header.prefix_length
    try:
        record, file = decode_metadata(data[HEADER_SIZE:prefix_start])
    except ValueError as error:
        raise StoreError(f"the record at {location.offset}: {error}", where=str(path), mend=_LOOK, is_damaged=True) from None
    prefix = data[prefix_start:content_start]
    size = len(prefix) - sum(end - start for start, end in record.omitted)
    if file is None:
        content = data[content_start:]
        return StoredMessage(record, prefix, content, None, size + len(content))
    _check_file(folder / "content" / file.name, file)
    return StoredMessage(record, prefix, b"", folder / "content" / file.name, size + file.size)


def _read_survivor(path: Path, location: Location) -> StoredMessage:
    name, _, checksum = path.name.rpartition(".")
    try:
        _check_file(path, ContentFile(path.name, location.length, int(checksum, 16)), location.offset)
    except ValueError:
        raise StoreError("this is no message kept apart", where=str(path), is_damaged=True) from None
    return StoredMessage(Record(name, Envelope("", ()), Session()), b"", b"", path, location.length, location.offset)


def _check_file(path: Path, file: ContentFile, start: int = 0) -> None:
    checksum = size = 0
    for chunk in _file_chunks(path, start):
        checksum = zlib.crc32(chunk, checksum)
        size += len(chunk)
    if (size, checksum) != (file.size, file.checksum):
        raise StoreError("the content is damaged", where=str(path), mend=_LOOK, is_damaged=True)


def _file_chunks(path: Path, start: int = 0) -> Iterator[bytes]:
    with reading(path):
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
        with open(descriptor, "rb", buffering=0) as file:  # noqa: PTH123
            file.seek(start)
            while chunk := file.read(CHUNK):
                yield chunk


def _without(chunks: Iterator[bytes], omitted: tuple[tuple[int, int], ...]) -> Iterator[bytes]:
    """Pass the chunks on without the octet ranges."""
    ranges = list(omitted)
    position = 0
    for chunk in chunks:
        start = 0
        while ranges and ranges[0][0] < position + len(chunk):
            first, last = ranges[0]
            if first - position > start:
                yield chunk[start : first - position]
            start = max(start, min(last - position, len(chunk)))
            if last > position + len(chunk):
                break
            ranges.pop(0)
        if start < len(chunk):
            yield chunk[start:] if start else chunk
        position += len(chunk)
