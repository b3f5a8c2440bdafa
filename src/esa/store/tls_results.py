"""What came of TLS with the mail exchangers of each domain, counted by day, for the reports that domains ask for (TLSRPT, RFC 8460).

One SQLite file in the state folder, written by the deliver process alone; `esa tlsrpt` reads it. It may be lost: a report is not made then.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal, NamedTuple

from esa.store.database import open_database, open_read_only, telling_database, transaction

FILE_NAME = "tls_results.db"
KEPT_DAYS = 14  # that results are kept
VERSION = 1
SCHEMA = (
    """CREATE TABLE result (day TEXT NOT NULL, domain TEXT NOT NULL, policy_type TEXT NOT NULL, policy TEXT NOT NULL, servers TEXT NOT NULL,
        result TEXT NOT NULL, host TEXT NOT NULL, local TEXT NOT NULL, address TEXT NOT NULL, reason TEXT NOT NULL,
        sessions INTEGER NOT NULL,
        PRIMARY KEY (day, domain, policy_type, policy, servers, result, host, local, address, reason)) WITHOUT ROWID""",
    """CREATE TABLE report (day TEXT NOT NULL, domain TEXT NOT NULL, at REAL NOT NULL, told TEXT NOT NULL, PRIMARY KEY (day, domain))
        WITHOUT ROWID""",
)
PolicyType = Literal["tlsa", "sts", "no-policy-found"]
_COLUMNS = "day, domain, policy_type, policy, servers, result, host, local, address, reason"


class TlsResult(NamedTuple):
    """What sessions came to. `day` is that of UTC, as 2026-11-25."""

    day: str
    domain: str
    policy_type: PolicyType
    policy: tuple[str, ...]  # TLSA records, or lines of the policy
    servers: tuple[str, ...]  # that the policy names
    result: str  # a result type of RFC 8460 section 4.3; empty: success
    host: str = ""  # mail exchanger; this and what follows is told of failures only
    local: str = ""  # address of this machine
    address: str = ""  # that was connected to
    reason: str = ""


class Reported(NamedTuple):
    """A report that was made, or that nobody asked for: `told` says whom it went to."""

    day: str
    domain: str
    at: float
    told: str


class TlsResults:
    """Owned by one process, used by one thread at a time."""

    def __init__(self, state: Path) -> None:
        """Raises StoreError."""
        self._path = state / FILE_NAME
        self._connection = open_database(self._path, SCHEMA, version=VERSION)

    def add(self, counts: Mapping[TlsResult, int], *, since: str) -> None:
        """Count these sessions too, and forget days before `since`. Raises StoreError."""
        with transaction(self._connection, self._path):
            self._connection.executemany(
                "INSERT INTO result VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO UPDATE SET sessions = sessions + excluded.sessions",
                [(*one[:3], json.dumps(one.policy), json.dumps(one.servers), *one[5:], count) for one, count in counts.items()],
            )
            for table in ("result", "report"):
                self._connection.execute(f"DELETE FROM {table} WHERE day < ?", (since,))  # noqa: S608

    def due(self, before: str) -> list[tuple[str, str]]:
        """(day, domain) of days before this one that no report was made of."""
        with telling_database(self._path):
            return self._connection.execute(
                "SELECT DISTINCT day, domain FROM result WHERE day < ? AND (day, domain) NOT IN (SELECT day, domain FROM report)", (before,)
            ).fetchall()

    def of(self, day: str, domain: str) -> dict[TlsResult, int]:
        with telling_database(self._path):
            rows = self._connection.execute(f"SELECT {_COLUMNS}, sessions FROM result WHERE day = ? AND domain = ?", (day, domain))  # noqa: S608
            return dict(map(_result, rows))

    def reported(self, report: Reported) -> None:
        """Keep that it is done. Raises StoreError."""
        with transaction(self._connection, self._path):
            self._connection.execute("INSERT OR REPLACE INTO report VALUES (?, ?, ?, ?)", report)

    def close(self) -> None:
        self._connection.close()


def read(state: Path, *, day: str = "", domain: str = "") -> tuple[dict[TlsResult, int], list[Reported]]:
    """Results and reports of all days and domains, or of these. Raises StoreError."""
    path = state / FILE_NAME
    connection = open_read_only(path, version=VERSION)
    if connection is None:
        return {}, []
    try:
        with telling_database(path):
            chosen, values = "(? = '' OR day = ?) AND (? = '' OR domain = ?) ORDER BY day, domain", (day, day, domain, domain)
            rows = connection.execute(f"SELECT {_COLUMNS}, sessions FROM result WHERE {chosen}", values)  # noqa: S608
            results = dict(map(_result, rows))
            reports = [Reported(*row) for row in connection.execute(f"SELECT * FROM report WHERE {chosen}", values)]  # noqa: S608
            return results, reports
    finally:
        connection.close()


def _result(row: Sequence[object]) -> tuple[TlsResult, int]:
    day, domain, kind, policy, servers, *rest, sessions = row
    texts = [str(one) for one in rest]
    found = TlsResult(str(day), str(domain), kind, tuple(json.loads(str(policy))), tuple(json.loads(str(servers))), *texts)  # type: ignore[arg-type]
    return found, int(sessions)  # type: ignore[call-overload]
