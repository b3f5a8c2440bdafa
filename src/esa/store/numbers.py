"""Numbers of connections and messages for logs, as AsyncOS gives them: small, rising, each given once, over all processes and restarts.

One file of the state folder holds the next free number of each kind. A process takes a run of them under a lock, with one sync, and gives
them out from memory; what is left of a run when it ends is never given again. So numbers rise within a process, runs of different processes
lie side by side, and gaps mean nothing.
"""

from __future__ import annotations

import errno
import fcntl
import os
import struct
import time
from collections.abc import Callable
from enum import IntEnum
from pathlib import Path

FILE_NAME = "numbers"
RUN = 4_096  # numbers taken at a time: one sync of the disk for so many
_PARTS = 1_024  # runs of a hundredth of a second, for the processes that can make numbers of the time at once
_FORM = struct.Struct("<8sQQQ")
_MAGIC = b"ESANUM01"


class Kind(IntEnum):
    """What is numbered; the place in the file."""

    CONNECTION = 0  # of a client: ICID
    MESSAGE = 1  # MID
    DELIVERY = 2  # connection to a next hop: DCID


class Numbers:
    """Gives out numbers, from 1. For one thread.

    Where the file cannot be used the next run is made of the time, longer than the file ever gives: a full disk costs short numbers and
    nothing else. `failed` is told of it.
    """

    def __init__(self, state: Path, *, failed: Callable[[OSError], None] | None = None) -> None:
        self._path = state / FILE_NAME
        self._failed = failed
        self._next = [0, 0, 0]
        self._end = [0, 0, 0]

    def next(self, kind: Kind) -> int:
        number = self._next[kind]
        if number == self._end[kind]:
            number = self._take(kind)
            self._end[kind] = number + RUN
        self._next[kind] = number + 1
        return number

    def _take(self, kind: Kind) -> int:
        """The first number of a fresh run."""
        try:
            descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX)
                stored = os.pread(descriptor, _FORM.size, 0)
                magic, *numbers = _FORM.unpack(stored) if len(stored) == _FORM.size else (b"",)
                if magic != _MAGIC:
                    if stored:  # what it said is not known, so nothing can be given that surely was not
                        raise OSError(errno.EILSEQ, "the file of numbers is damaged", str(self._path))
                    numbers = [1, 1, 1]
                first: int = numbers[kind]
                numbers[kind] = first + RUN
                os.pwrite(descriptor, _FORM.pack(_MAGIC, *numbers), 0)
                os.fdatasync(descriptor)
                return first
            finally:
                os.close(descriptor)
        except OSError as error:
            if self._failed is not None:
                self._failed(error)
            return self._by_time(kind)

    def _by_time(self, kind: Kind) -> int:
        """A run in the part of this process of a hundredth of a second, of this one or of the next that has not been given."""
        first = (time.time_ns() // 10_000_000 * _PARTS + os.getpid() % _PARTS) * RUN
        while first < self._end[kind]:
            first += _PARTS * RUN
        return first
