"""Histories of senders in memory that all receivers share: a mapped file that `keep` writes and they read, without a lock.

`keep` makes it anew at its start from the database, and puts it in place by a rename; receivers notice. Its size is fixed, so no flood of
strangers makes it grow. Layout: a head of 64 octets, then buckets of 16 places each: 16 keys of 8 octets, then 16 records. A key is a hash
with a secret of this file, so nobody can aim at a bucket. A record ends in a checksum over key and values: one that is just being written,
or was damaged, is not found, which does no harm.
"""

from __future__ import annotations

import hashlib
import mmap
import os
import struct
import time
import zlib
from collections.abc import Callable
from pathlib import Path

from esa.policy.history import History, Subject
from esa.store.folder import store_error

_HEAD = struct.Struct("<8sQ32sQ8x")  # magic, buckets, secret, how many histories are of Kind.IMPORTED
_IMPORTED = 48  # offset of that number
_MAGIC = b"ESAREP01"
_PLACES = 16  # in a bucket; with half of all places in use one bucket in 250 is full
_KEYS = struct.Struct(f"<{_PLACES}Q")
_VALUES = struct.Struct("<6d5I")
_CHECK = struct.Struct("<I")
_RECORD = _VALUES.size + _CHECK.size
_BUCKET = _KEYS.size + _PLACES * _RECORD
_MOST = 0xFFFFFFFF
LOOK_SECONDS = 1.0  # after which a reader looks whether a new file has taken the place of its own


def memory_size(rows: int) -> int:
    """Octets of a table for so many histories."""
    return _HEAD.size + _buckets(rows) * _BUCKET


def _buckets(rows: int) -> int:
    return 1 << max(4, (2 * rows // _PLACES - 1).bit_length())


class _Mapped:
    """A table's memory and the way to a key's bucket."""

    def __init__(self, memory: mmap.mmap) -> None:
        _, self.buckets, self._secret, _ = _HEAD.unpack_from(memory)
        self.memory = memory

    def find(self, subject: Subject) -> tuple[bytes, int, int]:
        """The key, its bucket's offset, and its place in it (-1: it is in none)."""
        name = (subject[0] + " " + subject[1]).encode("utf-8", "surrogatepass")
        key = hashlib.blake2b(name, digest_size=8, key=self._secret).digest()
        number = int.from_bytes(key, "little")
        bucket = _HEAD.size + (number & self.buckets - 1) * _BUCKET
        try:
            return key, bucket, _KEYS.unpack_from(self.memory, bucket).index(number)
        except ValueError:
            return key, bucket, -1


class TableWriter:
    """The table of the process that writes it."""

    def __init__(self, path: Path, rows: int) -> None:
        """Make a fresh one for so many histories beside `path`; `publish` puts it in place. Raises StoreError."""
        self.path = path
        self._working = path.with_name(path.name + ".new")
        try:
            descriptor = os.open(self._working, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
            try:
                os.posix_fallocate(descriptor, 0, memory_size(rows))  # a hole that finds no disk when it is written kills the process
                memory = mmap.mmap(descriptor, 0)
            finally:
                os.close(descriptor)
        except OSError as error:
            raise store_error(error, path) from error
        _HEAD.pack_into(memory, 0, _MAGIC, _buckets(rows), os.urandom(32), 0)
        self._mapped = _Mapped(memory)

    def publish(self) -> None:
        """Put it in place of the one that is there. Raises StoreError."""
        try:
            self._working.replace(self.path)
        except OSError as error:
            raise store_error(error, self.path) from error

    def tell_imported(self, count: int) -> None:
        """How many histories are another gateway's word; while it is 0 nobody looks for one."""
        self._mapped.memory[_IMPORTED : _IMPORTED + 8] = count.to_bytes(8, "little")

    def put(self, subject: Subject, history: History) -> None:
        """Write one. In a full bucket it takes the place of whoever was written longest ago: it then has no reputation until it is heard of."""
        mapped = self._mapped
        key, bucket, place = mapped.find(subject)
        memory = mapped.memory
        if place < 0:
            place = self._free_place(bucket)
            memory[bucket + 8 * place : bucket + 8 * place + 8] = bytes(8)
        values = _VALUES.pack(*history[:6], *(min(_MOST, count) for count in history[6:]))
        record = bucket + _KEYS.size + place * _RECORD
        memory[record : record + _RECORD] = values + _CHECK.pack(zlib.crc32(values, zlib.crc32(key)))
        memory[bucket + 8 * place : bucket + 8 * place + 8] = key

    def _free_place(self, bucket: int) -> int:
        memory = self._mapped.memory
        keys = _KEYS.unpack_from(memory, bucket)
        if 0 in keys:
            return keys.index(0)
        records = range(bucket + _KEYS.size, bucket + _BUCKET, _RECORD)
        ages = [_VALUES.unpack_from(memory, record)[2] for record in records]
        return ages.index(min(ages))

    def remove(self, subject: Subject) -> None:
        _, bucket, place = self._mapped.find(subject)
        if place >= 0:
            self._mapped.memory[bucket + 8 * place : bucket + 8 * place + 8] = bytes(8)

    def close(self) -> None:
        self._mapped.memory.close()


class TableReader:
    """The table as a receiver reads it. Without a file, or with one that is none, nothing is known of anybody."""

    def __init__(self, path: Path, clock: Callable[[], float] = time.monotonic) -> None:
        self.path = path
        self._clock = clock
        self._mapped: _Mapped | None = None
        self._identity = (0, 0)
        self._look_again = 0.0

    @property
    def has_imported(self) -> bool:
        return self._mapped is not None and any(self._mapped.memory[_IMPORTED : _IMPORTED + 8])

    def look_up(self, subject: Subject) -> History | None:
        """A few microseconds; never raises."""
        now = self._clock()
        if now >= self._look_again:
            self._look_again = now + LOOK_SECONDS
            self._look()
        mapped = self._mapped
        if mapped is None:
            return None
        key, bucket, place = mapped.find(subject)
        if place < 0:
            return None
        start = bucket + _KEYS.size + place * _RECORD
        record = mapped.memory[start : start + _RECORD]
        if zlib.crc32(record[:-4], zlib.crc32(key)) != int.from_bytes(record[-4:], "little"):
            return None
        return History._make(_VALUES.unpack_from(record))

    def _look(self) -> None:
        """Map the file that is in place now."""
        try:
            status = self.path.stat()
            if (status.st_dev, status.st_ino) == self._identity:  # a file that is mapped keeps its number to itself
                return
            with self.path.open("rb") as file:
                memory = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
            self._identity = (status.st_dev, status.st_ino)
            magic, buckets, *_ = _HEAD.unpack_from(memory)
            is_sound = magic == _MAGIC and buckets and not buckets & buckets - 1 and len(memory) == _HEAD.size + buckets * _BUCKET
            self._mapped = _Mapped(memory) if is_sound else None
        except (OSError, ValueError, struct.error):
            self._mapped, self._identity = None, (0, 0)
