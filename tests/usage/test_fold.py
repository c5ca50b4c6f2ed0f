"""What gets from the journal into the tables: each request once, and sums that agree with the records."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from msgspec import structs
from records import NOON, record
from structlog.testing import capture_logs

from claude_code_api.errors import StorageFailure
from claude_code_api.storage.database import Database
from claude_code_api.storage.tables import FIRST_TOKEN_BOUNDS, usage_hours, usage_last_uses, usage_records
from claude_code_api.usage import fold as fold_module
from claude_code_api.usage.fold import add, fold
from claude_code_api.usage.journal import Segment, encode
from claude_code_api.usage.record import Record


def segment_of(journal: Path, *records: Record, torn: bytes = b"") -> Segment:
    segment = Segment.create(journal)
    for each in records:
        segment.append(encode(each))
    if torn:
        segment.append(torn)
    return segment


async def test_a_segment_is_deleted_once_its_records_are_in_the_table(
    database: Database, rows: Any, journal: Path
) -> None:
    records = [record(), record(status=429, error="rate_limit_exceeded", first_token_ms=None, cost=None)]
    segment = segment_of(journal, *records)
    await fold(database, segment)
    assert await rows(usage_records) == [structs.asdict(each) for each in records]
    assert not segment.path.exists()


async def test_a_request_counts_once_however_often_it_is_read(database: Database, rows: Any, journal: Path) -> None:
    records = [record() for _ in range(3)]
    for _ in range(2):
        await fold(database, segment_of(journal, *records, records[0], torn=encode(record())[:40]))
    assert len(await rows(usage_records)) == 3
    (hour,) = await rows(usage_hours)
    assert (hour["requests"], hour["input_tokens"], hour["cost"]) == (3, 300, 3000)


async def test_damaged_lines_are_told_of(database: Database, rows: Any, journal: Path) -> None:
    with capture_logs() as logs:
        await fold(database, segment_of(journal, record(), torn=b"x\ny\nz"))
    assert [(line["log_level"], line["lines"]) for line in logs] == [("warning", 3)]
    assert len(await rows(usage_records)) == 1


async def test_a_group_that_fails_leaves_the_segment_and_comes_again_whole(
    database: Database, rows: Any, journal: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fold_module, "GROUP", 2)
    segment = segment_of(journal, *(record() for _ in range(5)))
    real, groups = fold_module.add_to_all, iter([True, False])

    async def failing(*given: Any) -> None:
        await real(*given)
        if not next(groups):
            raise StorageFailure("The disk is full.")

    monkeypatch.setattr(fold_module, "add_to_all", failing)
    with pytest.raises(StorageFailure):
        await fold(database, segment)
    assert len(await rows(usage_records)) == 2
    assert segment.path.exists()
    monkeypatch.setattr(fold_module, "add_to_all", real)
    await fold(database, segment)
    assert len(await rows(usage_records)) == sum(hour["requests"] for hour in await rows(usage_hours)) == 5


async def test_processes_that_fold_at_once_lose_and_double_nothing(
    database: Database, rows: Any, journal: Path
) -> None:
    segments = [segment_of(journal, *(record() for _ in range(20))) for _ in range(5)]
    await asyncio.gather(*(fold(database, segment) for segment in segments))
    assert len(await rows(usage_records)) == sum(hour["requests"] for hour in await rows(usage_hours)) == 100


async def test_hours_are_sums_by_key_credential_model_and_status(database: Database, rows: Any) -> None:
    async with database.write() as connection:
        await add(
            connection,
            [
                record(first_token_ms=10),
                record(first_token_ms=11, cost=None),
                record(first_token_ms=10**6),
                record(first_token_ms=None, status=502),
                record(model="claude-haiku-5-5"),
                record(key_id="key_b"),
                record(credential_id="cred_b"),
                record(started_at=NOON + timedelta(minutes=30)),
            ],
        )
    hours = await rows(usage_hours)
    assert [hour["requests"] for hour in hours] == [1, 3, 1, 1, 1, 1]
    usual = hours[1]
    assert usual["hour"] == NOON.replace(minute=0)
    assert {name: usual[name] for name in ("input_tokens", "cost", "unpriced", "duration_ms")} == {
        "input_tokens": 300, "cost": 2000, "unpriced": 1, "duration_ms": 2700,
    }  # fmt: skip
    first_tokens = [usual[f"first_token_{n}"] for n in range(len(FIRST_TOKEN_BOUNDS) + 1)]
    assert [n for n, count in enumerate(first_tokens) if count] == [0, 1, len(FIRST_TOKEN_BOUNDS)]


async def test_the_last_use_of_a_key_and_a_credential_never_goes_back(database: Database, rows: Any) -> None:
    for minutes in (10, 5, 20, 15):
        async with database.write() as connection:
            await add(connection, [record(started_at=NOON + timedelta(minutes=minutes)), record(credential_id="b")])
    assert [(row["credential_id"], row["used_at"]) for row in await rows(usage_last_uses)] == [
        ("b", NOON), ("cred_a", NOON + timedelta(minutes=20)),
    ]  # fmt: skip
