"""How far `keep` has stored what `deliver` wrote to its outbox; `deliver` looks here to drop those rows.

Without SQLAlchemy: `deliver` needs none.
"""

from __future__ import annotations

from pathlib import Path

from esa.store.database import open_read_only, telling_database

FILE_NAME = "tracking.db"
VERSION = 1


def stored_outbox(state: Path, instance: str) -> int | None:
    """Return the last outbox number of this queue file that is in tracking, durably; None if `keep` has stored nothing yet.

    Raises StoreError.
    """
    path = state / FILE_NAME
    connection = open_read_only(path, version=VERSION)
    if connection is None:
        return None
    try:
        with telling_database(path):
            row = connection.execute("SELECT sequence FROM outbox WHERE instance = ?", (instance,)).fetchone()
    finally:
        connection.close()
    return int(row[0]) if row else None
