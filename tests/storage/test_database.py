"""Transactions hold, also between processes and under cancellation."""

from __future__ import annotations

import asyncio
import sqlite3
import stat
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, closing
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from databases import DATABASES, fresh
from sqlalchemy import event, func, insert, select, text
from sqlalchemy.exc import IntegrityError, StatementError

from claude_code_api.errors import StorageFailure
from claude_code_api.secret import Secret
from claude_code_api.storage import sqlite as sqlite_module
from claude_code_api.storage.data_directory import DataDirectory
from claude_code_api.storage.database import Database
from claude_code_api.storage.tables import api_keys, vault_records
from claude_code_api.storage.uninterrupted import to_its_end

NOW = datetime(2026, 1, 2, 3, 4, 5, 678, tzinfo=UTC)


@pytest.fixture(params=DATABASES)
def url(request: pytest.FixtureRequest, tmp_path: Path) -> Secret:
    return fresh(request.param, tmp_path, request)


@pytest.fixture
async def database(tmp_path: Path, url: Secret) -> AsyncIterator[Database]:
    async with Database.open(url, DataDirectory(tmp_path)) as database:
        yield database


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "gateway.db"


@pytest.fixture
async def sqlite(tmp_path: Path, path: Path) -> AsyncIterator[Database]:
    async with Database.open(Secret(f"sqlite+aiosqlite:///{path}"), DataDirectory(tmp_path)) as database:
        yield database


async def add(database: Database, name: str, moment: datetime = NOW) -> None:
    async with database.write() as connection:
        await connection.execute(insert(vault_records).values(id=name, secret=b"x", created_at=moment))


async def count(database: Database) -> int:
    async with database.read() as connection:
        return int(await connection.scalar(select(func.count()).select_from(vault_records)) or 0)


async def test_what_was_overwritten_leaves_the_log_unless_somebody_still_reads_it(
    sqlite: Database, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite_module, "LOG_TIMEOUT", 0.01)
    log = path.with_name("gateway.db-wal")
    async with sqlite.read() as reader:
        await reader.scalar(select(func.count()).select_from(vault_records))
        await add(sqlite, "one")
        await sqlite.forget_overwritten()
        assert log.stat().st_size > 0
    await sqlite.forget_overwritten()
    assert log.stat().st_size == 0
    assert await count(sqlite) == 1


async def test_what_a_block_writes_is_there_after_it_and_nothing_of_one_that_fails(database: Database) -> None:
    await add(database, "one")

    async def fail() -> None:
        async with database.write() as connection:
            await connection.execute(insert(vault_records).values(id="two", secret=b"x", created_at=NOW))
            raise LookupError

    with pytest.raises(LookupError):
        await fail()
    assert await count(database) == 1


async def test_a_reader_keeps_its_view_while_another_writes(database: Database) -> None:
    async with database.read() as connection:
        assert await connection.scalar(select(func.count()).select_from(vault_records)) == 0
        await add(database, "one")
        assert await connection.scalar(select(func.count()).select_from(vault_records)) == 0
    assert await count(database) == 1


async def test_many_writers_at_once_all_get_their_turn(database: Database, tmp_path: Path, url: Secret) -> None:
    async with Database.open(url, DataDirectory(tmp_path)) as other:
        await asyncio.gather(*(add((database, other)[i % 2], str(i)) for i in range(40)))
    assert await count(database) == 40


async def test_many_may_open_a_fresh_directory_at_once(tmp_path: Path) -> None:
    url = Secret(f"sqlite+aiosqlite:///{tmp_path / 'fresh' / 'gateway.db'}")
    async with AsyncExitStack() as stack:
        opened = await asyncio.gather(
            *(
                stack.enter_async_context(Database.open(url, DataDirectory(tmp_path / "fresh"), migrate=bool(i % 2)))
                for i in range(6)
            )
        )
        await add(opened[0], "one")
        assert await count(opened[5]) == 1


async def test_the_database_is_durable_strict_and_private(sqlite: Database, path: Path) -> None:
    await add(sqlite, "one")
    async with sqlite.write() as connection:
        pragmas = {
            name: (await connection.execute(text(f"PRAGMA {name}"))).scalar()
            for name in ("journal_mode", "foreign_keys", "synchronous", "secure_delete", "busy_timeout")
        }
    assert pragmas == {
        "journal_mode": "wal", "foreign_keys": 1, "synchronous": 2, "secure_delete": 1, "busy_timeout": 10_000,
    }  # fmt: skip
    modes = {file.name: stat.S_IMODE(file.stat().st_mode) for file in path.parent.iterdir()}
    assert {"gateway.db", "gateway.db-wal", "gateway.db-shm", "generation"} <= set(modes)
    assert set(modes.values()) == {0o600}


async def test_a_broken_rule_is_the_caller_s_to_explain(database: Database) -> None:
    await add(database, "one")
    with pytest.raises(IntegrityError):
        await add(database, "one")
    with pytest.raises(IntegrityError):
        async with database.write() as connection:
            await connection.execute(
                insert(api_keys).values(
                    id="k", name="k", hash=b"h", checksummed=True, hint="", credential_id="none", models=[],
                    created_at=NOW, created_by="test",
                )
            )  # fmt: skip


async def test_a_lock_held_too_long_is_one_clear_line(
    tmp_path: Path, path: Path, sqlite: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite_module, "BUSY_TIMEOUT", 0.05)
    async with Database.open(Secret(f"sqlite+aiosqlite:///{path}"), DataDirectory(tmp_path)) as impatient:
        async with sqlite.write():
            with pytest.raises(StorageFailure, match="database is locked"):
                await add(impatient, "one")
        await add(impatient, "one")


