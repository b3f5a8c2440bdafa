"""The tables of queue.db: their schema, how older ones become it, and what the writer (queue.py) and readers (queue_view.py) both ask.

Each version of the schema that was ever in use is brought to the next one by CHANGES.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping

from esa.store.entry import WRITTEN
from esa.store.segments import Cursor

VERSION = 4
_DUE = "CREATE INDEX entry_due ON entry (state, destination, next_attempt)"
_REPORT = "CREATE INDEX entry_report ON entry (report_at) WHERE report_at > 0"
CHANGES = {
    1: ("ALTER TABLE entry ADD COLUMN mailhost TEXT NOT NULL DEFAULT ''",),
    2: (
        "ALTER TABLE entry ADD COLUMN destination TEXT NOT NULL DEFAULT ''",
        "ALTER TABLE entry ADD COLUMN interface TEXT NOT NULL DEFAULT ''",
        "ALTER TABLE entry ADD COLUMN signs INTEGER NOT NULL DEFAULT 0",
        "DROP INDEX entry_due",
        _DUE,
    ),
    3: (
        "ALTER TABLE entry ADD COLUMN bounce_profile TEXT NOT NULL DEFAULT ''",
        "ALTER TABLE entry ADD COLUMN listener TEXT NOT NULL DEFAULT ''",
        "ALTER TABLE entry ADD COLUMN is_outgoing INTEGER NOT NULL DEFAULT 0",
        "ALTER TABLE entry ADD COLUMN is_silent INTEGER NOT NULL DEFAULT 0",
        "ALTER TABLE entry ADD COLUMN debts TEXT NOT NULL DEFAULT ''",
        "ALTER TABLE entry ADD COLUMN report_at REAL NOT NULL DEFAULT 0",
        "ALTER TABLE entry ADD COLUMN warnings INTEGER NOT NULL DEFAULT 0",
        _REPORT,
    ),
}
SCHEMA = (
    """CREATE TABLE entry (
        key TEXT PRIMARY KEY, message TEXT NOT NULL, splinter INTEGER NOT NULL, state TEXT NOT NULL, attempts INTEGER NOT NULL,
        next_attempt REAL NOT NULL, accepted_at REAL NOT NULL, reverse_path TEXT NOT NULL, size INTEGER NOT NULL, reason TEXT NOT NULL,
        envelope TEXT NOT NULL, recipients TEXT NOT NULL,
        writer TEXT NOT NULL, segment TEXT NOT NULL, offset INTEGER NOT NULL, length INTEGER NOT NULL,
        mailhost TEXT NOT NULL DEFAULT '', destination TEXT NOT NULL DEFAULT '', interface TEXT NOT NULL DEFAULT '',
        signs INTEGER NOT NULL DEFAULT 0, bounce_profile TEXT NOT NULL DEFAULT '', listener TEXT NOT NULL DEFAULT '',
        is_outgoing INTEGER NOT NULL DEFAULT 0, is_silent INTEGER NOT NULL DEFAULT 0, debts TEXT NOT NULL DEFAULT '',
        report_at REAL NOT NULL DEFAULT 0, warnings INTEGER NOT NULL DEFAULT 0) WITHOUT ROWID""",
    _DUE,
    _REPORT,
    "CREATE INDEX entry_segment ON entry (writer, segment)",
    """CREATE TABLE cursor (writer TEXT, segment TEXT, offset INTEGER NOT NULL, sequence INTEGER NOT NULL, finished INTEGER NOT NULL,
        PRIMARY KEY (writer, segment)) WITHOUT ROWID""",
    """CREATE TABLE outbox (
        sequence INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL, message TEXT NOT NULL, name TEXT NOT NULL, at REAL NOT NULL,
        fields TEXT NOT NULL)""",
    "CREATE TABLE meta (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID",
)
PLACES = f"entry ({WRITTEN}) VALUES ({','.join('?' * (WRITTEN.count(',') + 1))})"  # of `row_of`


def read_instance(connection: sqlite3.Connection) -> str:
    """Return the identifier of this queue file."""
    row = connection.execute("SELECT value FROM meta WHERE name = 'instance'").fetchone()
    return str(row[0]) if row else ""


def read_cursors(connection: sqlite3.Connection) -> dict[tuple[str, str], Cursor]:
    """Return the table `cursor` of a database that has one."""
    rows = connection.execute("SELECT writer, segment, offset, sequence, finished FROM cursor").fetchall()
    return {(writer, segment): Cursor(offset, sequence, bool(finished)) for writer, segment, offset, sequence, finished in rows}


def write_cursors(connection: sqlite3.Connection, cursors: Mapping[tuple[str, str], Cursor]) -> None:
    """Store cursors, within the caller's transaction."""
    connection.executemany(
        "INSERT OR REPLACE INTO cursor VALUES (?,?,?,?,?)",
        [(*key, cursor.offset, cursor.sequence, int(cursor.finished)) for key, cursor in cursors.items()],
    )
