"""Whether the spools, the queue and what belongs to them are whole: `esa queue check`; and what does not belong there, which `keep` moves aside.

Reads only, beside a running service too. What it finds is told with the place and what to do about it; nothing of a message is told.
"""

from __future__ import annotations

import contextlib
import os
import re
import sqlite3
import stat
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from esa.errors import StoreError
from esa.store.database import telling_database
from esa.store.entry import FILE_NAME
from esa.store.folder import make_private, sync_directory, telling
from esa.store.queue_view import QueueView
from esa.store.rebuilding import check_queue, is_lost
from esa.store.segments import SURVIVORS, SpoolReader, read_message
from esa.store.spool import parse_segment_name

Kind = Literal["damaged", "torn", "unreadable", "foreign", "missing", "lost", "aside"]
_CONTENT_NAME = re.compile(r"[0-9a-f]{16}-.+\Z")
_FOLDERS = frozenset({"segments", "content", "incoming", "corrupt"})
_FILES = frozenset({"lock", "committed"})
_BATCH = 128  # records read before the meter moves

Advance = Callable[[int], None]


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that is not as it should be. `lost`: records known to be missing there, at least."""

    kind: Kind
    path: Path
    what: str
    offset: int = 0
    length: int = 0
    lost: int = 0

    @property
    def is_alarming(self) -> bool:
        """Whether mail may be lost or hidden by it; a torn end holds nothing that was acknowledged."""
        return self.kind not in ("torn", "aside")


def octets_of(state: Path) -> int:
    """Octets of all segments: what there is to read."""
    total = 0
    for path in (state / "spool").glob("*/segments/*"):
        with contextlib.suppress(OSError):
            total += path.lstat().st_size
    return total


def check(state: Path, advance: Advance = lambda _: None) -> Iterator[Finding]:
    """Look through all of it. `advance` is told of octets of segments that have been read. Raises StoreError for what keeps it from looking."""
    spool = state / "spool"
    yield from _aside(state)
    for path, what in foreign(spool):
        yield Finding("foreign", path, what)
    yield from _segments(spool, advance)
    yield from _queue(state)


def _aside(state: Path) -> Iterator[Finding]:
    for folder in (state / "corrupt", *(state / "spool").glob("*/corrupt")):
        with contextlib.suppress(OSError):
            for path in sorted(folder.iterdir()):
                yield Finding("aside", path, "was moved aside; look at it, then remove it")


def _segments(spool: Path, advance: Advance) -> Iterator[Finding]:
    reader = SpoolReader(spool)
    wanted: dict[Path, None] = {}
    while batch := reader.read(records=_BATCH):
        for damage in batch.damages:
            path = spool / damage.writer / "segments" / damage.segment
            words = {
                "torn": "the end of what a writer that died was writing",
                "unreadable": "it may not be read, or belongs to another user",
            }
            what = words.get(damage.kind, "no valid record stands there")
            yield Finding(damage.kind, path, what, damage.offset, damage.length, damage.lost)
        for stored in batch.stored:
            try:
                message = read_message(spool, stored.location)
            except StoreError as fault:
                if Path(fault.where or "").parent.name == "content":
                    yield Finding("damaged", Path(fault.where or ""), fault.what, lost=1)
                    continue
                if not (spool / stored.location.writer / "segments" / stored.location.segment).exists():
                    continue  # all in it was done meanwhile, and it went
                yield Finding("damaged", Path(fault.where or ""), fault.what, stored.location.offset, stored.location.length, lost=1)
                continue
            if message.path is not None:
                wanted[message.path] = None
        before = {key: reader.cursors[key].offset if key in reader.cursors else 0 for key in batch.cursors}
        advance(sum(cursor.offset - before[key] for key, cursor in batch.cursors.items()))
        reader.advance(batch)
        if batch.is_complete:
            break


def _queue(state: Path) -> Iterator[Finding]:
    path = state / FILE_NAME
    if is_lost(state):
        yield Finding("lost", path, "it is not there; `esa serve` makes it anew, and so does `esa queue rebuild`")
        return
    if (fault := check_queue(state)) is not None:
        yield Finding("damaged", path, f"{fault.what}; `esa serve` makes it anew at its next start, and so does `esa queue rebuild`")
        return
    view = QueueView.open(state)
    if view is not None:
        try:
            for entry in view.entries():
                try:
                    read_message(state / "spool", entry.location)
                except StoreError as damage:
                    if view.entries([entry.key]):  # it is still to be delivered: else its segment went with it meanwhile
                        yield Finding(
                            "missing", Path(damage.where or ""), f"the message of {entry.key} cannot be read: {damage.what}", lost=1
                        )
        except StoreError as broken:
            if not broken.is_damaged:
                raise
            yield Finding("damaged", path, f"{broken.what}; `esa serve` makes it anew, and so does `esa queue rebuild`")
        finally:
            view.close()
    for name in ("tracking.db", "quarantine.db"):
        if (what := _sqlite_fault(state / name)) is not None:
            yield Finding("damaged", state / name, what)


def _sqlite_fault(path: Path) -> str | None:
    """What SQLite finds wrong with a file of any version of ours."""
    if not path.exists():
        return None
    try:
        with telling_database(path), contextlib.closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)) as connection:
            found = str(connection.execute("PRAGMA quick_check(1)").fetchone()[0])
    except StoreError as fault:
        return fault.what
    return None if found == "ok" else found


def foreign(spool: Path) -> Iterator[tuple[Path, str]]:
    """What lies in the spools and is none of ours: other names, links, folders, files of other users."""
    if not spool.is_dir():
        return
    owners = {os.geteuid(), spool.stat().st_uid}
    with os.scandir(spool) as writers:
        for writer in sorted(writers, key=lambda one: one.name):
            if not writer.is_dir(follow_symlinks=False):
                yield Path(writer.path), "it is no writer's folder"
                continue
            with os.scandir(writer.path) as inside:
                for one in inside:
                    is_folder = one.is_dir(follow_symlinks=False)
                    if one.name not in (_FOLDERS if is_folder else _FILES) or one.is_symlink():
                        yield Path(one.path), "it is nothing of ours"
            for name in ("segments", "content"):
                yield from _foreign_files(Path(writer.path) / name, owners, is_survivor=writer.name == SURVIVORS)


def _foreign_files(folder: Path, owners: set[int], *, is_survivor: bool) -> Iterator[tuple[Path, str]]:
    try:
        entries = list(os.scandir(folder))
    except OSError:
        return
    for one in entries:
        try:
            status = one.stat(follow_symlinks=False)
        except OSError:  # gone meanwhile
            continue
        path = Path(one.path)
        if stat.S_ISLNK(status.st_mode):
            yield path, "it is a symbolic link"
        elif not stat.S_ISREG(status.st_mode):
            yield path, "it is no file"
        elif status.st_uid not in owners:
            yield path, f"it belongs to another user ({status.st_uid})"
        elif folder.name == "segments" and parse_segment_name(path.name) is None:
            yield path, "no segment has such a name"
        elif folder.name == "content" and not is_survivor and _CONTENT_NAME.match(path.name) is None:
            yield path, "no content has such a name"


def move_aside(path: Path, spool: Path) -> Path:
    """Move something foreign into the `corrupt` folder of its writer, or of the spools. Returns where it is. Raises StoreError."""
    writer = spool / path.relative_to(spool).parts[0]
    home = writer if writer != path and writer.is_dir() and not writer.is_symlink() else spool.parent
    corrupt = make_private(home / "corrupt")
    target = corrupt / path.name
    number = 0
    while os.path.lexists(target):
        number += 1
        target = corrupt / f"{path.name}.{number}"
    with telling(path):
        path.rename(target)
        sync_directory(corrupt)
        sync_directory(path.parent)
    return target