async def test_an_announced_write_raises_the_generation_and_others_do_not(database: Database) -> None:
    before = database.generation.current
    await add(database, "one")
    assert database.generation.current == before
    with pytest.raises(LookupError):
        async with database.write(announced=True):
            raise LookupError
    assert database.generation.current == before
    async with database.write(announced=True):
        pass
    assert database.generation.current > before


async def test_a_commit_once_begun_ends_before_the_cancellation_passes_on() -> None:
    begun, go, ended = asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def commit() -> None:
        begun.set()
        await go.wait()
        ended.set()

    task = asyncio.create_task(to_its_end(commit()))
    await begun.wait()
    for _ in range(3):
        task.cancel()
        await asyncio.sleep(0)
    assert not task.done()
    go.set()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert ended.is_set()


async def test_a_commit_that_has_begun_is_finished_and_announced_whoever_is_cancelled(database: Database) -> None:
    await _cancelled_at("commit", database)


async def test_a_statement_to_sqlite_is_never_left_in_the_middle(sqlite: Database) -> None:
    await _cancelled_at("before_cursor_execute", sqlite)


async def _cancelled_at(moment: str, database: Database) -> None:
    """Who writes is cancelled at this moment; all of it is there nevertheless."""

    async def write() -> None:
        async with database.write(announced=True) as connection:
            await connection.execute(insert(vault_records).values(id="one", secret=b"x", created_at=NOW))

    before = database.generation.current
    task = asyncio.create_task(write())

    def cancel(*_: object) -> None:
        task.cancel()

    event.listen(database._engine.sync_engine, moment, cancel)
    with pytest.raises(asyncio.CancelledError):
        await task
    event.remove(database._engine.sync_engine, moment, cancel)
    assert await count(database) == 1
    assert database.generation.current > before
    await add(database, "still writable")


async def test_moments_keep_their_instant_and_bear_utc(database: Database) -> None:
    await add(database, "one", NOW.astimezone(timezone(timedelta(hours=-7))))
    async with database.read() as connection:
        found = await connection.scalar(select(vault_records.c.created_at))
    assert found == NOW
    assert found is not None
    assert found.tzinfo is UTC


async def test_a_moment_without_a_time_zone_is_refused(database: Database) -> None:
    with pytest.raises(StatementError, match="without a time zone"):
        await add(database, "one", NOW.replace(tzinfo=None))


@pytest.mark.parametrize(
    "url",
    [
        "nonsense",
        "nosuch://host/name",
        "sqlite:///file.db",
        "postgresql+nosuch://user:hunter2@host/name",
        "postgresql://user:hunter2/name",  # the host is forgotten, and the password taken for a port
    ],
)
async def test_a_wrong_url_is_refused_without_being_repeated(
    tmp_path: Path, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)  # where one of them makes its file
    with pytest.raises(StorageFailure, match="database URL") as failure:
        async with Database.open(Secret(url), DataDirectory(tmp_path)):
            pytest.fail("opened")
    assert url not in failure.value.message
    assert "hunter2" not in failure.value.message


@pytest.mark.parametrize("name", ["", "/:memory:", "/file:shared?uri=true"])
async def test_a_database_that_is_no_file_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(StorageFailure, match="must name a file"):
        async with Database.open(Secret(f"sqlite+aiosqlite://{name}"), DataDirectory(tmp_path)):
            pytest.fail("opened")


async def test_a_file_that_is_no_database_is_refused_and_left_alone(tmp_path: Path, path: Path) -> None:
    path.write_text("a letter, not a database" * 100)
    with pytest.raises(StorageFailure, match="not a database"):
        async with Database.open(Secret(f"sqlite+aiosqlite:///{path}"), DataDirectory(tmp_path)):
            pytest.fail("opened")
    assert path.read_text() == "a letter, not a database" * 100


async def test_opening_again_in_one_process_keeps_the_locks_of_the_first(
    tmp_path: Path, path: Path, sqlite: Database
) -> None:
    """SQLite's locks belong to the process: a descriptor closed carelessly would drop them."""
    probe = f"import sqlite3; sqlite3.connect({str(path)!r}, timeout=0).execute('BEGIN IMMEDIATE')"
    async with sqlite.write():
        async with Database.open(Secret(f"sqlite+aiosqlite:///{path}"), DataDirectory(tmp_path)):
            pass
        found = await asyncio.to_thread(subprocess.run, [sys.executable, "-c", probe], capture_output=True)
    assert b"database is locked" in found.stderr


async def test_a_copy_is_of_one_moment_and_holds_up_nobody_who_writes(
    sqlite: Database, path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await add(sqlite, "before")
    written: list[str] = []
    real = sqlite3.connect

    def write_meanwhile() -> int:
        if len(written) < 150:  # more than it takes to read what tables there are
            with closing(real(path, timeout=0)) as other, other:
                other.execute("INSERT INTO vault_records VALUES (?, 'x', 'now')", [f"{len(written):03}"])
            written.append(f"{len(written):03}")
        return 0

    def connect(*arguments: Any, **options: Any) -> sqlite3.Connection:
        connection = real(*arguments, **options)
        connection.set_progress_handler(write_meanwhile, 10)
        return connection

    with monkeypatch.context() as patch:
        patch.setattr(sqlite_module.sqlite3, "connect", connect)
        await sqlite.copy_to(tmp_path / "copy")
    assert await count(sqlite) == 151
    with closing(real(tmp_path / "copy")) as copy:
        copied = [name for (name,) in copy.execute("SELECT id FROM vault_records ORDER BY id")]
    assert copied == [*written[: len(copied) - 1], "before"]
    assert len(copied) < 150
    assert (tmp_path / "copy").stat().st_mode & 0o777 == 0o600
