"""Recipients of an SQLite database, by a query of the administrator's.

The query runs on threads of its own, on connections that cannot write, and is interrupted when its time is over. What a client said reaches
the database as a parameter only, never as text of the query.
"""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from esa.errors import ConfigurationError
from esa.gateway.directory.silence import SourceFailure
from esa.policy.recipient_access import Recipient

THREADS = 2
LOOK_EVERY = 10_000  # instructions of the database between looks at the clock
PARAMETERS = ("address", "local_part", "domain")


class SqlAsker:
    """Asks one database. A recipient is known if the query gives a row."""

    def __init__(self, database: Path, query: str, *, timeout: float) -> None:
        self._database, self._query, self._timeout = database, query, timeout
        self._threads = ThreadPoolExecutor(THREADS, "recipients")
        self._of_thread = threading.local()
        self._open: list[sqlite3.Connection] = []

    async def ask(self, recipient: Recipient) -> bool:
        values = {"address": str(recipient), "local_part": recipient.local_part, "domain": recipient.domain}
        return await asyncio.get_running_loop().run_in_executor(self._threads, self._has_row, values, time.monotonic() + self._timeout)

    def _has_row(self, values: dict[str, str], deadline: float) -> bool:
        try:
            connection = getattr(self._of_thread, "connection", None)
            if connection is None:
                connection = self._of_thread.connection = connect(self._database, timeout=self._timeout)
                self._open.append(connection)
            connection.set_progress_handler(lambda: time.monotonic() > deadline, LOOK_EVERY)
            return connection.execute(self._query, values).fetchone() is not None
        except sqlite3.Error as wrong:
            self._of_thread.connection = None  # the file may have been replaced
            raise SourceFailure(f"{self._database}: {wrong}") from wrong

    async def close(self) -> None:
        self._threads.shutdown(wait=False, cancel_futures=True)
        for connection in self._open:
            with contextlib.suppress(sqlite3.Error):
                connection.close()


def connect(database: Path, *, timeout: float = 5.0) -> sqlite3.Connection:
    """Open a database that exists, to read. Raises sqlite3.Error."""
    uri = f"{database.absolute().as_uri()}?mode=ro"
    connection = sqlite3.connect(uri, uri=True, timeout=timeout, check_same_thread=False, isolation_level=None)
    connection.execute("PRAGMA query_only = ON")
    return connection


def check_query(database: Path, query: str) -> None:
    """Raises ConfigurationError if the database cannot be opened or the query cannot be asked of it."""
    try:
        with contextlib.closing(connect(database)) as connection:
            connection.execute(f"EXPLAIN {query}", dict.fromkeys(PARAMETERS, "")).fetchone()
    except sqlite3.Error as wrong:
        mend = f"ask for a row of the recipient, with the parameters {', '.join(':' + name for name in PARAMETERS)}"
        raise ConfigurationError(f"the query cannot be asked: {wrong}", where=str(database), mend=mend) from wrong
