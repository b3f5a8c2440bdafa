"""Erasing from the recorder: everything, or all records in which an address stands.

A file is changed only by its writer: `erase` does so itself where nobody writes, and else leaves a request beside the files, which the writer's next
`flush` carries out and answers. A record goes as a whole, with its content; a content goes too if the address stands in its octets.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

from esa.errors import StoreError
from esa.store.folder import take_lock, telling
from esa.store.recorder_folder import CLOSED, Contents, Segment, frames_of, segments_of, writers_of

REQUEST, ANSWER = "erase.request", "erase.answer"
PATIENCE = 30.0  # seconds to wait for a writer; one that is idle looks every few seconds


class Erased(NamedTuple):
    """How many records are gone, and the writers that did not answer in time: their records go when they look next."""

    records: int
    silent: tuple[str, ...] = ()


def erase(folder: Path, address: str = "", *, patience: float = PATIENCE) -> Erased:
    """Erase all records in which `address` stands (local@domain, or @domain), whatever its case; empty: all there is. Raises StoreError."""
    count = 0
    waiting: list[Path] = []
    for home in writers_of(folder):
        try:
            lock = take_lock(home / "lock", what="the recorder", patience=0.0)
        except StoreError as fault:
            if not fault.is_in_use:
                raise
            with telling(home):
                (home / ANSWER).unlink(missing_ok=True)
                fresh = home / f"{REQUEST}.{os.getpid()}"
                fresh.write_text(json.dumps({"address": address}))
                fresh.replace(home / REQUEST)
            waiting.append(home)
            continue
        try:
            from esa.store.recorder_writer import close_leftovers  # late: the writer needs this module

            close_leftovers(home)
            count += _erase_here(home, address)
        finally:
            os.close(lock)
    deadline = time.monotonic() + patience
    while waiting and time.monotonic() < deadline:
        for home in list(waiting):
            with contextlib.suppress(FileNotFoundError, ValueError):
                count += int(json.loads((home / ANSWER).read_text())["records"])
                (home / ANSWER).unlink()
                waiting.remove(home)
        time.sleep(0.05)
    return Erased(count, tuple(home.name for home in waiting))


def erase_requested(home: Path, *, close: Callable[[], None]) -> None:
    """Carry out a request, if there is one. `close` closes the open segment. For the writer; raises nothing, and tries again where it failed."""
    request = home / REQUEST
    if not request.exists():
        return
    with contextlib.suppress(OSError, StoreError, ValueError, KeyError, TypeError):
        address = str(json.loads(request.read_text())["address"])
        close()
        count = _erase_here(home, address)
        fresh = home / f"{ANSWER}.new"
        fresh.write_text(json.dumps({"records": count}))
        request.unlink()
        fresh.replace(home / ANSWER)


def _erase_here(home: Path, address: str) -> int:
    """Erase in all closed segments of a writer. Raises StoreError."""
    count = 0
    pattern = pattern_of(address) if address else None
    with telling(home):
        for segment in segments_of(home):
            if segment.is_open:
                continue
            if pattern is None:
                count += segment.count or 0
                segment.path.unlink(missing_ok=True)
                segment.content_path.unlink(missing_ok=True)
            else:
                count += _rewrite(segment, pattern)
    return count


def pattern_of(address: str) -> re.Pattern[str]:
    """Finds an address in a text where it is no part of a longer one."""
    before = "" if address.startswith("@") else r"(?<![\w.!#$%&'*+/=?^`{|}~-])"
    return re.compile(f"{before}{re.escape(address)}(?![\\w-]|\\.\\w)", re.IGNORECASE)


def _rewrite(segment: Segment, pattern: re.Pattern[str]) -> int:
    """Write a segment anew without the records in which it stands; how many those are."""
    octets = re.compile(pattern.pattern.encode("utf-8", "surrogatepass"), re.IGNORECASE)
    contents = Contents(segment)
    kept: list[bytes] = []
    gone: set[str] = set()
    count = 0
    for line in segment.lines():
        if line.startswith(b"{"):
            kept.append(line)
            continue
        try:
            values = json.loads(line)
            identifier = str(values[0])
        except (ValueError, IndexError, KeyError, TypeError, RecursionError):
            count += bool(octets.search(line))
            if not octets.search(line):
                kept.append(line)  # damaged; it is not made worse
            continue
        content = contents.get(identifier)
        if any(map(pattern.search, _texts(values))) or (content is not None and octets.search(content)):
            gone.add(identifier)
            count += 1
        else:
            kept.append(line)
    if not count:
        return 0
    times = segment.path.stat()
    left = (segment.count or 0) - count
    _write_anew(segment.path, segment.path.with_name(f"{segment.path.stem.rpartition('-')[0]}-{max(left, 0)}{CLOSED}"), kept, times)
    if gone:
        frames = [(offset, size) for name, offset, size in frames_of(segment.content_path) if name not in gone]
        if segment.content_path.exists():
            with segment.content_path.open("rb") as file:
                _write_anew(segment.content_path, segment.content_path, _pieces(file.fileno(), frames), times)
    return count


def _pieces(descriptor: int, places: list[tuple[int, int]]) -> Iterator[bytes]:
    for offset, size in places:
        yield os.pread(descriptor, size, offset)


def _write_anew(old: Path, new: Path, pieces: Iterator[bytes] | list[bytes], times: os.stat_result) -> None:
    """Put these octets in the place of a file, under a new name; its age stays."""
    fresh = old.with_name(f"{old.name}.new")
    with open(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600), "wb") as file:  # noqa: PTH123
        for piece in pieces:
            file.write(piece)
    os.utime(fresh, ns=(times.st_atime_ns, times.st_mtime_ns))
    if old != new:
        old.unlink()  # first, so that no reader sees both
    fresh.replace(new)


def _texts(value: object) -> Iterator[str]:
    """All texts in a JSON value."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, list):
        for one in value:
            yield from _texts(one)
    elif isinstance(value, dict):
        for key, one in value.items():
            yield key
            yield from _texts(one)
