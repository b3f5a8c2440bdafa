"""Policies that domains publish for mail to them (MTA-STS, RFC 8461), as they were fetched last, so that they hold when they cannot be fetched.

One SQLite file in the state folder, written by the deliver process alone. What is lost is fetched again.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from esa.store.database import open_database, open_read_only, telling_database, transaction

FILE_NAME = "tls_policies.db"
MOST = 50_000  # domains that are kept; those fetched longest ago go first
VERSION = 1
SCHEMA = (
    """CREATE TABLE policy (domain TEXT PRIMARY KEY, identifier TEXT NOT NULL, mode TEXT NOT NULL, servers TEXT NOT NULL,
        max_age INTEGER NOT NULL, fetched_at REAL NOT NULL) WITHOUT ROWID""",
)


class KeptPolicy(NamedTuple):
    """The policy of a domain. `fetched_at` in Unix seconds, `max_age` in seconds from then."""

    domain: str
    identifier: str
    mode: str
    servers: tuple[str, ...]
    max_age: int
    fetched_at: float

    @property
    def expires_at(self) -> float:
        return self.fetched_at + self.max_age


class TlsPolicies:
    """Owned by one process, used by one thread at a time."""

    def __init__(self, state: Path) -> None:
        """Raises StoreError."""
        self._path = state / FILE_NAME
        self._connection = open_database(self._path, SCHEMA, version=VERSION)

    def all(self) -> list[KeptPolicy]:
        with telling_database(self._path):
            return [_policy(row) for row in self._connection.execute("SELECT * FROM policy ORDER BY fetched_at")]

    def keep(self, policy: KeptPolicy) -> None:
        """In the place of what was kept of the domain. Raises StoreError."""
        values = policy._replace(servers=json.dumps(policy.servers))  # type: ignore[arg-type]
        with transaction(self._connection, self._path):
            self._connection.execute("INSERT OR REPLACE INTO policy VALUES (?, ?, ?, ?, ?, ?)", values)
            self._connection.execute(
                "DELETE FROM policy WHERE domain IN (SELECT domain FROM policy ORDER BY fetched_at DESC LIMIT -1 OFFSET ?)", (MOST,)
            )

    def close(self) -> None:
        self._connection.close()


def read(state: Path) -> list[KeptPolicy]:
    """All that are kept, by domain; for whoever shows them. Raises StoreError."""
    path = state / FILE_NAME
    connection = open_read_only(path, version=VERSION)
    if connection is None:
        return []
    try:
        with telling_database(path):
            return [_policy(row) for row in connection.execute("SELECT * FROM policy ORDER BY domain")]
    finally:
        connection.close()


def _policy(row: Sequence[object]) -> KeptPolicy:
    domain, identifier, mode, servers, max_age, fetched_at = row
    return KeptPolicy(str(domain), str(identifier), str(mode), tuple(json.loads(str(servers))), int(max_age), float(fetched_at))  # type: ignore[call-overload, arg-type]
