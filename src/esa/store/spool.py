"""The writer of a spool: appends records to segment files and returns when they are on disk.

Called by a receive worker's commit thread (and by `keep` to release). Promises: when `append` returns, every record of the group is
durable, and no reader sees a record before that; when it raises, none of the group counts. One process at a time writes a spool directory
(a lock says so).

    <directory>/<writer>/lock                                  held while the writer lives
                        /committed                             how far readers may read in the live segment (see `Committed`)
                        /segments/<generation>-<marker>.seg    records (record.py); generations ascend and never come back
                        /content/<generation>-<name>           content over 1 MiB, one file each; goes with its segment
                        /incoming/                             bodies that are still arriving; emptied at start

A writer never appends to what an earlier process wrote: it starts a new generation, so a torn tail stays a tail. After a failed sync the
segment is never synced again (Linux may have dropped the pages): it is cut back to its last durable record, closed, and a new one is
begun.
"""

from __future__ import annotations

import contextlib
import mmap
import os
import secrets
import struct
import threading
import time
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from esa.errors import StoreError
from esa.store.folder import make_private, store_error, sync_directory, take_lock
from esa.store.record import INLINE_LIMIT, METADATA_LIMIT, PREFIX_LIMIT, ContentFile, Record, encode_head, encode_metadata

SEGMENT_LIMIT = 64 << 20  # octets after which a new segment begins: small enough to go soon, large enough that making one costs nothing
_IOV_LIMIT = 1024  # buffers the kernel takes in one call (IOV_MAX)
_COMMITTED_SIZE = 4096  # one page
_REMEMBERED = 32  # closed segments that could not be cut back and whose end readers must be told


class Committed:
    """The page that tells readers how far the live segment is durable: {CRC · count · (generation, end) × count}, the live one first.

    The rest are segments that failed and could not be cut back: what lies behind their end was refused and must not be read.
    """

    _pair = struct.Struct("<QQ")
    _head = struct.Struct("<II")

    def __init__(self, path: Path) -> None:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            if os.fstat(descriptor).st_size < _COMMITTED_SIZE:
                os.pwrite(descriptor, bytes(_COMMITTED_SIZE), 0)  # real blocks: writing through the map cannot fail on a full disk
            self._map = mmap.mmap(descriptor, _COMMITTED_SIZE)
        finally:
            os.close(descriptor)

    def publish(self, ends: Sequence[tuple[int, int]]) -> None:
        body = b"".join([self._pair.pack(generation, end) for generation, end in ends[:_REMEMBERED]])
        count = len(body) // self._pair.size
        self._map[: self._head.size + len(body)] = self._head.pack(zlib.crc32(body), count) + body

    def close(self) -> None:
        self._map.close()

    @classmethod
    def read(cls, path: Path) -> list[tuple[int, int]] | None:
        """Return the pairs, live segment first; empty if nothing was published; None if the page is just being written, or is damaged."""
        try:
            with path.open("rb", buffering=0) as file:
                page = file.read(_COMMITTED_SIZE)
        except FileNotFoundError:
            return []
        if len(page) < _COMMITTED_SIZE:
            return []
        checksum, count = cls._head.unpack_from(page)
        body = page[cls._head.size : cls._head.size + count * cls._pair.size]
        if count > _REMEMBERED or zlib.crc32(body) != checksum:
            return None
        return list(cls._pair.iter_unpack(body))


def parse_segment_name(name: str) -> tuple[int, bytes] | None:
    """Return (generation, marker) of a segment's file name, or None for a foreign file."""
    stem, dot, suffix = name.partition(".")
    generation, dash, marker = stem.partition("-")
    if suffix != "seg" or not dot or not dash or len(generation) != 16 or len(marker) != 16:
        return None
    try:
        return int(generation, 16), bytes.fromhex(marker)
    except ValueError:
        return None


@dataclass(frozen=True, slots=True)
class Group:
    """Records as they are to be written: `buffers`, one after the other, to `descriptor` at `offset`, and then flushed."""

    descriptor: int
    offset: int
    buffers: list[bytes]
    octets: int
    sequence: int  # of the record that comes next


