"""The columns of queue.db that say what entries owe (debts.py): reading and changing them, within a transaction of the queue."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence

from esa.store.entry import COLUMNS, Debt, Entry, encode_debts, entry_of


def entry_at(connection: sqlite3.Connection, key: str) -> Entry | None:
    """The entry as it stands in the table."""
    row = connection.execute(f"SELECT {COLUMNS} FROM entry WHERE key = ?", (key,)).fetchone()  # noqa: S608
    return None if row is None else entry_of(row)


def owe(connection: sqlite3.Connection, key: str, debts: Sequence[Debt], report_at: float, warnings: int) -> None:
    """What an entry owes from now on, and when somebody has to look at it."""
    connection.execute(
        "UPDATE entry SET debts = ?, report_at = ?, warnings = ? WHERE key = ?", (encode_debts(debts), report_at, warnings, key)
    )


def owing(connection: sqlite3.Connection, now: float, limit: int) -> list[Entry]:
    """Entries of which somebody has to be told by now, with all of the same messages that owe something; not what is in flight."""
    due = "SELECT message FROM entry WHERE report_at > 0 AND report_at <= ? AND state != 'in_flight' ORDER BY report_at LIMIT ?"
    found: dict[str, Entry] = {}
    for message in dict.fromkeys(row[0] for row in connection.execute(due, (now, limit)).fetchall()):
        rows = connection.execute(
            f"SELECT {COLUMNS} FROM entry WHERE key >= ? AND key < ? AND report_at > 0 AND state != 'in_flight'",  # noqa: S608
            (message, f"{message}~"),  # keys begin with their message; no letter of them is behind ~
        ).fetchall()
        found |= {entry.key: entry for entry in map(entry_of, rows)}
    return list(found.values())


def put_off(connection: sqlite3.Connection, keys: Sequence[str], until: float) -> None:
    """Look at what these entries owe not before `until`."""
    connection.executemany("UPDATE entry SET report_at = ? WHERE key = ? AND report_at > 0", [(until, key) for key in keys])
