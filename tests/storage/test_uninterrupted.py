"""Whoever leaves in the middle of a transaction leaves no lock behind, and is still told to go."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy import select, text

from claude_code_api.secret import Secret
from claude_code_api.storage.data_directory import DataDirectory
from claude_code_api.storage.database import Database
from claude_code_api.storage.tables import usage_last_uses
from claude_code_api.storage.uninterrupted import to_its_end, undisturbed


@pytest.fixture
async def database(tmp_path: Path) -> AsyncIterator[Database]:
    url = Secret(f"sqlite+aiosqlite:///{tmp_path / 'gateway.db'}")
    async with Database.open(url, DataDirectory(tmp_path)) as database:
        yield database


class Slow:
    """A statement that takes until it is let go, in a transaction that writes."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._begun, self._let_go = threading.Event(), threading.Event()

    async def run(self) -> None:
        async with self._database.write() as connection:
            driver = (await connection.get_raw_connection()).driver_connection
            assert driver is not None
            await driver.create_function("linger", 0, self._linger)
            await connection.execute(text("INSERT INTO usage_last_uses VALUES ('k', 'c', '2026-01-01 00:00:00')"))
            await connection.execute(text("SELECT linger()"))

    def _linger(self) -> int:
        self._begun.set()
        self._let_go.wait(10)
        return 1

    async def begun(self) -> None:
        assert await asyncio.to_thread(self._begun.wait, 10)

    def end(self) -> None:
        self._let_go.set()


def can_write(path: Path) -> bool:
    with closing(sqlite3.connect(path / "gateway.db", timeout=0, isolation_level=None)) as other:
        try:
            other.execute("BEGIN IMMEDIATE")
        except sqlite3.OperationalError:
            return False
        other.execute("ROLLBACK")
        return True


async def test_a_transaction_that_is_cancelled_within_a_statement_leaves_no_lock(
    database: Database, tmp_path: Path
) -> None:
    slow = Slow(database)
    running = asyncio.create_task(slow.run())
    await slow.begun()
    assert not can_write(tmp_path), "the statement holds it"
    running.cancel()
    running.cancel()  # whoever is in a hurry asks twice
    slow.end()
    await asyncio.wait([running])
    assert running.cancelled()
    assert can_write(tmp_path)
    async with database.write() as connection:
        await connection.execute(usage_last_uses.delete())


async def test_a_read_that_is_cancelled_leaves_its_connection_whole(database: Database) -> None:
    for steps in range(12):
        reading = asyncio.create_task(_read(database))
        for _ in range(steps):
            await asyncio.sleep(0)
        reading.cancel()
        await asyncio.wait([reading])
    assert await _read(database) == []


async def _read(database: Database) -> list[object]:
    async with database.read() as connection:
        return list(await connection.execute(select(usage_last_uses)))


async def test_a_time_limit_around_a_transaction_is_still_one(database: Database) -> None:
    slow = Slow(database)
    asyncio.get_running_loop().call_later(0.05, slow.end)

    async def in_time() -> None:
        async with asyncio.timeout(0.01):
            await slow.run()
            await asyncio.sleep(10)

    with pytest.raises(TimeoutError):
        await in_time()


@pytest.mark.parametrize("waits", [to_its_end, undisturbed])
async def test_what_fails_is_told_even_to_who_was_cancelled(waits: object) -> None:
    gate = asyncio.Event()

    async def work() -> None:
        await gate.wait()
        raise ValueError("the work's own fault")

    waiting = asyncio.create_task(waits(work()))  # type: ignore[operator]
    await asyncio.sleep(0)
    waiting.cancel()
    await asyncio.sleep(0)
    gate.set()
    await asyncio.wait([waiting])
    assert isinstance(waiting.exception(), ValueError)
