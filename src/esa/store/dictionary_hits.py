"""How often entries of dictionaries were found, and when last: written by `keep` alone, read by `esa dictionary`.

Exactly once: how far each segment of the spools was counted is stored in the same transaction. A commit is not flushed by itself
(synchronous=NORMAL): a power cut may take the last seconds of counts and never more. Rows are as many as entries that were ever found.
"""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import NamedTuple

from esa.engine.verdict import Report
from esa.errors import StoreError
from esa.store.database import open_database, open_read_only, printable, telling_database, transaction
from esa.store.record import Record
from esa.store.segments import Batch

FILE_NAME = "dictionary-hits.db"
TERMS = "dictionary_terms"  # field of an event: {dictionary: {entry: times}}
TERMS_TOLD = 100  # entries that the event of one message tells: more is a message made of them, and a record has bounds
VERSION = 1
_SCHEMA = (
    "CREATE TABLE hit (dictionary TEXT NOT NULL, entry TEXT NOT NULL, hits INTEGER NOT NULL, messages INTEGER NOT NULL, last_at REAL NOT NULL, "
    "PRIMARY KEY (dictionary, entry)) WITHOUT ROWID",
    "CREATE TABLE counted (writer TEXT NOT NULL, segment TEXT NOT NULL, offset INTEGER NOT NULL, PRIMARY KEY (writer, segment)) WITHOUT ROWID",
)
_ADD = (
    "INSERT INTO hit VALUES (?, ?, ?, ?, ?) ON CONFLICT DO UPDATE SET hits = hits + excluded.hits, messages = messages + excluded.messages, "
    "last_at = max(last_at, excluded.last_at)"
)


class Hits(NamedTuple):
    """Occurrences, messages that had some, and the last time (Unix seconds)."""

    hits: int
    messages: int
    last_at: float


class DictionaryHits:
    """The open file of the one process that writes it. Not for two threads at once."""

    def __init__(self, state: Path) -> None:
        """Open or make it; one that is damaged is put aside. Raises StoreError."""
        self.path = state / FILE_NAME
        self.lost = ""  # the name that a damaged file was given, until somebody has told of it
        try:
            self._open()
        except StoreError as fault:
            if not fault.is_damaged:
                raise
            self._begin_anew()

    def _open(self) -> None:
        self._database = open_database(self.path, _SCHEMA, version=VERSION)
        try:
            with telling_database(self.path):
                self._database.execute("PRAGMA synchronous=NORMAL")
                rows = self._database.execute("SELECT writer, segment, offset FROM counted").fetchall()
        except StoreError:
            self._database.close()
            raise
        self._position: dict[tuple[str, str], int] = {(writer, segment): offset for writer, segment, offset in rows}

    def _begin_anew(self) -> None:
        """Counts are lost then, and nothing else."""
        number = sum(1 for _ in self.path.parent.glob(f"{FILE_NAME}.damaged-*")) + 1
        self.lost = f"{FILE_NAME}.damaged-{number}"
        for end in ("", "-wal", "-shm"):
            with contextlib.suppress(FileNotFoundError):
                self.path.with_name(FILE_NAME + end).rename(self.path.with_name(self.lost + end))
        self._open()

    def close(self) -> None:
        self._database.close()

    def add(self, batch: Batch) -> None:
        """Count what records tell that were not counted before. Raises StoreError; then nothing of the batch is counted."""
        position: dict[tuple[str, str], int] = {}
        counts: dict[tuple[str, str], Hits] = {}
        for stored in batch.stored:
            place = stored.location
            segment = (place.writer, place.segment)
            if place.offset < self._position.get(segment, 0):
                continue
            position[segment] = place.offset + place.length
            for key, hits in _told(stored.record).items():
                before = counts.get(key, Hits(0, 0, 0.0))
                counts[key] = Hits(before.hits + hits.hits, before.messages + 1, max(before.last_at, hits.last_at))
        if not counts:
            return  # positions are kept in memory until there is something to count: what was without hits may be read again
        try:
            self._save(counts, position)
        except StoreError as fault:
            if not fault.is_damaged:
                raise
            self._database.close()
            self._begin_anew()
            self._save(counts, position)
        self._position.update(position)

    def _save(self, counts: Mapping[tuple[str, str], Hits], position: Mapping[tuple[str, str], int]) -> None:
        with transaction(self._database, self.path):
            self._database.executemany(_ADD, ((printable(name), printable(entry), *hits) for (name, entry), hits in counts.items()))
            self._database.executemany("INSERT OR REPLACE INTO counted VALUES (?, ?, ?)", ((*key, at) for key, at in position.items()))

    def forget_segments(self, segments: Collection[tuple[str, str]]) -> None:
        """Segments that are gone need no position. Raises StoreError."""
        old = [one for one in segments if one in self._position]
        for one in old:
            del self._position[one]
        if old:
            with transaction(self._database, self.path):
                self._database.executemany("DELETE FROM counted WHERE writer = ? AND segment = ?", old)


def terms_told(report: Report, looked_up: Mapping[str, Mapping[str, int]] | None = None) -> dict[str, dict[str, int]]:
    """Entries of dictionaries that stand in a message, and how often, for the field TERMS: at most TERMS_TOLD.

    `looked_up`: those that were found beside it, in addresses; they come first.
    """
    told: dict[str, dict[str, int]] = {}
    left = TERMS_TOLD
    for name, entries in (looked_up or {}).items():
        told[name] = dict(itertools.islice(entries.items(), left))
        left -= len(told[name])
    for name, facts in report.checks.get("dictionaries", {}).items():
        terms = facts.get("terms") if isinstance(facts, Mapping) else None
        if isinstance(terms, Mapping) and left > 0:
            of_name = told.setdefault(name, {})
            for term, times in itertools.islice(terms.items(), left):
                of_name[term] = of_name.get(term, 0) + times
                left -= 1
    return told


def _told(record: Record) -> dict[tuple[str, str], Hits]:
    """What the events of one record tell, by dictionary and entry."""
    found: dict[tuple[str, str], Hits] = {}
    for event in record.events:
        dictionaries = event.fields.get(TERMS)
        for name, terms in dictionaries.items() if isinstance(dictionaries, Mapping) else ():
            for entry, times in terms.items() if isinstance(terms, Mapping) else ():
                if isinstance(times, int) and times > 0:
                    before = found.get((name, entry), Hits(0, 1, event.at))
                    found[name, entry] = Hits(before.hits + times, 1, max(before.last_at, event.at))
    return found


def hits_of(state: Path, name: str) -> dict[str, Hits]:
    """Hits by entry of one dictionary; empty if nothing was counted yet. Raises StoreError."""
    path = state / FILE_NAME
    database = open_read_only(path, version=VERSION)
    if database is None:
        return {}
    try:
        with telling_database(path):
            rows = database.execute("SELECT entry, hits, messages, last_at FROM hit WHERE dictionary = ?", (printable(name),)).fetchall()
    finally:
        database.close()
    return {entry: Hits(hits, messages, last_at) for entry, hits, messages, last_at in rows}
