"""SQLAlchemy Core over the SQLite files of tracking and quarantine: one place opens them, so that another database can take their place."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import MappingProxyType

from sqlalchemy import Connection, Engine, MetaData, create_engine, event
from sqlalchemy.dialects import sqlite
from sqlalchemy.exc import DBAPIError
from sqlalchemy.pool import StaticPool
from sqlalchemy.schema import CreateIndex, CreateTable

from esa.errors import StoreError
from esa.store.database import Changes, database_error, open_database, open_read_only


def open_tables(path: Path, tables: MetaData, *, version: int, changes: Changes = MappingProxyType({})) -> Engine:
    """Open for writing (the one process that does), making the tables in a new file. Raises StoreError."""
    dialect = sqlite.dialect()
    schema = [str(CreateTable(table).compile(dialect=dialect)) for table in tables.sorted_tables]
    schema += [
        str(CreateIndex(index).compile(dialect=dialect)) for table in tables.sorted_tables for index in sorted(table.indexes, key=str)
    ]
    connection = open_database(path, schema, version=version, changes=changes)
    return _engine(lambda: connection, "BEGIN IMMEDIATE")


def open_tables_read_only(path: Path, *, version: int, changes: Changes = MappingProxyType({})) -> Engine | None:
    """Open for reading beside the writer; None if there is nothing yet. Raises StoreError."""
    connection = open_read_only(path, version=version, changes=changes)
    return None if connection is None else _engine(lambda: connection, "BEGIN")


def _engine(creator: Callable[[], sqlite3.Connection], begin: str) -> Engine:
    engine = create_engine("sqlite://", creator=creator, poolclass=StaticPool)

    @event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        connection.exec_driver_sql(begin)  # the driver is in autocommit mode: transactions begin where we say

    return engine


@contextmanager
def transaction(engine: Engine, path: Path) -> Iterator[Connection]:
    """A transaction: all of the body or nothing, durable on return. Raises StoreError."""
    try:
        with engine.begin() as connection:
            yield connection
    except DBAPIError as error:
        if isinstance(error.orig, sqlite3.Error):
            raise database_error(error.orig, path) from error
        raise StoreError(f"the database says: {error.orig}", where=str(path)) from error
