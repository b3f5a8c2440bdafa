"""Who has come back: triplets that wait, triplets and clients that have shown that they try again, authors that did; shared by all workers.

One SQLite file that every receive worker writes, and `esa report greylist` reads. It is the one file with several writers: SQLite keeps them
apart, a commit takes microseconds (synchronous=NORMAL: a power failure may cost the last ones), and what is lost makes a stranger wait
once more. Rules:

- Nothing here may keep mail out. A file that is locked, full, damaged or gone lets everybody pass, and is told.
- Rows are bounded: the file has a largest size, and with every so many writes what is past its time goes.
- No address stands in it: keys are hashes with a secret of the file.
"""

from __future__ import annotations

import contextlib
import hashlib
import math
import sqlite3
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from esa.errors import StoreError
from esa.store.database import database_error, open_database, open_read_only, telling_database

FILE_NAME = "greylist.db"
VERSION = 1
SCHEMA = (
    """CREATE TABLE entry (kind INTEGER NOT NULL, key BLOB NOT NULL, first_at REAL NOT NULL, expires_at REAL NOT NULL, count INTEGER NOT NULL,
        PRIMARY KEY (kind, key)) WITHOUT ROWID""",
    "CREATE INDEX entry_expires ON entry (expires_at)",
    "CREATE TABLE tally (day INTEGER NOT NULL, what TEXT NOT NULL, count INTEGER NOT NULL, PRIMARY KEY (day, what)) WITHOUT ROWID",
    "CREATE TABLE meta (name TEXT PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID",
    "INSERT INTO meta VALUES ('secret', randomblob(32))",
)
TRIPLET, CLIENT, AUTHOR = range(3)
PATIENCE = 0.02  # seconds to wait for another worker's write: the event loop stands still meanwhile
START_PATIENCE = 2.0  # and at the start, when all workers make the file at one time
PAUSE = 5.0  # seconds without a look at a file that failed
SWEEP_EVERY, SWEEP_ROWS = 64, 256  # writes between sweeps, and rows that a sweep takes: more than can have been made since
ROW_OCTETS = 84  # of the file for a row, with its place in the index, as measured
DAY = 86_400.0
CLOCK_SLACK = 60.0  # a row from so far in the future is of a clock that has been set back, and counts as none
FLUSH_DECISIONS = 256  # that are counted in memory before a write of their own


@dataclass(frozen=True, slots=True)
class GreylistSettings:
    """Times in seconds."""

    delay: float = 300.0  # before it is taken
    retry_window: float = 2 * DAY  # in which it has to come back
    lifetime: float = 35 * DAY  # of what has come back, since it was last seen
    auto_allow: int = 5  # triplets of a client that came back, after which all of it passes; 0: never
    max_entries: int = 500_000


class Decision(NamedTuple):
    """`why`: waited, known, client, author, login_code or unavailable; new or early where it has to wait for so many seconds."""

    passes: bool
    why: str
    wait: int = 0


@dataclass(frozen=True, slots=True)
class GreylistFigures:
    """What there is now, and what was decided: by day (Unix seconds of its begin), what and how often."""

    waiting: int
    known: int
    clients: int  # that have come back at all
    authors: int
    days: tuple[tuple[float, dict[str, int]], ...]


