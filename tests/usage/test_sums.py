"""Sums in every grain agree with the records, whatever is added, erased, added up anew or left out by time."""

from __future__ import annotations

from collections import Counter
from datetime import datetime, timedelta
from pathlib import Path
from random import Random
from typing import Any

import pytest
from alembic.operations import Operations
from alembic.runtime.migration import MigrationContext
from records import NOON, days_ago, record
from sqlalchemy import Connection, delete, select, update

from claude_code_api.access import Access
from claude_code_api.settings import Settings, given_only
from claude_code_api.storage import database as database_module
from claude_code_api.storage.database import Database
from claude_code_api.storage.migrations.versions import r0008_usage_sums as migration
from claude_code_api.storage.tables import USAGE_SUMS, usage_days, usage_hours, usage_totals
from claude_code_api.usage import erasure
from claude_code_api.usage.fold import add, rebuild_hours
from claude_code_api.usage.record import Record
from claude_code_api.usage.retention import tidy
from claude_code_api.usage.sums import BEGIN_OF, day_of


def many(number: int = 300, begin: datetime = NOON) -> list[Record]:
    """Of four days, some keys, models and outcomes."""
    chance = Random(1)
    return [
        record(
            started_at=begin + timedelta(seconds=chance.randrange(4 * 86_400)),
            key_id=chance.choice(["key_a", "key_b", "key_c"]),
            credential_id=chance.choice(["cred_a", "cred_b"]),
            model=chance.choice(["m", "n", ""]),
            status=chance.choice([200, 200, 502]),
            cost=chance.choice([None, 7, 100]),
            first_token_ms=chance.choice([None, 3, 800, 10**6]),
            input_tokens=chance.randrange(1000),
        )
        for _ in range(number)
    ]


async def put(database: Database, records: list[Record]) -> None:
    async with database.write() as connection:
        await add(connection, records)


def counted(table_rows: list[dict[str, Any]], *names: str) -> dict[Any, tuple[int, int]]:
    """Requests and input tokens by the given columns."""
    found: dict[Any, tuple[int, int]] = {}
    for row in table_rows:
        key = tuple(row[name] for name in names)
        assert key not in found
        found[key] = row["requests"], row["input_tokens"]
    return found


def expected(records: list[Record], key: Any) -> dict[Any, tuple[int, int]]:
    requests: Counter[Any] = Counter()
    tokens: Counter[Any] = Counter()
    for each in records:
        requests[key(each)] += 1
        tokens[key(each)] += each.input_tokens
    return {group: (requests[group], tokens[group]) for group in requests}


async def agrees(rows: Any, records: list[Record], spans: tuple[Any, ...] = ("minute", "hour", "day")) -> None:
    totals = await rows(usage_totals)
    for span in spans:
        begin_of = BEGIN_OF[span]
        assert counted(
            [row for row in totals if row["span"] == span], "begins_at", "credential_id", "model", "status"
        ) == expected(records, lambda r, b=begin_of: (b(r.started_at), r.credential_id, r.model, r.status))
    days = await rows(usage_days)
    assert counted(days, "key_id", "day") == expected(records, lambda r: (r.key_id, day_of(r.started_at)))
    assert sum(day["failed"] for day in days) == sum(each.status != 200 for each in records)
    for name in USAGE_SUMS:
        assert sum(day[name] for day in days) == sum(hour[name] for hour in await rows(usage_hours)), name


async def test_every_grain_counts_each_request_once(database: Database, rows: Any) -> None:
    records = many()
    for n in range(0, len(records), 50):
        await put(database, records[n : n + 70])  # some come twice
    await agrees(rows, records)


async def test_what_is_added_up_anew_is_right_whatever_stood_there(database: Database, rows: Any) -> None:
    records = many()
    await put(database, records)
    async with database.write() as connection:
        for table in (usage_hours, usage_days, usage_totals):
            await connection.execute(update(table).values(requests=99))
        await connection.execute(delete(usage_days).where(usage_days.c.key_id == "key_a"))
    await rebuild_hours(database, NOON - timedelta(days=1))
    await agrees(rows, records, ("hour", "day"))


async def test_a_database_of_before_gets_its_sums_from_its_hours(database: Database, rows: Any) -> None:
    records = many()
    await put(database, records)

    def migrate(connection: Connection) -> None:
        with Operations.context(MigrationContext.configure(connection)):
            migration.fill(usage_totals, usage_days)

    async with database.write() as connection:
        await connection.execute(delete(usage_totals))
        await connection.execute(delete(usage_days))
        await connection.run_sync(migrate)
    await agrees(rows, records, ("hour", "day"))


@pytest.mark.policy("L6")
async def test_what_is_erased_of_a_key_leaves_the_sums_of_all_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(erasure, "DELETED_AT_ONCE", 7)
    records = many()
    left = [each for each in records if each.key_id != "key_a"]
    async with Access.open(Settings(data_dir=tmp_path / "data")) as access:

        async def rows(table: Any) -> list[dict[str, Any]]:
            async with access.database.read() as connection:
                return [dict(row) for row in (await connection.execute(select(table))).mappings()]

        await put(access.database, records)
        erased = await erasure.erase(access.database, access.audit, "key_a", "laptop", by="anna")
        assert erased == len(records) - len(left)
        await agrees(rows, left, ("hour", "day"))
        (entry,) = await access.audit.entries()
        assert (entry.actor, entry.action, entry.target) == ("anna", "key.usage_erased", "key_a")
        assert entry.said == {"name": "laptop", "requests": erased}


@pytest.mark.policy("L6")
async def test_sums_past_their_time_are_deleted(database: Database, rows: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(database_module, "DELETED_AT_ONCE", 2)
    await put(database, [record(started_at=days_ago(days)) for days in (0, 0.05, 0.5, 3, 9, 20, 21, 22)])
    await tidy(database, given_only(usage_days=1, usage_hours_days=5))
    spans = Counter(row["span"] for row in await rows(usage_totals))
    assert (spans["minute"], spans["hour"]) == (2, 4)
    assert len(await rows(usage_hours)) == 4
    assert {row["day"] for row in await rows(usage_days)} == {day_of(days_ago(days)) for days in (0, 0.05, 0.5, 3)}
