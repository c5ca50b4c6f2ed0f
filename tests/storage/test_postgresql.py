"""On PostgreSQL, several machines share what is stored, and see each other's changes within a second."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from datetime import UTC, datetime
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from postgres import Postgres, running_postgres
from sqlalchemy import func, insert, select, update

from claude_code_api.errors import InvalidRequest, StorageFailure
from claude_code_api.secret import Secret
from claude_code_api.storage import postgresql
from claude_code_api.storage.data_directory import DataDirectory
from claude_code_api.storage.database import Database
from claude_code_api.storage.tables import administrators, metadata, vault_records

NOW = datetime(2026, 1, 2, tzinfo=UTC)


@pytest.fixture
def url(postgres: Postgres) -> Secret:
    return postgres.create(postgres.at_head)


@pytest.fixture
async def machines(url: Secret, tmp_path: Path) -> AsyncIterator[tuple[Database, Database]]:
    """Two, each with a data directory of its own."""
    async with (
        Database.open(url, DataDirectory(tmp_path / "one")) as one,
        Database.open(url, DataDirectory(tmp_path / "other")) as other,
    ):
        yield one, other


async def rises(database: Database, before: int) -> None:
    """Returns once its generation is another one."""
    async with asyncio.timeout(10):
        while database.generation.current == before:
            await asyncio.sleep(0.01)


def test_a_change_is_looked_for_often_enough_to_be_seen_within_a_second() -> None:
    assert postgresql.LOOK_INTERVAL + postgresql.LOOK_TIMEOUT < 1


@pytest.mark.policy("K3")
async def test_a_change_on_one_machine_is_seen_on_the_other(machines: tuple[Database, Database]) -> None:
    one, other = machines
    before = other.generation.current
    async with one.write(announced=True):
        pass
    await rises(other, before)


async def test_a_change_that_nobody_needs_to_know_of_is_not_announced(machines: tuple[Database, Database]) -> None:
    one, other = machines
    before = other.generation.current
    async with one.write() as connection:
        await connection.execute(insert(vault_records).values(id="one", secret=b"x", created_at=NOW))
    await asyncio.sleep(2 * postgresql.LOOK_INTERVAL)  # two looks
    assert other.generation.current == before


async def test_a_change_that_is_taken_back_is_not_announced(machines: tuple[Database, Database]) -> None:
    one, other = machines
    before = other.generation.current
    with pytest.raises(LookupError):
        async with one.write(announced=True):
            raise LookupError
    await asyncio.sleep(2 * postgresql.LOOK_INTERVAL)
    assert other.generation.current == before


@pytest.mark.policy("K3")
async def test_a_change_that_could_not_be_told_is_told_by_a_later_look(
    machines: tuple[Database, Database], monkeypatch: pytest.MonkeyPatch
) -> None:
    one, other = machines
    before, failed = other.generation.current, asyncio.Event()
    loop = asyncio.get_running_loop()

    def fail() -> None:
        loop.call_soon_threadsafe(failed.set)
        raise LookupError

    with monkeypatch.context() as patch:
        patch.setattr(other.generation, "advance", fail)
        async with one.write(announced=True):
            pass
        await failed.wait()
        assert other.generation.current == before
    await rises(other, before)


async def test_what_was_looked_at_first_still_holds_when_it_is_written(machines: tuple[Database, Database]) -> None:
    """No update is lost between machines: one writer at a time."""
    async with machines[0].write() as connection:
        await connection.execute(insert(vault_records).values(id="count", secret=b"0", created_at=NOW))

    async def add_one(database: Database) -> None:
        async with database.write() as connection:
            found = await connection.scalar(select(vault_records.c.secret).where(vault_records.c.id == "count"))
            await asyncio.sleep(0)
            await connection.execute(update(vault_records).values(secret=b"%d" % (int(found or b"") + 1)))

    await asyncio.gather(*(add_one(machines[number % 2]) for number in range(60)))
    async with machines[1].read() as connection:
        assert await connection.scalar(select(vault_records.c.secret)) == b"60"


async def test_who_only_reads_cannot_write(machines: tuple[Database, Database]) -> None:
    with pytest.raises(StorageFailure, match="read-only transaction"):
        async with machines[0].read() as connection:
            await connection.execute(insert(vault_records).values(id="one", secret=b"x", created_at=NOW))


@pytest.mark.parametrize("text", ["a\0b", "\ud800"])
async def test_a_text_that_it_does_not_take_is_the_fault_of_who_gave_it(
    machines: tuple[Database, Database], text: str
) -> None:
    with pytest.raises(InvalidRequest, match="cannot be stored or looked for"):
        async with machines[0].read() as connection:
            await connection.execute(select(vault_records).where(vault_records.c.id == text))


async def test_a_writer_who_is_silent_gives_way(
    url: Secret, tmp_path: Path, machines: tuple[Database, Database], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A machine that was cut off in the middle keeps nobody from writing for long."""
    monkeypatch.setattr(postgresql, "IDLE_TIMEOUT", 0.1)
    async with Database.open(url, DataDirectory(tmp_path / "cut off")) as cut_off:
        silent = cut_off.write()
        await silent.__aenter__()
        async with machines[0].write() as connection:
            await connection.execute(insert(vault_records).values(id="one", secret=b"x", created_at=NOW))
        with pytest.raises(StorageFailure):
            await silent.__aexit__(None, None, None)
    async with machines[1].read() as connection:
        assert list(await connection.scalars(select(vault_records.c.id))) == ["one"]