class Greylist:
    """The open file of one worker. For one thread."""

    def __init__(
        self,
        state: Path,
        settings: GreylistSettings,
        *,
        clock: Callable[[], float] = time.time,
        failed: Callable[[StoreError], None] | None = None,
    ) -> None:
        """Never raises: a file that cannot be opened lets everybody pass. `clock` gives Unix seconds; `failed` is told of each fault."""
        self.path = state / FILE_NAME
        self.settings = settings
        self._clock, self._failed = clock, failed
        self._connection: sqlite3.Connection | None = None
        self._secret = b""
        self._resume = 0.0  # time.monotonic()
        self._writes = 0
        self._tallies: dict[str, int] = {}
        self._counted = 0
        self._open(START_PATIENCE)

    def close(self) -> None:
        if self._connection is not None:
            with contextlib.suppress(sqlite3.Error):  # then some decisions are not counted
                self._flush()
            self._connection.close()
            self._connection = None

    # --- decisions

    def check(
        self,
        network: str,
        reverse_path: str,
        recipients: Sequence[str],
        *,
        author: Callable[[], str] | None = None,
        exempt: Callable[[], str] | None = None,
    ) -> Decision:
        """Decide for a message, or for one recipient of it. Never raises, waits PATIENCE at most.

        It passes if one of its triplets does: that client has shown that it tries again. `exempt` is asked where it would have to wait, and
        may give a reason why it need not. `author` is asked where it has come back: a domain that is known from now on, or none.
        """
        try:
            decision = self._check(network, reverse_path, recipients, author, exempt)
            self._count(decision.why)
            return decision
        except sqlite3.Error as error:
            self._fail(database_error(error, self.path))
            return Decision(True, "unavailable")

    def knows_client(self, network: str) -> bool:
        return self.settings.auto_allow > 0 and self._number_of(CLIENT, network) >= self.settings.auto_allow

    def knows_author(self, domain: str) -> bool:
        """Whether mail of this author's domain has come back before."""
        return bool(domain) and self._number_of(AUTHOR, domain) > 0

    def _check(
        self, network: str, reverse_path: str, recipients: Sequence[str], author: Callable[[], str] | None, exempt: Callable[[], str] | None
    ) -> Decision:
        if not self._is_open():
            return Decision(True, "unavailable")
        if self.knows_client(network):
            self._touch(CLIENT, network)
            return Decision(True, "client")
        names = [f"{network} {reverse_path} {recipient}" for recipient in recipients]
        now = self._clock()
        verdicts = [self._judge(name, now) for name in names]
        for name, (why, _) in zip(names, verdicts, strict=True):
            if why == "known":
                self._touch(TRIPLET, name)
                return Decision(True, why)
        waited = [name for name, (why, _) in zip(names, verdicts, strict=True) if why == "waited"]
        if waited:
            domain = author() if author is not None else ""
            with self._writing():
                for name in waited:
                    self._put(TRIPLET, name, now, now + self.settings.lifetime, 1)
                self._put(CLIENT, network, now, now + self.settings.lifetime, 1)
                if domain:
                    self._put(AUTHOR, domain, now, now + self.settings.lifetime, 1)
            return Decision(True, "waited")
        if exempt is not None and (reason := exempt()):
            return Decision(True, reason)
        fresh = [name for name, (why, _) in zip(names, verdicts, strict=True) if why == "new"]
        if fresh:
            with self._writing():
                for name in fresh:
                    self._begin(name, now)
        why = "early" if len(fresh) < len(names) else "new"
        return Decision(False, why, max(1, math.ceil(min(wait for _, wait in verdicts))))

    def _judge(self, name: str, now: float) -> tuple[str, float]:
        """What a triplet is, and how long it has to wait still."""
        row = self._row(TRIPLET, name)
        settings = self.settings
        if row is None or row[0] > now + CLOCK_SLACK or row[1] <= now:
            return "new", settings.delay
        first_at, _, count = row
        if count:
            return "known", 0.0
        if now - first_at > settings.retry_window:
            return "new", settings.delay
        left = settings.delay - (now - first_at)
        return ("early", min(left, settings.delay)) if left > 0 else ("waited", 0.0)

    # --- rows

    def _key(self, kind: int, name: str) -> bytes:
        return hashlib.blake2b(f"{kind} {name}".encode("utf-8", "surrogateescape"), digest_size=16, key=self._secret).digest()

    def _row(self, kind: int, name: str) -> tuple[float, float, int] | None:
        """first_at, expires_at, count."""
        assert self._connection is not None
        found = self._connection.execute(
            "SELECT first_at, expires_at, count FROM entry WHERE kind = ? AND key = ?", (kind, self._key(kind, name))
        )
        row: tuple[float, float, int] | None = found.fetchone()
        return row

    def _number_of(self, kind: int, name: str) -> int:
        if not self._is_open():
            return 0
        row = self._row(kind, name)
        return row[2] if row is not None and row[1] > self._clock() else 0

    def _begin(self, name: str, now: float) -> None:
        """A triplet waits from now on, unless another worker has begun with it in between."""
        assert self._connection is not None
        self._connection.execute(
            "INSERT INTO entry VALUES (?, ?, ?, ?, 0) ON CONFLICT DO UPDATE SET first_at = excluded.first_at,"
            " expires_at = excluded.expires_at, count = 0 WHERE expires_at <= excluded.first_at OR first_at > excluded.first_at + ?"
            " OR (count = 0 AND first_at < excluded.first_at - ?)",
            (TRIPLET, self._key(TRIPLET, name), now, now + self.settings.retry_window, CLOCK_SLACK, self.settings.retry_window),
        )

    def _put(self, kind: int, name: str, now: float, expires_at: float, count: int) -> None:
        assert self._connection is not None
        self._connection.execute(
            "INSERT INTO entry VALUES (?, ?, ?, ?, ?) ON CONFLICT DO UPDATE SET expires_at = excluded.expires_at,"
            " count = CASE WHEN expires_at > ? THEN count ELSE 0 END + excluded.count",
            (kind, self._key(kind, name), now, expires_at, count, now),
        )

    def _touch(self, kind: int, name: str) -> None:
        """It is seen: its life begins anew; written once a day."""
        now, row = self._clock(), self._row(kind, name)
        if row is not None and row[1] < now + self.settings.lifetime - DAY:
            with self._writing():
                self._put(kind, name, now, now + self.settings.lifetime, 0)

    @contextmanager
    def _writing(self) -> Iterator[None]:
        connection = self._connection
        assert connection is not None
        connection.execute("BEGIN IMMEDIATE")
        try:
            yield
            self._writes += 1
            if self._writes % SWEEP_EVERY == 1:
                self._sweep(connection)
            self._store_tallies(connection)
            connection.execute("COMMIT")
        except BaseException:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            raise
        self._tallies, self._counted = {}, 0

    def _sweep(self, connection: sqlite3.Connection) -> None:
        """Take rows that are past their time; of triplets that nobody came back for, take note."""
        now = self._clock()
        gone = connection.execute(
            "SELECT kind, key, count FROM entry WHERE expires_at <= ? ORDER BY expires_at LIMIT ?", (now, SWEEP_ROWS)
        ).fetchall()
        connection.executemany("DELETE FROM entry WHERE kind = ? AND key = ?", [(kind, key) for kind, key, _ in gone])
        lost = sum(kind == TRIPLET and not count for kind, _, count in gone)
        if lost:
            self._tallies["never_came_back"] = self._tallies.get("never_came_back", 0) + lost
        connection.execute("DELETE FROM tally WHERE day < ?", (int((now - self.settings.lifetime) // DAY),))

    # --- counts of decisions

    def _count(self, why: str) -> None:
        self._tallies[why] = self._tallies.get(why, 0) + 1
        self._counted += 1
        if self._counted >= FLUSH_DECISIONS and self._connection is not None:
            self._flush()

    def _flush(self) -> None:
        if self._tallies:
            with self._writing():
                pass

    def _store_tallies(self, connection: sqlite3.Connection) -> None:
        day = int(self._clock() // DAY)
        connection.executemany(
            "INSERT INTO tally VALUES (?, ?, ?) ON CONFLICT DO UPDATE SET count = count + excluded.count",
            [(day, what, count) for what, count in self._tallies.items()],
        )

    # --- the file

    def _is_open(self) -> bool:
        """Whether it can be asked; after a fault not before PAUSE is over."""
        if time.monotonic() < self._resume:
            return False
        if self._connection is None:
            self._open(PATIENCE)
        return self._connection is not None

    def _open(self, patience: float) -> None:
        try:
            connection = open_database(self.path, SCHEMA, version=VERSION, patience=patience)
            with telling_database(self.path):
                connection.execute("PRAGMA synchronous=NORMAL")
                connection.execute(f"PRAGMA busy_timeout={int(PATIENCE * 1000)}")
                (octets,) = connection.execute("PRAGMA page_size").fetchone()
                connection.execute(f"PRAGMA max_page_count={16 + self.settings.max_entries * ROW_OCTETS // octets}")
                (self._secret,) = connection.execute("SELECT value FROM meta WHERE name = 'secret'").fetchone()
        except StoreError as fault:
            self._fail(fault)
            return
        self._connection = connection

    def _fail(self, fault: StoreError) -> None:
        """A full file is still asked: it knows whom it knows. Any other is left alone for a while, and opened anew."""
        if fault.is_full:
            self._make_room()
        else:
            self._resume = time.monotonic() + PAUSE
            if not fault.is_in_use and self._connection is not None:
                self._connection.close()
                self._connection = None
        if self._failed is not None:
            self._failed(fault)

    def _make_room(self) -> None:
        """Sweeping writes too, but into pages that it empties."""
        connection = self._connection
        if connection is None:
            return
        try:
            connection.execute("BEGIN IMMEDIATE")
            self._sweep(connection)
            connection.execute("COMMIT")
        except sqlite3.Error:
            if connection.in_transaction:
                connection.execute("ROLLBACK")


def figures(state: Path, *, now: float | None = None) -> GreylistFigures | None:
    """What the file holds, beside its writers; None if there is none. Raises StoreError."""
    path = state / FILE_NAME
    connection = open_read_only(path, version=VERSION)
    if connection is None:
        return None
    at = time.time() if now is None else now
    try:
        with telling_database(path):
            rows = connection.execute("SELECT kind, count > 0, count(*) FROM entry WHERE expires_at > ? GROUP BY 1, 2", (at,)).fetchall()
            tallies = connection.execute("SELECT day, what, count FROM tally ORDER BY day").fetchall()
    finally:
        connection.close()
    found = {(kind, bool(passed)): count for kind, passed, count in rows}
    days: dict[float, dict[str, int]] = {}
    for day, what, count in tallies:
        days.setdefault(day * DAY, {})[what] = count
    return GreylistFigures(
        found.get((TRIPLET, False), 0),
        found.get((TRIPLET, True), 0),
        found.get((CLIENT, True), 0),
        found.get((AUTHOR, True), 0),
        tuple(days.items()),
    )
