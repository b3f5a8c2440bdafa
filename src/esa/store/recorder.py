"""Reading what is recorded: `recordings(folder)` gives all there is, oldest first, and `status_of` says how much that is.

Written by `recorder_writer`, in files that `recorder_folder` names, in lines that `recorder_line` knows.
"""

from __future__ import annotations

import heapq
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from esa.store.recorded import FATES, UNKNOWN, Program, Recorded
from esa.store.recorder_folder import CONTENT, Contents, Segment, frames_of, program_of, segments_of, size_of, writers_of
from esa.store.recorder_line import decode


class Recordings:
    """What is recorded, oldest first (by identifier, as far as each writer kept that order). May be gone through several times.

    `damaged` counts lines that could not be read and `lost` messages that were not written (disk full, too much at once), both of the last
    time through. Files that limits remove meanwhile are passed over. Raises StoreError.
    """

    def __init__(self, folder: Path, *, since: float | None = None, contents: bool = True) -> None:
        """`since`: Unix seconds; `contents` False spares reading and decrypting what was recorded of contents."""
        self._folder, self._since, self._has_contents = folder, since, contents
        self.damaged = self.lost = 0

    def __iter__(self) -> Iterator[Recorded]:
        self.damaged = self.lost = 0
        return heapq.merge(*map(self._of_writer, writers_of(self._folder)), key=lambda one: one.id)

    def _of_writer(self, writer: Path) -> Iterator[Recorded]:
        programs: dict[str, Program] = {}
        for segment in segments_of(writer):
            if self._since is not None and segment.is_older_than(self._since):
                continue
            if segment.program not in programs:
                octets = program_of(writer, segment.program)
                try:
                    programs[segment.program] = UNKNOWN if octets is None else Program.from_octets(octets)
                except ValueError:
                    programs[segment.program] = UNKNOWN
            yield from self._of_segment(segment, programs[segment.program])

    def _of_segment(self, segment: Segment, program: Program) -> Iterator[Recorded]:
        contents: Contents | None = None
        for line in segment.lines():
            if line.startswith(b"{"):
                self.lost += lost_of(line)
                continue
            try:
                recorded, has_content = decode(line, program)
            except (ValueError, RecursionError):
                self.damaged += not (segment.is_open and not line.endswith(b"\n"))  # the writer is just at it
                continue
            if self._since is not None and recorded.received_at < self._since:
                continue
            if has_content and self._has_contents:
                if contents is None:
                    contents = Contents(segment)
                recorded = recorded._replace(content=contents.get(recorded.id))
            yield recorded


class Status(NamedTuple):
    """What there is. Times are Unix seconds of the oldest and the youngest message, None where there is none; `fates` in the order of `Fate`."""

    messages: int
    since: float | None
    until: float | None
    fates: Mapping[str, int]
    octets: int  # of all files but contents
    contents: int
    content_octets: int
    lost: int
    damaged: int
    writers: int


def status_of(folder: Path) -> Status:
    """Go through all that is recorded. Raises StoreError."""
    found = Recordings(folder, contents=False)
    counts = dict.fromkeys(FATES, 0)
    since = until = None
    for one in found:
        counts[one.fate] += 1
        since = one.received_at if since is None else min(since, one.received_at)
        until = one.received_at if until is None else max(until, one.received_at)
    octets = contents = content_octets = 0
    writers = writers_of(folder)
    for writer in writers:
        for path in writer.iterdir():
            if path.suffix == CONTENT:
                places = [size for _, _, size in frames_of(path)]
                contents += len(places)
                content_octets += sum(places)
            else:
                octets += size_of(path)
    fates: dict[str, int] = {fate: count for fate, count in counts.items() if count}
    return Status(sum(counts.values()), since, until, fates, octets, contents, content_octets, found.lost, found.damaged, len(writers))


def lost_of(line: bytes) -> int:
    """Messages that a line between records says were not written."""
    try:
        lost = json.loads(line).get("lost", 0)
    except ValueError:
        return 0
    return lost if isinstance(lost, int) else 0


def recordings(folder: Path, *, since: float | None = None, contents: bool = True) -> Recordings:
    """What stands in the folder of a recorder (`state / FOLDER`)."""
    return Recordings(folder, since=since, contents=contents)
