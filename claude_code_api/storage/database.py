"""The database: opening it, and transactions for reading and for writing."""

from __future__ import annotations

import asyncio
import os
import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing, suppress
from pathlib import Path
from typing import Any, cast

from sqlalchemy import URL, ColumnElement, Connection, Table, delete, event, make_url, select, tuple_
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import DBAPIError, IntegrityError, SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from claude_code_api.errors import StorageFailure
from claude_code_api.secret import Secret
from claude_code_api.storage import changeover, migrations
from claude_code_api.storage.data_directory import DataDirectory, exclusive, make_private
from claude_code_api.storage.generation import Generation
from claude_code_api.storage.uninterrupted import connector, to_its_end

BUSY_TIMEOUT = 10.0
"""Seconds that a statement waits for another process's write to SQLite."""
DELETED_AT_ONCE = 1000
"""Rows in one transaction."""

LOG_TIMEOUT = 2.0
"""Seconds that emptying the log waits for readers."""


class Database:
    """Transactions on one database. Nothing but statements is awaited inside one, so that each is short."""

    def __init__(self, engine: AsyncEngine, generation: Generation) -> None:
        self.generation = generation
        self._engine = engine
        self._writing = asyncio.Lock()  # writers of this process queue here in order, instead of polling SQLite

    @classmethod
    @asynccontextmanager
    async def open(cls, url: Secret, directory: DataDirectory, *, migrate: bool = False) -> AsyncIterator[Database]:
        """The database at HEAD. An empty one is set up; one of an older version is migrated only if `migrate`.

        StorageFailure says why it cannot be opened, without the URL, which may hold a password.
        """
        user = await asyncio.to_thread(changeover.join, directory.path)
        try:
            engine = await asyncio.to_thread(_engine, url, directory)
            generation = await asyncio.to_thread(Generation, directory.path / "generation")
            database = cls(engine, generation)
            try:
                await database._bring_to_head(migrate)
                yield database
            finally:
                await engine.dispose()
                generation.close()
        finally:
            os.close(user)

    @asynccontextmanager
    async def read(self) -> AsyncIterator[AsyncConnection]:
        """One consistent view."""
        async with self._begun(writes=False) as connection:
            yield connection

    @asynccontextmanager
    async def write(self, *, announced: bool = False) -> AsyncIterator[AsyncConnection]:
        """Committed when the block ends, rolled back when it raises; one writer at a time.

        `announced` raises the generation after the commit: for changes of keys and credentials. A commit once
        begun is finished and announced even if the caller is cancelled, so that none holds unannounced.
        """
        async with self._writing, self._begun(writes=True) as connection:
            yield connection
            await to_its_end(self._commit(connection, announced))

    async def copy_to(self, path: Path) -> None:
        """A consistent copy of all of it as of one moment, in a new private file, while others read and write.

        For SQLite alone.
        """
        await asyncio.to_thread(_copy, Path(str(self._engine.url.database)), path)

    async def forget_overwritten(self) -> None:
        """SQLite's log is emptied, which holds what was there before; as far as those who read just now let it."""
        if self._engine.dialect.name == "sqlite":
            await asyncio.to_thread(_empty_log, Path(str(self._engine.url.database)))

    async def delete(self, table: Table, which: ColumnElement[bool]) -> int:
        """Deletes the rows for which `which` holds, in groups small enough that nobody waits; how many those were."""
        group = select(*table.primary_key).where(which).limit(DELETED_AT_ONCE)
        deleted = 0
        while True:
            async with self.write() as connection:
                count = (await connection.execute(delete(table).where(tuple_(*table.primary_key).in_(group)))).rowcount
            deleted += count
            if count < DELETED_AT_ONCE:
                return deleted
            await asyncio.sleep(0)

    async def _commit(self, connection: AsyncConnection, announced: bool) -> None:
        await connection.commit()
        if announced:
            await asyncio.to_thread(self.generation.advance)

    @asynccontextmanager
    async def _begun(self, *, writes: bool) -> AsyncIterator[AsyncConnection]:
        try:
            async with self._engine.connect() as connection:
                await connection.execution_options(writes=writes)
                await connection.begin()
                yield connection
        except IntegrityError:
            raise  # the caller knows which rule it may have broken
        except DBAPIError as error:
            raise StorageFailure(f"The database failed: {error.orig}.") from None

    async def _bring_to_head(self, migrate: bool) -> None:
        async with self.read() as connection:
            if await connection.run_sync(migrations.version) == migrations.HEAD:
                return
        upgrade = await asyncio.to_thread(migrations.load)
        async with self.write() as connection:
            await connection.run_sync(upgrade, migrate)


def sqlite_file(url: Secret) -> Path | None:
    """The database's file; None where it is none of SQLite's."""
    try:
        parsed = make_url(url.reveal())
    except SQLAlchemyError:
        return None
    return Path(str(parsed.database)) if _is_sqlite(parsed) else None


def insert_or(dialect: str, table: Table) -> sqlite.Insert:
    """An insert that may say what happens to rows that are there already: `on_conflict_do_…`, the same for both."""
    insert = postgresql.insert if dialect == "postgresql" else sqlite.insert
    return cast("sqlite.Insert", insert(table))


def _engine(url: Secret, directory: DataDirectory) -> AsyncEngine:
    """Loads the driver and prepares a file, which is no work for the event loop."""
    try:
        parsed = make_url(url.reveal())
        if _is_sqlite(parsed):
            _prepare_file(parsed, directory)
        sqlite_alone = {"async_creator": connector(str(parsed.database))} if _is_sqlite(parsed) else {}
        # The one used last serves next: what each keeps of pages and statements is then kept once, as a rule.
        engine = create_async_engine(parsed, hide_parameters=True, pool_use_lifo=True, **sqlite_alone)
    except (SQLAlchemyError, ImportError) as error:
        raise StorageFailure(
            f"The database URL cannot be used ({type(error).__name__}): "
            "it is like sqlite+aiosqlite:////var/lib/gateway.db or postgresql+asyncpg://…."
        ) from None
    if _is_sqlite(parsed):
        event.listen(engine.sync_engine, "connect", _configure)
        event.listen(engine.sync_engine, "begin", _begin)
    return engine


def _is_sqlite(url: URL) -> bool:
    return url.get_backend_name() == "sqlite"


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


def _copy(path: Path, to: Path) -> None:
    """Within one reading transaction. What was deleted is not in it; deleted rows leave no trace in the new file."""
    make_private(to)  # SQLite takes an empty file, but would make one that others may read
    try:
        with closing(sqlite3.connect(path, timeout=BUSY_TIMEOUT)) as connection:
            connection.execute("VACUUM INTO ?", [str(to)])
    except sqlite3.Error as error:
        raise StorageFailure(f"The database cannot be copied: {error}.") from None


def _empty_log(path: Path) -> None:
    with suppress(sqlite3.OperationalError), closing(sqlite3.connect(path, timeout=LOG_TIMEOUT)) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")


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