class Spool:
    """Append-only, durable, one writer. Threads may share it: groups go one after the other."""

    def __init__(self, directory: Path, writer: str, *, segment_limit: int = SEGMENT_LIMIT, reserve_files: int = 0) -> None:
        """Open `directory`/`writer` for writing, making it if need be. Raises StoreError (`is_in_use` if another process writes there).

        `reserve_files`: with fewer free inodes the disk counts as full.
        """
        self.folder = make_private(directory / writer)
        self.writer = writer
        self._lock = threading.Lock()
        self._segment_limit = segment_limit
        self._reserve_files = reserve_files
        self._descriptor = -1
        self._generation = 0
        self._marker = b""
        self._offset = 0
        self._sequence = 0
        self._opened_at = 0.0
        self._forbidden: list[tuple[int, int]] = []
        self._segments, self._content = self.folder / "segments", self.folder / "content"
        self.incoming = self.folder / "incoming"
        for folder in (self._segments, self._content, self.incoming):
            make_private(folder)
        self._lock_descriptor = take_lock(self.folder / "lock", what=f"the spool of {writer}")
        try:
            self._recover()
        except OSError as error:
            os.close(self._lock_descriptor)
            raise store_error(error, error.filename or self.folder) from error

    def _recover(self) -> None:
        for leftover in self.incoming.iterdir():
            leftover.unlink()
        earlier = Committed.read(self.folder / "committed") or []
        self._forbidden = earlier[1:]
        found = [parsed[0] for path in self._segments.iterdir() if (parsed := parse_segment_name(path.name))]
        self._generation = max([*found, *(generation for generation, _ in earlier)], default=0)
        self._committed = Committed(self.folder / "committed")
        self._generation = max(self._generation + 1, int(time.time() * 1000))  # never one that was used, even if the folder was emptied
        self._publish()

    def append(self, records: Sequence[Record]) -> None:
        """Write the records as one group and return when all are on disk.

        Content files (`Record.content` a path inside `incoming`) are taken over: on return they belong to the spool, after an error they
        are gone. Raises StoreError, with `is_full` for a full disk; then no record of the group counts, and a later call may succeed.
        """
        if not records:
            return
        with self._lock:
            self._check_open()
            taken: list[Path] = []
            try:
                self._append(records, taken)
            except OSError as error:
                self._abandon()
                self._forget(records, taken)
                raise store_error(error, self.folder) from error
            except BaseException:
                self._abandon()
                self._forget(records, taken)
                raise

    def begin(self, records: Sequence[Record]) -> Group | None:
        """A group for somebody else to write and flush, who then calls `end`; until then the spool takes no other.

        None if more is to be done than that: a segment has to be begun, or there is content that goes into a file of its own. Then it is a
        case for `append`. Raises StoreError as `append` does.
        """
        if not all(isinstance(record.content, bytes | None) and len(record.content or b"") <= INLINE_LIMIT for record in records):
            return None
        if not self._lock.acquire(blocking=False):
            return None
        try:
            self._check_open()
            group = self._encode(records, []) if self._descriptor >= 0 else None
        except BaseException:
            self._lock.release()
            raise
        if group is None:
            self._lock.release()
        return group

    def end(self, group: Group, error: OSError | None, *, is_flush: bool = False) -> None:
        """The group is on disk, or it is not because of `error`, which came from the flush (`is_flush`) or from a write before it.

        Raises StoreError for the error, as `append` does; then no record of the group counts.
        """
        try:
            if error is None:
                self._count(group)
                return
            if is_flush:
                self._poison()
            self._abandon()
            raise store_error(error, self.folder) from error
        finally:
            self._lock.release()

    def _check_open(self) -> None:
        if self._lock_descriptor < 0:
            raise StoreError("the spool is closed", where=str(self.folder))

    def _append(self, records: Sequence[Record], taken: list[Path]) -> None:
        if self._descriptor < 0:
            self._begin_segment()
        group = self._encode(records, taken)
        if taken:
            sync_directory(self._content)
        _write_all(group.descriptor, group.buffers, group.offset)
        try:
            os.fdatasync(group.descriptor)
        except OSError:
            self._poison()
            raise
        self._count(group)

    def _encode(self, records: Sequence[Record], taken: list[Path]) -> Group:
        """What is to be written of the records; content files are taken over, and named in `taken`."""
        sequence = self._sequence
        buffers: list[bytes] = []
        total = 0
        for record in records:
            content, file = record.content, None
            if content is None:
                content = b""
            elif isinstance(content, Path) or len(content) > INLINE_LIMIT:
                file = self._take_content(record, content, taken)
                content = b""
            metadata = encode_metadata(record, file)
            if len(metadata) > METADATA_LIMIT or len(record.prefix) > PREFIX_LIMIT:  # a reader would take it for damage
                raise StoreError(f"the record of {record.id} is too long", where=str(self.folder))
            head = encode_head(
                metadata,
                record.prefix,
                content,
                marker=self._marker,
                generation=self._generation,
                sequence=sequence,
            )
            sequence += 1
            buffers.append(head)
            total += len(head)
            if content:
                buffers.append(content)
                total += len(content)
        return Group(self._descriptor, self._offset, buffers, total, sequence)

    def _count(self, group: Group) -> None:
        """The group is on disk: let readers see it."""
        self._offset += group.octets
        self._sequence = group.sequence
        self._publish()
        if self._offset >= self._segment_limit:
            self._close_segment()

    def _take_content(self, record: Record, content: bytes | Path, taken: list[Path]) -> ContentFile:
        name = f"{self._generation:016x}-{record.id}"
        place = self._content / name
        if isinstance(content, Path):
            descriptor = os.open(content, os.O_RDWR | os.O_CLOEXEC)
            try:
                size, checksum = _sum_file(descriptor)
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
            content.rename(place)
            taken.append(place)
            return ContentFile(name, size, checksum)
        descriptor = os.open(place, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        taken.append(place)
        try:
            _write_all(descriptor, [content], 0)
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        return ContentFile(name, len(content), zlib.crc32(content))

    def _forget(self, records: Sequence[Record], taken: Sequence[Path]) -> None:
        for path in (*taken, *(record.content for record in records if isinstance(record.content, Path))):
            with contextlib.suppress(OSError):
                path.unlink(missing_ok=True)

    def _begin_segment(self) -> None:
        marker = secrets.token_bytes(8)
        path = self._segments / f"{self._generation:016x}-{marker.hex()}.seg"
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            sync_directory(self._segments)
        except OSError:
            self._generation += 1  # the name may be on disk; no second segment of this generation
            os.close(descriptor)
            raise
        self._descriptor, self._marker, self._offset, self._sequence = descriptor, marker, 0, 0
        self._opened_at = time.monotonic()

    def _abandon(self) -> None:
        """After an error: take back what was written of the group, so that no reader ever takes it for committed."""
        if self._descriptor < 0:
            return
        try:
            os.ftruncate(self._descriptor, self._offset)
        except OSError:
            self._poison()

    def _poison(self) -> None:
        """Give the live segment up: cut it back or else tell readers where it ends, and let the next group begin another."""
        try:
            os.ftruncate(self._descriptor, self._offset)
        except OSError:
            self._forbidden = [(self._generation, self._offset), *self._forbidden][: _REMEMBERED - 1]
        self._close_segment()

    def _close_segment(self) -> None:
        descriptor, self._descriptor = self._descriptor, -1
        self._generation += 1
        self._offset = 0
        self._publish()
        with contextlib.suppress(OSError):  # all that counts in it is synced
            os.close(descriptor)

    def _publish(self) -> None:
        self._committed.publish([(self._generation, self._offset), *self._forbidden])

    def rotate(self, *, older_than: float = 0.0) -> None:
        """Close the live segment if it was begun `older_than` seconds ago or earlier, so that it can go when all in it is done."""
        with self._lock:
            if self._descriptor >= 0 and time.monotonic() - self._opened_at >= older_than:
                self._close_segment()

    def free_bytes(self) -> int:
        """Octets that this user may still write on the spool's file system; 0 where there are too few inodes for it."""
        status = os.statvfs(self.folder)
        if (
            status.f_files and status.f_favail < self._reserve_files
        ):  # without a number of them a file system has as many as it has room for
            return 0
        return status.f_bavail * status.f_frsize

    def close(self) -> None:
        """Close the segment and give the directory free. Twice is once."""
        with self._lock:
            if self._lock_descriptor < 0:
                return
            if self._descriptor >= 0:
                self._close_segment()
            self._committed.close()
            os.close(self._lock_descriptor)
            self._lock_descriptor = -1

    def __enter__(self) -> Spool:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _write_all(descriptor: int, buffers: Sequence[bytes], offset: int) -> None:
    """Write the buffers one after the other at `offset`, whatever the kernel takes at a time. Raises OSError."""
    start = 0
    while start < len(buffers):
        group = buffers[start : start + _IOV_LIMIT]
        start += _IOV_LIMIT
        wanted = sum(map(len, group))
        written = os.pwritev(descriptor, group, offset)
        offset += written
        if written < wanted:  # a short write: a signal, or the disk is nearly full; the next call says which
            rest = memoryview(b"".join(group))[written:]
            while rest:
                count = os.pwrite(descriptor, rest, offset)
                offset += count
                rest = rest[count:]


def _sum_file(descriptor: int) -> tuple[int, int]:
    """Return size and CRC-32 of a file, read a MiB at a time."""
    size = checksum = 0
    while chunk := os.pread(descriptor, 1 << 20, size):
        size += len(chunk)
        checksum = zlib.crc32(chunk, checksum)
    return size, checksum
