"""Figures by key, model and day, as the records say."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from records import NOON, record

from claude_code_api.storage.database import Database
from claude_code_api.storage.tables import FIRST_TOKEN_BOUNDS
from claude_code_api.usage.fold import add
from claude_code_api.usage.report import Figures, report

LONG_AGO = datetime(2020, 1, 1, tzinfo=UTC)


async def put(database: Database, *records: Any) -> None:
    async with database.write() as connection:
        await add(connection, records)


async def test_lines_are_sums_the_dearest_first(database: Database) -> None:
    await put(
        database,
        record(key_id="a", cost=1),
        record(key_id="b", cost=5),
        record(key_id="b", cost=None, status=502, first_token_ms=None),
    )
    first, second = await report(database, "key", LONG_AGO)
    assert (first.id, second.id) == ("b", "a")
    figures = first.figures
    assert (figures.requests, figures.failed, figures.cost, figures.unpriced) == (2, 1, 5, 1)
    assert (figures.input_tokens, figures.output_tokens, figures.reasoning_tokens) == (200, 40, 10)
    assert (figures.cache_read_tokens, figures.cache_write_tokens) == (6, 4)
    assert sum(figures.first_tokens) == 1
    assert Figures.sum([first.figures, second.figures]).requests == 3


async def test_days_are_in_utc_and_in_their_order(database: Database) -> None:
    midnight = NOON.replace(hour=0, minute=0)
    await put(
        database,
        record(started_at=midnight),
        record(started_at=midnight - timedelta(seconds=1)),
        record(started_at=midnight + timedelta(hours=23)),
    )
    lines = await report(database, "day", LONG_AGO)
    assert [(line.id, line.figures.requests) for line in lines] == [("2026-03-03", 1), ("2026-03-04", 2)]


async def test_only_what_was_asked_for_counts_from_the_full_hour_on(database: Database) -> None:
    await put(
        database,
        record(model="old", started_at=NOON - timedelta(hours=1)),
        record(model="new", started_at=NOON - timedelta(minutes=29)),
        record(model="new", key_id="b"),
    )
    assert [line.id for line in await report(database, "model", NOON)] == ["new"]
    (line,) = await report(database, "model", NOON, key_id="b")
    assert line.figures.requests == 1


async def test_of_nothing_there_are_no_lines(database: Database) -> None:
    assert await report(database, "key", LONG_AGO) == []
    assert Figures.sum([]) == Figures()
    assert Figures().first_token_ms(0.5) is None


@given(st.lists(st.integers(0, 40_000), min_size=1), st.sampled_from([50, 95]))
def test_a_percentile_lies_in_the_bucket_of_the_true_one(times: list[int], percent: int) -> None:
    def bucket(ms: float) -> int:
        return sum(bound < ms for bound in FIRST_TOKEN_BOUNDS)

    counts = [0] * (len(FIRST_TOKEN_BOUNDS) + 1)
    for ms in times:
        counts[bucket(ms)] += 1
    found = Figures(first_tokens=tuple(counts)).first_token_ms(percent / 100)
    ordered = sorted(times)
    below = ordered[max(0, -(-percent * len(times) // 100) - 1)]  # the nearest rank
    assert found is not None
    assert bucket(found) in {bucket(below), bucket(below) - 1}, "a bound belongs to the bucket below it"


@pytest.mark.parametrize(("share", "expected"), [(0.5, 75), (1.0, 100), (0.25, 62)])
def test_within_a_bucket_times_count_as_evenly_spread(share: float, expected: int) -> None:
    counts = [0] * (len(FIRST_TOKEN_BOUNDS) + 1)
    counts[FIRST_TOKEN_BOUNDS.index(75)] = 2  # from 50 to 75
    counts[FIRST_TOKEN_BOUNDS.index(100)] = 2
    assert Figures(first_tokens=tuple(counts)).first_token_ms(share) == expected