async def test_a_writer_who_waits_too_long_is_told(
    url: Secret, tmp_path: Path, machines: tuple[Database, Database], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(postgresql, "LOCK_TIMEOUT", 0.05)
    async with Database.open(url, DataDirectory(tmp_path / "impatient")) as impatient, machines[0].write():
        with pytest.raises(StorageFailure, match="lock timeout"):
            async with impatient.write():
                pytest.fail("two writers at once")


async def test_a_write_that_is_cancelled_in_the_middle_leaves_nothing_and_keeps_nobody_out(
    machines: tuple[Database, Database],
) -> None:
    begun = asyncio.Event()

    async def write() -> None:
        async with machines[0].write(announced=True) as connection:
            await connection.execute(insert(vault_records).values(id="one", secret=b"x", created_at=NOW))
            begun.set()
            await connection.execute(select(func.pg_sleep(60)))

    task = asyncio.create_task(write())
    await begun.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    async with machines[1].write() as connection:
        assert (await connection.execute(select(vault_records))).all() == []


async def test_many_may_open_an_empty_database_at_once(postgres: Postgres, tmp_path: Path) -> None:
    url = postgres.create()
    async with AsyncExitStack() as stack:
        opened = await asyncio.gather(
            *(
                stack.enter_async_context(Database.open(url, DataDirectory(tmp_path / str(i)), migrate=bool(i % 2)))
                for i in range(6)
            )
        )
        async with opened[5].read() as connection:
            assert (await connection.execute(select(administrators))).all() == []


async def test_the_migrations_lead_to_exactly_the_tables(postgres: Postgres, tmp_path: Path) -> None:
    async with (
        Database.open(postgres.create(), DataDirectory(tmp_path)) as database,
        database.read() as connection,
    ):
        assert await connection.run_sync(lambda c: compare_metadata(MigrationContext.configure(c), metadata)) == []


# --- the address ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("scheme", ["postgresql", "postgres", "postgresql+asyncpg"])
async def test_the_url_may_be_as_others_write_it(url: Secret, tmp_path: Path, scheme: str) -> None:
    written = url.reveal().replace("postgresql:", f"{scheme}:") + "&sslmode=disable"
    async with Database.open(Secret(written), DataDirectory(tmp_path)) as database, database.read() as connection:
        assert await connection.scalar(select(1)) == 1


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("postgresql://user:hunter2@127.0.0.1:1/name", "Connect call failed"),
        ("postgresql://user:hunter2@/name?host=/nonexistent", "No such file"),
        ("postgresql://postgres:hunter2@{here}&nonsense=1", "nonsense"),
        ("postgresql://nobody:hunter2@{here}", 'role "nobody" does not exist'),
        ("postgresql://postgres:hunter2@{here}&sslmode=nonsense", "sslmode"),
        ("postgresql://postgres:hunter2@127.0.0.1/x?sslmode=verify-full&sslrootcert=/nonexistent", "No such file"),
    ],
)
async def test_a_server_that_cannot_be_used_is_one_clear_line_without_the_password(
    postgres: Postgres, tmp_path: Path, url: str, told: str
) -> None:
    here = f"/{postgres.at_head}?host={postgres.directory}"
    with pytest.raises(StorageFailure) as failure:
        async with Database.open(Secret(url.format(here=here)), DataDirectory(tmp_path)):
            pytest.fail("opened")
    assert told in failure.value.message
    assert "hunter2" not in failure.value.message
    assert "\n" not in failure.value.message


# --- a server that goes away ----------------------------------------------------------------------------


@pytest.fixture
def own() -> Iterator[Postgres]:
    with running_postgres() as postgres:
        yield postgres


@pytest.mark.policy("K3")
async def test_while_the_server_does_not_tell_nothing_counts_as_unchanged(own: Postgres, tmp_path: Path) -> None:
    async with Database.open(own.create(), DataDirectory(tmp_path)) as database:
        await asyncio.to_thread(own.stop)
        for _ in range(3):
            await rises(database, database.generation.current)


async def test_a_server_that_comes_back_is_used_again(own: Postgres, tmp_path: Path) -> None:
    async with Database.open(own.create(), DataDirectory(tmp_path)) as database:
        await asyncio.to_thread(own.stop)
        with pytest.raises(StorageFailure, match=r"cannot be reached|failed"):
            async with database.write():
                pytest.fail("nobody is there")
        await asyncio.to_thread(own.start)
        async with database.write() as connection:
            await connection.execute(insert(vault_records).values(id="one", secret=b"x", created_at=NOW))


@pytest.mark.policy("K3")
async def test_a_server_that_hangs_counts_as_one_that_does_not_tell(own: Postgres, tmp_path: Path) -> None:
    async with Database.open(own.create(), DataDirectory(tmp_path)) as database:
        with own.hanging():
            for _ in range(3):
                await rises(database, database.generation.current)


async def test_who_asks_a_server_that_hangs_is_told_as_soon_as_one_that_cannot_connect(
    own: Postgres, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a connection from before, too: whether somebody is there is not waited for as long as a result."""
    monkeypatch.setattr(postgresql, "CONNECT_TIMEOUT", 0.5)
    async with Database.open(own.create(), DataDirectory(tmp_path)) as database:
        async with database.read(), database.read(), database.read():
            pass  # as many connections are open now, of which the follower takes one
        with own.hanging():
            async with asyncio.timeout(postgresql.IDLE_TIMEOUT / 3):
                with pytest.raises(StorageFailure, match="cannot be reached: it does not answer"):
                    async with database.read():
                        pytest.fail("it hangs")
