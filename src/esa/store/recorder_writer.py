"""Writes what the recorder keeps, within its limits. One `Recorder` for each receive worker, which calls `put` on its loop and `flush` on a thread.

Nothing is synced and nothing raises once it is open: what cannot be written is lost, counted, and said in the files (a line {"lost": n}). On a full
or failing disk it stops, looks again every few seconds, and goes on. The limits hold for all writers together: whoever tidies removes the oldest
closed segments of anybody, for nobody writes those any more; of the open ones each has only so much that all of them together keep the limits.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import re
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from esa.errors import StoreError
from esa.store.folder import make_private, store_error, take_lock, telling
from esa.store.recorded import Program, Recorded
from esa.store.recorder_erasing import erase_requested
from esa.store.recorder_folder import CLOSED, CONTENT, LINE_LIMIT, OPEN, PROGRAM, Segment, make_key, seal, segments_of, size_of, writers_of
from esa.store.recorder_line import COLUMNS, Beside, Column, beside_of
from esa_core._json_lines import JsonLines

WAITING_LIMIT = 8 << 20  # octets that wait for `flush`; more is a disk that cannot follow, and records may be lost
RESERVE_OCTETS = 128 << 20  # free space that is left to mail, which is put off below half of it
RETRY_SECONDS = 5.0  # after a fault of the disk
TIDY_SECONDS = 60.0
SHARE = 16  # segments that a writer's part of the limits is cut into: so much of what is kept goes at once
OLDEST_SEGMENT = 3600.0  # seconds after which a segment is closed, so that age can remove it
SMALLEST_SEGMENT = 256 << 10  # octets; whatever the limits are, a record fits into a segment
DIGITS = 16  # of a program's digest in names


@dataclass(frozen=True, slots=True)
class Limits:
    """What is kept at most, by all `writers` together. Ages in seconds."""

    messages: int = 200_000
    octets: int = 2_000_000_000  # of all files but contents
    age: float = 14 * 86_400.0
    content_octets: int = 1_000_000_000
    content_age: float = 2 * 86_400.0
    writers: int = 1

    @property
    def segment_messages(self) -> int:
        return max(1, self.messages // (SHARE * self.writers))

    @property
    def segment_octets(self) -> int:
        return max(SMALLEST_SEGMENT, self.octets // (SHARE * self.writers))

    @property
    def segment_content_octets(self) -> int:
        return max(SMALLEST_SEGMENT, self.content_octets // (SHARE * self.writers))

    @property
    def segment_age(self) -> float:
        return min(OLDEST_SEGMENT, self.age / SHARE)


class _Waiting:
    """Lines that wait to be written, and contents with the identifiers of their messages by number of the line."""

    def __init__(self, columns: Sequence[Column]) -> None:
        self.lines = JsonLines(columns, longest=LINE_LIMIT, most=WAITING_LIMIT)
        self.contents: dict[int, tuple[str, bytes]] = {}
        self.octets = 0  # of contents

    def __len__(self) -> int:
        return len(self.lines)

    def clear(self) -> None:
        """Begin anew in the same memory."""
        self.lines.clear()
        self.contents.clear()
        self.octets = 0


class Recorder:
    """The open files of one writer. `fault` says why nothing is written; None: it goes well."""

    def __init__(
        self,
        folder: Path,
        limits: Limits | None = None,
        *,
        writer: str = "recorder",
        program: Program | None = None,
        about: Mapping[str, str] | None = None,
        with_contents: bool = False,
        columns: Sequence[Column] = COLUMNS,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """`about` stands at the head of each segment; `columns` are those of what `put` is given.

        Raises StoreError; with `is_in_use` while another process writes under this name.
        """
        self._folder, self._limits, self._clock = folder, limits or Limits(), clock
        self._home = make_private(folder / writer)
        self._lock = take_lock(self._home / "lock", what=f"the recorder of {writer}")
        program = program or Program()
        self._listened = program.to_octets()
        self._program = hashlib.sha256(self._listened).hexdigest()[:DIGITS]
        self._about = dict(about or {})
        self._key = make_key(folder) if with_contents else b""
        self._guard = threading.Lock()  # of what `put` and `flush` both touch
        self._waiting, self._spare = _Waiting(columns), _Waiting(columns)
        self._untold = 0  # messages lost that no file tells of yet
        self.taken = self.lost = 0  # since it was opened
        self.fault: StoreError | None = None
        self._retry_at = self._tidy_at = 0.0
        self._segment = -1  # descriptor; -1: none is open
        self._content = -1
        self._began = self._last_began = 0
        self._count = self._octets = self._content_octets = 0
        close_leftovers(self._home)
        self.tidy()

    def add(self, recorded: Recorded, content: bytes | None = None) -> bool:
        """`put` a record as it is read."""
        return self.put(recorded, beside_of(recorded), recorded.id, content)

    def put(self, source: object, beside: Beside, identifier: str, content: bytes | None = None) -> bool:
        """Take a message, to be written by the next `flush`; False if it is lost. Quick, and without a call of the system.

        `source` has what the columns name, and `beside` what `recorder_line.beside` makes. Raises what an attribute of the source raises.
        """
        has_content = content is not None and bool(self._key)
        with self._guard:
            waiting = self._waiting
            room = WAITING_LIMIT - waiting.octets - (len(content) if has_content and content is not None else 0)
            if waiting.lines.add(source, (*beside, has_content), room=max(room, 0)) < 0:
                self._lose(1)
                return False
            if has_content and content is not None:
                waiting.contents[len(waiting) - 1] = identifier, content
                waiting.octets += len(content)
            self.taken += 1
        return True

    def _lose(self, count: int) -> None:
        self.lost += count
        self._untold += count

    def flush(self) -> None:
        """Write what waits, and see to limits and to what is to be erased. Not on two threads at once."""
        with self._guard:
            waiting, self._waiting, self._spare = self._waiting, self._spare, self._waiting
        now = self._clock()
        if self.fault is not None and now < self._retry_at and self._retry_at - now <= RETRY_SECONDS:
            with self._guard:
                self._lose(len(waiting))
        elif len(waiting) or self.fault is not None:
            self._write_all(waiting)
        waiting.clear()
        if self._segment >= 0 and now * 1000 - self._began > self._limits.segment_age * 1000:
            self._close_segment()
        erase_requested(self._home, close=self._close_segment)
        if now >= self._tidy_at or self._tidy_at - now > TIDY_SECONDS:
            self.tidy()

    def _write_all(self, waiting: _Waiting) -> None:
        """In pieces that keep to the size of a segment."""
        at = 0
        try:
            self._leave_space()
            while at < len(waiting) or self.fault is not None:  # once at least after a fault, to see whether it is over
                if self._segment < 0:
                    self._open_segment()
                upto = self._fitting(waiting, at)
                self._write(waiting, at, upto)
                at = upto
                self.fault = None
                if at < len(waiting) or self._is_full():
                    self._close_segment()
                    self.tidy()
        except (OSError, StoreError) as error:
            self._stop(error)
            with self._guard:
                self._lose(len(waiting) - at)

    def _leave_space(self) -> None:
        free = os.statvfs(self._home)
        if free.f_bavail * free.f_frsize < RESERVE_OCTETS:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(self._home))

    def _fitting(self, waiting: _Waiting, at: int) -> int:
        """The end of what still goes into this segment; at least one."""
        limits, lines = self._limits, waiting.lines
        before = lines.end(at - 1) if at else 0
        content_octets = self._content_octets
        is_all = self._octets + lines.octets - before <= limits.segment_octets and self._count + len(lines) - at <= limits.segment_messages
        if is_all and content_octets + waiting.octets <= limits.segment_content_octets:
            return len(lines)
        for place in range(at, len(lines)):
            if place in waiting.contents:
                content_octets += len(waiting.contents[place][1])
            is_over = (
                self._count + place + 1 - at > limits.segment_messages
                or self._octets + lines.end(place) - before > limits.segment_octets
                or content_octets > limits.segment_content_octets
            )
            if is_over and (place > at or self._count):
                return place
        return len(lines)

    def _is_full(self) -> bool:
        limits = self._limits
        return (
            self._count >= limits.segment_messages
            or self._octets >= limits.segment_octets
            or self._content_octets >= limits.segment_content_octets
        )

    def _write(self, waiting: _Waiting, at: int, upto: int) -> None:
        frames = [seal(self._key, *waiting.contents[number]) for number in range(at, upto) if number in waiting.contents]
        if frames:
            if self._content < 0:
                self._content = _create(self._home / f"{self._began:013d}{CONTENT}")
            self._content_octets += _put(self._content, b"".join(frames))
        with self._guard:
            untold, self._untold = self._untold, 0
        note = json.dumps({"lost": untold}).encode() + b"\n" if untold else b""
        try:
            written = _put(self._segment, note) + _put(self._segment, waiting.lines.piece(at, upto))
        except OSError:
            with self._guard:
                self._untold += untold
            raise
        self._octets += written
        self._count += upto - at

    def _open_segment(self) -> None:
        program = self._home / f"{self._program}{PROGRAM}"
        if not program.exists():
            fresh = program.with_suffix(".new")
            fresh.write_bytes(self._listened)
            fresh.replace(program)
        self._began = self._last_began = max(int(self._clock() * 1000), self._last_began + 1)
        self._count = self._octets = self._content_octets = 0
        self._segment = _create(self._open_path)
        self._octets = _put(self._segment, json.dumps({"recorder": 2, **self._about}).encode() + b"\n")

    @property
    def _open_path(self) -> Path:
        return self._home / f"{self._began:013d}-{self._program}{OPEN}"

    def _close_segment(self) -> None:
        """Close what is open. Raises nothing: what is not renamed now is at the next start."""
        for descriptor in (self._segment, self._content):
            if descriptor >= 0:
                with contextlib.suppress(OSError):
                    os.close(descriptor)
        if self._segment >= 0:
            with contextlib.suppress(OSError):
                self._open_path.rename(self._home / f"{self._began:013d}-{self._program}-{self._count}{CLOSED}")
        self._segment = self._content = -1

    def _stop(self, error: OSError | StoreError) -> None:
        """Leave the segment as far as it is whole, and look again later."""
        if self._segment >= 0:
            with contextlib.suppress(OSError):
                os.ftruncate(self._segment, self._octets)
        self._close_segment()
        self.fault = error if isinstance(error, StoreError) else store_error(error, error.filename or self._home)
        self._retry_at = self._clock() + RETRY_SECONDS

    def tidy(self) -> None:
        """Remove what is over the limits. Raises nothing."""
        self._tidy_at = self._clock() + TIDY_SECONDS
        with contextlib.suppress(OSError, StoreError):
            keep_limits(self._folder, self._limits, self._clock())

    def close(self) -> None:
        """Write what waits and give the lock back."""
        self.flush()
        self._close_segment()
        os.close(self._lock)


def _create(path: Path) -> int:
    return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC, 0o600)


def _put(descriptor: int, octets: bytes | memoryview) -> int:
    """Write all of it. Raises OSError."""
    written = 0
    with memoryview(octets) as view:
        while written < len(view):
            with view[written:] as rest:
                written += os.write(descriptor, rest)
    return written


_LEFT_OVER = re.compile(r".*\.new\Z")


def close_leftovers(home: Path) -> None:
    """Close what a process left that was killed. The caller holds the lock of this writer. Raises StoreError."""
    with telling(home):
        for name in os.listdir(home):  # noqa: PTH208
            if _LEFT_OVER.match(name):
                (home / name).unlink(missing_ok=True)
    for segment in segments_of(home):
        if segment.is_open:
            count = sum(line.startswith(b"[") and line.endswith(b"\n") for line in segment.lines())
            with telling(home):
                if count:  # its age is that of its last record
                    segment.path.rename(home / f"{segment.path.stem}-{count}{CLOSED}")
                else:
                    remove(segment)


def remove(segment: Segment) -> None:
    """Remove a segment and what is beside it. Raises OSError."""
    segment.path.unlink(missing_ok=True)
    segment.content_path.unlink(missing_ok=True)


def keep_limits(folder: Path, limits: Limits, now: float) -> None:
    """Remove the oldest closed segments, of whatever writer, that the limits do not allow for. Raises OSError and StoreError."""
    closed: list[Segment] = []
    octets = n_open = 0
    for home in writers_of(folder):
        _close_abandoned(home)
        found = segments_of(home)
        programs = {segment.program for segment in found}
        for segment in found:
            if segment.count is None:
                n_open += 1
            elif segment.is_older_than(now - limits.age):
                remove(segment)
            else:
                closed.append(segment)
        for path in home.glob(f"*{PROGRAM}"):
            if path.stem in programs:
                octets += size_of(path)
            elif segment_is_gone(path, now):
                path.unlink(missing_ok=True)
    n_open = max(n_open, limits.writers)  # each as large as it may become, whoever has none open just now
    messages = n_open * limits.segment_messages
    octets += n_open * limits.segment_octets
    content_octets = n_open * limits.segment_content_octets
    closed.sort(key=lambda one: (one.began, one.path.name), reverse=True)
    for segment in closed:  # the youngest first
        messages += segment.count or 0
        octets += size_of(segment.path)
        if messages > limits.messages or octets > limits.octets:
            remove(segment)
            continue
        content_octets += size_of(segment.content_path)
        if content_octets > limits.content_octets or segment.is_older_than(now - limits.content_age):
            segment.content_path.unlink(missing_ok=True)


def segment_is_gone(program: Path, now: float) -> bool:
    """Whether a program that no segment names is old enough to be of none that is just being opened."""
    try:
        return program.stat().st_mtime < now - TIDY_SECONDS
    except OSError:
        return False


def _close_abandoned(home: Path) -> None:
    """Where nobody writes any more, close what was left open."""
    if any(segment.is_open for segment in segments_of(home)):
        try:
            lock = take_lock(home / "lock", what="the recorder", patience=0.0)
        except StoreError:
            return
        try:
            close_leftovers(home)
        finally:
            os.close(lock)
