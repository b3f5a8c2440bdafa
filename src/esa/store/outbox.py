"""How far `keep` has stored what `deliver` wrote to its outbox; `deliver` looks here to drop those rows.

Without SQLAlchemy: `deliver` needs none.
"""

from __future__ import annotations

import sqlite3
from pathlib import Path

from esa.store.database import open_read_only, telling_database

FILE_NAME = "tracking.db"
VERSION = 2
CHANGES = {1: ("CREATE TABLE past (status TEXT NOT NULL PRIMARY KEY, recipients INTEGER NOT NULL)",)}


def open_tracking(state: Path) -> sqlite3.Connection | None:
    """Tracking, also one that `keep` has still to bring to this version: its events are the same. None if there is none. Raises StoreError."""
    for version in (VERSION, *CHANGES):
        others = {other: () for other in (VERSION, *CHANGES) if other != version}
        if (connection := open_read_only(state / FILE_NAME, version=version, changes=others)) is not None:
            return connection
    return None


def stored_outbox(state: Path, instance: str) -> int | None:
    """Return the last outbox number of this queue file that is in tracking, durably; None if `keep` has stored nothing yet.

    Raises StoreError.
    """
    path = state / FILE_NAME
    connection = open_tracking(state)
    if connection is None:
        return None
    try:
        with telling_database(path):
            row = connection.execute("SELECT sequence FROM outbox WHERE instance = ?", (instance,)).fetchone()
    finally:
        connection.close()
    return int(row[0]) if row else None
