"""The database: opening it, and transactions for reading and for writing."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import cast

from sqlalchemy import ColumnElement, Table, delete, make_url, select, tuple_
from sqlalchemy.dialects import postgresql as postgresql_dialect
from sqlalchemy.dialects import sqlite as sqlite_dialect
from sqlalchemy.exc import DBAPIError, IntegrityError, SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from claude_code_api.errors import InvalidRequest, StorageFailure
from claude_code_api.secret import Secret
from claude_code_api.storage import changeover, migrations, postgresql, sqlite
from claude_code_api.storage.data_directory import DataDirectory
from claude_code_api.storage.generation import Generation
from claude_code_api.storage.uninterrupted import to_its_end

DELETED_AT_ONCE = 1000
"""Rows in one transaction."""

SQLITE, POSTGRESQL = "sqlite+aiosqlite", "postgresql+asyncpg"


class Database:
    """Transactions on one database. Nothing but statements is awaited inside one, so that each is short."""

    def __init__(self, engine: AsyncEngine, generation: Generation) -> None:
        self.generation = generation
        self._engine = engine
        self._on_one_machine = engine.dialect.name == "sqlite"
        self._follower = None if self._on_one_machine else postgresql.Follower(engine, generation)
        self._writing = asyncio.Lock()  # writers of this process queue here in order, instead of polling SQLite

    @classmethod
    @asynccontextmanager
    async def open(cls, url: Secret, directory: DataDirectory, *, migrate: bool = False) -> AsyncIterator[Database]:
        """The database at HEAD. An empty one is set up; one of an older version is migrated only if `migrate`.

        StorageFailure says why it cannot be opened, without the URL, which may hold a password.
        """
        async with AsyncExitStack() as stack:
            user = await asyncio.to_thread(changeover.join, directory.path)
            stack.callback(os.close, user)
            generation = await asyncio.to_thread(Generation, directory.path / "generation")
            stack.callback(generation.close)
            patient, engine = await asyncio.to_thread(_engines, url, directory)
            stack.push_async_callback(engine.dispose)
            try:
                await cls(patient, generation)._bring_to_head(migrate)
            finally:
                if patient is not engine:
                    await patient.dispose()
            database = cls(engine, generation)
            if database._follower:
                await stack.enter_async_context(database._follower.following())
            yield database

    @property
    def answers(self) -> bool:
        """Whether it did when it was asked last; a file always does."""
        return self._follower is None or self._follower.hears

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
        await asyncio.to_thread(sqlite.copy, Path(str(self._engine.url.database)), path)

    async def forget_overwritten(self) -> None:
        """SQLite's log is emptied, which holds what was there before; as far as those who read just now let it."""
        if self._on_one_machine:
            await asyncio.to_thread(sqlite.empty_log, Path(str(self._engine.url.database)))

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
        if announced and not self._on_one_machine:
            await postgresql.announce(connection)
        await connection.commit()
        if announced:
            await asyncio.to_thread(self.generation.advance)

    @asynccontextmanager
    async def _begun(self, *, writes: bool) -> AsyncIterator[AsyncConnection]:
        reached = False
        try:
            async with AsyncExitStack() as stack:
                async with asyncio.timeout(None if self._on_one_machine else postgresql.CONNECT_TIMEOUT):
                    connection = await stack.enter_async_context(self._engine.connect())
                reached = True
                options = {"writes": writes} if self._on_one_machine else postgresql.transaction(writes=writes)
                await connection.execution_options(**options)
                await connection.begin()
                yield connection
        except IntegrityError:
            raise  # the caller knows which rule it may have broken
        except DBAPIError as error:
            if reached and not self._on_one_machine and postgresql.is_the_value_s_fault(error):
                raise InvalidRequest(
                    "Something in the request cannot be stored or looked for, such as a zero byte in a text.",
                    code="invalid_value",
                ) from None
            raise StorageFailure(f"The database failed: {error.orig}.") from None
        except Exception as error:
            if reached:
                raise
            raise StorageFailure(f"The database cannot be reached: {str(error) or 'it does not answer'}.") from None

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
    except (SQLAlchemyError, ValueError):
        return None
    return Path(str(parsed.database)) if parsed.get_backend_name() == "sqlite" else None


def insert_or(dialect: str, table: Table) -> sqlite_dialect.Insert:
    """An insert that may say what happens to rows that are there already: `on_conflict_do_…`, the same for both."""
    insert = postgresql_dialect.insert if dialect == "postgresql" else sqlite_dialect.insert
    return cast("sqlite_dialect.Insert", insert(table))


def _engines(url: Secret, directory: DataDirectory) -> tuple[AsyncEngine, AsyncEngine]:
    """For migrations and for all else. Loads the driver and prepares a file, which is no work for the event loop."""
    try:
        parsed = make_url(url.reveal())
        if parsed.drivername == SQLITE:
            return (engine := sqlite.engine(parsed, directory)), engine
        if parsed.drivername in (POSTGRESQL, "postgresql", "postgres"):
            address = parsed.set(drivername=POSTGRESQL)
            return postgresql.engine(address, patient=True), postgresql.engine(address)
        reason = "no such driver"
    except (SQLAlchemyError, ImportError, ValueError) as error:  # of a port that is no number: maybe a password
        reason = type(error).__name__
    raise StorageFailure(
        f"The database URL cannot be used ({reason}): "
        f"it is like {SQLITE}:////var/lib/gateway.db or postgresql://host/name."
    )
