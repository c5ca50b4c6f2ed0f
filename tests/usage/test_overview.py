"""What the last hour, day and month took, at a glance."""

from __future__ import annotations

from datetime import timedelta, timezone

from records import NOON, record

from claude_code_api.storage.database import Database
from claude_code_api.usage.fold import add
from claude_code_api.usage.overview import overview
from claude_code_api.usage.record import Record

NOW = NOON + timedelta(minutes=10, seconds=20)


async def put(database: Database, *records: Record) -> None:
    async with database.write() as connection:
        await add(connection, records)


async def test_of_nothing_there_is_a_flat_line(database: Database) -> None:
    found = await overview(database, NOW)
    assert [len(window.points) for window in (found.hour, found.day, found.month)] == [60, 24, 30]
    for window in (found.hour, found.day, found.month):
        assert (window.total.requests, window.total.first_token_ms(0.5)) == (0, None)
        assert window.begins_at + len(window.points) * window.step > NOW >= window.begins_at


async def test_each_request_is_in_its_minute_hour_and_day(database: Database) -> None:
    ago = [timedelta(), timedelta(minutes=59), timedelta(minutes=61), timedelta(hours=23), timedelta(days=29)]
    await put(
        database,
        *(record(started_at=NOW - each, first_token_ms=90, cost=5) for each in ago),
        record(started_at=NOW - timedelta(minutes=3), status=502, first_token_ms=None, key_id="key_b"),
        record(started_at=NOW - timedelta(days=31)),
        record(started_at=NOW + timedelta(days=1)),
    )
    found = await overview(database, NOW)
    assert {n: point.requests for n, point in enumerate(found.hour.points) if point.requests} == {0: 1, 56: 1, 59: 1}
    assert found.hour.points[56].failed == found.hour.total.failed == 1
    assert {n: point.requests for n, point in enumerate(found.day.points) if point.requests} == {0: 1, 22: 2, 23: 2}
    assert {n: point.requests for n, point in enumerate(found.month.points) if point.requests} == {0: 1, 28: 1, 29: 4}
    total = found.month.total
    assert (total.requests, total.failed, total.input_tokens, total.cost) == (6, 1, 600, 5 * 5 + 1000)
    assert 75 < (total.first_token_ms(0.5) or 0) <= 100


async def test_it_is_the_same_in_every_zone(database: Database) -> None:
    await put(database, record(started_at=NOW))
    elsewhere = NOW.astimezone(timezone(timedelta(hours=5, minutes=45)))
    assert await overview(database, elsewhere) == await overview(database, NOW)
