"""What is past its time goes, what is not stays; sums can be made anew; what is exported is all there is."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from records import NOON, days_ago, record
from sqlalchemy import delete, update
from tallying import count_in, one_answer

from claude_code_api.errors import StorageFailure
from claude_code_api.settings import given_only
from claude_code_api.storage import database as database_module
from claude_code_api.storage.database import Database
from claude_code_api.storage.tables import usage_hours, usage_records
from claude_code_api.usage import export
from claude_code_api.usage import recorder as recorder_module
from claude_code_api.usage.export import rows_of
from claude_code_api.usage.fold import add, rebuild_hours
from claude_code_api.usage.recorder import Recorder, settle
from claude_code_api.usage.retention import tidy


async def put(database: Database, *records: Any) -> None:
    async with database.write() as connection:
        await add(connection, records)


@pytest.mark.policy("L6")
async def test_records_and_hours_past_their_time_are_deleted_in_small_groups(
    database: Database, rows: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database_module, "DELETED_AT_ONCE", 3)
    kept = [record(started_at=days_ago(days)) for days in (0, 29.9)]
    await put(database, *kept, *(record(started_at=days_ago(days)) for days in (30.1, 31, 40, 50, 60, 390, 400, 500)))
    await tidy(database, given_only())
    assert {row["request_id"] for row in await rows(usage_records)} == {each.request_id for each in kept}
    oldest = min(row["hour"] for row in await rows(usage_hours))
    assert days_ago(391) < oldest < days_ago(389)
    assert len(await rows(usage_hours)) == 8


async def test_how_long_is_a_setting(database: Database, rows: Any) -> None:
    await put(database, *(record(started_at=days_ago(days)) for days in (1, 3, 5)))
    await tidy(database, given_only(usage_days=2, usage_hours_days=4))
    assert (len(await rows(usage_records)), len(await rows(usage_hours))) == (1, 2)


async def test_a_recorder_tidies_by_itself(database: Database, tmp_path: Path) -> None:
    await put(database, record(started_at=days_ago(31)))
    async with Recorder.open(given_only(data_dir=tmp_path), database), asyncio.timeout(20):
        while await count_in(database):
            await asyncio.sleep(0.01)


async def test_hours_can_be_added_up_anew_as_often_as_one_likes(database: Database, rows: Any) -> None:
    since = NOON - timedelta(days=1)
    await put(
        database,
        record(started_at=since),  # in an hour that has lost a part of its records, perhaps
        *(record(started_at=NOON + timedelta(minutes=10 * n), cost=None if n % 2 else 7) for n in range(12)),
    )
    right = await rows(usage_hours)
    async with database.write() as connection:
        await connection.execute(update(usage_hours).where(usage_hours.c.hour > NOON).values(requests=99))
        await connection.execute(delete(usage_hours).where(usage_hours.c.hour == NOON.replace(minute=0)))
    assert await rows(usage_hours) != right
    for _ in range(2):
        assert await rebuild_hours(database, since) == 3
        assert await rows(usage_hours) == right


async def test_an_export_has_every_row_of_the_key_and_no_other(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(export, "PAGE", 3)
    mine = [record(cost=1_500_000_000) for _ in range(7)]
    await put(database, *mine, record(key_id="other"))
    found = [row async for row in rows_of(database, usage_records, "key_a")]
    assert sorted(row["request_id"] for row in found) == sorted(each.request_id for each in mine)
    assert {row["cost_usd"] for row in found} == {1.5}
    (hour,) = [row async for row in rows_of(database, usage_hours, "key_a")]
    assert hour["requests"] == 7


async def test_settling_waits_for_what_a_server_has_only_just_written_down(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recorder_module, "INTERVAL", 0.05)
    settings = given_only(data_dir=tmp_path)
    async with Recorder.open(settings, database) as recorder:
        one_answer(recorder, "req_now")
        await settle(settings, database)
        assert await count_in(database) == 1
        await settle(settings, database)  # of nothing: at once


async def test_settling_fails_where_the_server_does_not_get_it_done(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recorder_module, "INTERVAL", 3600)
    monkeypatch.setattr(recorder_module, "SETTLE_TIMEOUT", 0.1)
    settings = given_only(data_dir=tmp_path)
    async with Recorder.open(settings, database) as recorder:
        one_answer(recorder, "req_now")
        with pytest.raises(StorageFailure, match="server that runs"):
            await settle(settings, database)
