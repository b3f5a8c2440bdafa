"""What earlier looks at the TLS of other servers found, so that the next one can say what has changed. `esa tlsverify` writes and reads it.

One SQLite file in the state folder. Whoever writes holds its lock, so that there is one writer at a time; what is lost makes one change untold. Per
server the last looks are kept.
"""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Sequence
from dataclasses import astuple, dataclass, fields
from pathlib import Path

from esa.store.database import open_database, open_read_only, telling_database, transaction
from esa.store.folder import take_lock

FILE_NAME = "tls_history.db"
LOCK_NAME = "tls_history.lock"
LOOKS = 100  # of one server that are kept
VERSION = 1
SCHEMA = (
    """CREATE TABLE look (domain TEXT NOT NULL, host TEXT NOT NULL, port INTEGER NOT NULL, at REAL NOT NULL, step TEXT NOT NULL,
        problem TEXT NOT NULL, version TEXT NOT NULL, cipher TEXT NOT NULL, fingerprint TEXT NOT NULL, public_key TEXT NOT NULL,
        not_after REAL NOT NULL, dane TEXT NOT NULL, mta_sts TEXT NOT NULL, PRIMARY KEY (domain, host, port, at)) WITHOUT ROWID""",
)


@dataclass(frozen=True, slots=True)
class Seen:
    """One look at one server of a domain. Times are Unix seconds; texts are empty where nothing came of them."""

    domain: str
    host: str
    port: int
    at: float
    step: str  # at which it failed
    problem: str  # why it was not verified
    version: str
    cipher: str
    fingerprint: str  # SHA-256 of the certificate
    public_key: str  # SHA-256 of its key
    not_after: float
    dane: str
    mta_sts: str


_COLUMNS = ", ".join(field.name for field in fields(Seen))
_PLACES = ", ".join("?" * len(fields(Seen)))


def add(state: Path, looks: Sequence[Seen]) -> list[Seen | None]:
    """Keep these looks; returns for each the one before it, None for the first. Raises StoreError."""
    path = state / FILE_NAME
    lock = take_lock(state / LOCK_NAME, what="the history of TLS")
    try:
        connection = open_database(path, SCHEMA, version=VERSION)
        try:
            with transaction(connection, path):
                before = [_last(connection, look) for look in looks]
                for look in looks:
                    connection.execute(f"INSERT OR REPLACE INTO look ({_COLUMNS}) VALUES ({_PLACES})", astuple(look))  # noqa: S608
                    connection.execute(
                        "DELETE FROM look WHERE domain=? AND host=? AND port=? AND at NOT IN (SELECT at FROM look WHERE domain=? AND host=? "
                        "AND port=? ORDER BY at DESC LIMIT ?)",
                        (look.domain, look.host, look.port, look.domain, look.host, look.port, LOOKS),
                    )
        finally:
            connection.close()
    finally:
        os.close(lock)
    return before


def read(state: Path, domain: str) -> list[Seen]:
    """All looks at the servers of a domain, the oldest first. Raises StoreError."""
    path = state / FILE_NAME
    connection = open_read_only(path, version=VERSION)
    if connection is None:
        return []
    try:
        with telling_database(path):
            rows = connection.execute(f"SELECT {_COLUMNS} FROM look WHERE domain=? ORDER BY at, host", (domain,))  # noqa: S608
            return [Seen(*row) for row in rows]
    finally:
        connection.close()


def _last(connection: sqlite3.Connection, look: Seen) -> Seen | None:
    row = connection.execute(
        f"SELECT {_COLUMNS} FROM look WHERE domain=? AND host=? AND port=? ORDER BY at DESC LIMIT 1",  # noqa: S608
        (look.domain, look.host, look.port),
    ).fetchone()
    return Seen(*row) if row is not None else None


def changes(before: Seen, now: Seen) -> list[str]:
    """What is different, in sentences without a point, the gravest first; none if nothing is."""
    found = []
    if now.step == "offer" and before.step != "offer":
        found.append("it stopped offering STARTTLS")
    elif before.step == "offer" and now.version:
        found.append("it offers STARTTLS now")
    if now.problem and not before.problem:
        found.append(f"it was verified, and is not any more: {now.problem}")
    elif before.problem and not now.problem:
        found.append("it is verified now")
    elif now.problem != before.problem:
        found.append(f"it is not verified for another reason: {now.problem}")
    for what, old, new in (("protocol", before.version, now.version), ("cipher", before.cipher, now.cipher)):
        if old and new and old != new:
            found.append(f"the {what} was {old}, and is {new}")
    if before.public_key and now.public_key and before.public_key != now.public_key:
        found.append("certificate and key are new")
    elif before.fingerprint and now.fingerprint and before.fingerprint != now.fingerprint:
        found.append(f"the certificate is new, for the same key, and ends {time.strftime('%Y-%m-%d', time.gmtime(now.not_after))}")
    for what, old, new in (("DANE", before.dane, now.dane), ("MTA-STS", before.mta_sts, now.mta_sts)):
        if old != new:
            found.append(f"{what} was {old}, and is {new}")
    return found
