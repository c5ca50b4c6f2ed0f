"""SQLite: one file on one machine, in write-ahead mode, for any number of processes there."""

from __future__ import annotations

import sqlite3
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

from sqlalchemy import URL, Connection, event
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from claude_code_api.errors import StorageFailure
from claude_code_api.storage.data_directory import DataDirectory, exclusive, make_private
from claude_code_api.storage.uninterrupted import connector

BUSY_TIMEOUT = 10.0
"""Seconds that a statement waits for another process's write."""
LOG_TIMEOUT = 2.0
"""Seconds that emptying the log waits for readers."""


def engine(url: URL, directory: DataDirectory) -> AsyncEngine:
    """Connections to the file, which is made where there is none. StorageFailure says why it cannot be opened."""
    _prepare_file(url, directory)
    # The one used last serves next: what each keeps of pages and statements is then kept once, as a rule.
    made = create_async_engine(
        url, hide_parameters=True, pool_use_lifo=True, async_creator=connector(str(url.database))
    )
    event.listen(made.sync_engine, "connect", _configure)
    event.listen(made.sync_engine, "begin", _begin)
    return made


def copy(path: Path, to: Path) -> None:
    """Within one reading transaction. What was deleted is not in it; deleted rows leave no trace in the new file."""
    make_private(to)  # SQLite takes an empty file, but would make one that others may read
    try:
        with closing(sqlite3.connect(path, timeout=BUSY_TIMEOUT)) as connection:
            connection.execute("VACUUM INTO ?", [str(to)])
    except sqlite3.Error as error:
        raise StorageFailure(f"The database cannot be copied: {error}.") from None


def empty_log(path: Path) -> None:
    """As far as those who read just now let it."""
    with suppress(sqlite3.OperationalError), closing(sqlite3.connect(path, timeout=LOG_TIMEOUT)) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")


def _prepare_file(url: URL, directory: DataDirectory) -> None:
    """A private file (SQLite gives its companions the same mode) in write-ahead mode, which the file then keeps.

    Two processes that switch the mode at once fail without waiting for each other, hence the lock.
    """
    if url.database in {None, "", ":memory:"} or str(url.database).startswith("file:"):
        raise StorageFailure("The database URL must name a file: sqlite+aiosqlite:///PATH.")
    path = Path(str(url.database))
    with exclusive(directory.path / "database.lock"):
        make_private(path)
        try:
            with closing(sqlite3.connect(path, timeout=BUSY_TIMEOUT)) as connection:
                connection.execute("PRAGMA journal_mode = WAL")
        except sqlite3.Error as error:
            raise StorageFailure(f"The database {path} cannot be opened: {error}.") from None


def _configure(connection: Any, _: object) -> None:
    connection.isolation_level = None  # transactions begin where we say, see _begin
    connection.create_function("lower", 1, _lower, deterministic=True)  # its own knows the letters of English alone
    cursor = connection.cursor()
    for pragma in (
        f"busy_timeout = {int(BUSY_TIMEOUT * 1000)}",
        "foreign_keys = ON",
        "synchronous = FULL",  # a revocation must outlive a power cut; writes are rare
        "secure_delete = ON",  # what is deleted is overwritten: ciphertexts of removed credentials
    ):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


def _lower(text: str | None) -> str | None:
    return None if text is None else text.lower()


def _begin(connection: Connection) -> None:
    # A transaction that turns to writing halfway can fail at once where another writes; it must say so at its start.
    writes = connection.get_execution_options().get("writes")
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")
