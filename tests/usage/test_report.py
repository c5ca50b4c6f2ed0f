"""Figures by key, model and day, as the records say."""

from __future__ import annotations

import csv
import io
from datetime import UTC, datetime, timedelta
from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st
from records import NOON, record

from claude_code_api.errors import InvalidRequest
from claude_code_api.storage.database import Database
from claude_code_api.storage.pages import cursor_of
from claude_code_api.storage.tables import FIRST_TOKEN_BOUNDS, api_keys, credentials
from claude_code_api.usage.figures import Figures
from claude_code_api.usage.fold import add
from claude_code_api.usage.record import Record
from claude_code_api.usage.report import as_csv, report, spenders
from claude_code_api.usage.sources import By, Filter

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
    first, second = await report(database, "key", Filter(since=LONG_AGO))
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
    lines = await report(database, "day", Filter(since=LONG_AGO))
    assert [(line.id, line.figures.requests) for line in lines] == [("2026-03-03", 1), ("2026-03-04", 2)]


async def test_only_what_was_asked_for_counts_from_the_full_hour_on(database: Database) -> None:
    await put(
        database,
        record(model="old", started_at=NOON - timedelta(hours=1)),
        record(model="new", started_at=NOON - timedelta(minutes=29)),
        record(model="new", key_id="b"),
    )
    assert [line.id for line in await report(database, "model", Filter(since=NOON))] == ["new"]
    (line,) = await report(database, "model", Filter(since=NOON, key_id="b"))
    assert line.figures.requests == 1


async def test_of_nothing_there_are_no_lines(database: Database) -> None:
    assert await report(database, "key", Filter(since=LONG_AGO)) == []
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


# --- whatever is asked for ------------------------------------------------------------------------------


async def spread(database: Database) -> list[Record]:
    """Requests of ten days, every seven hours and a half; of a key for each credential."""
    records = [
        record(
            started_at=NOON + timedelta(hours=7.5 * n), key_id=f"key_{n % 3}", credential_id=f"cred_{n % 3}",
            model="mn"[n % 2], cost=n, status=200 if n % 5 else 502,
        )
        for n in range(32)
    ]  # fmt: skip
    await put(database, *records)
    return records


HOURS = [0, 0.5, 11.5, 12, 35.5, 36, 100, 131.5]


@pytest.mark.parametrize("filtered", [{}, {"key_id": "key_1"}, {"model": "n"}, {"credential_id": "cred_2"}])
async def test_every_way_to_ask_adds_up_to_the_records(database: Database, filtered: dict[str, str]) -> None:
    if "credential_id" in filtered:
        await keys_of(database, {f"key_{n}": (f"key {n}", f"cred_{n}") for n in range(3)})
    records = await spread(database)
    for since in (NOON - timedelta(minutes=30) + timedelta(hours=hour) for hour in HOURS):
        for length in (None, *HOURS):
            until = None if length is None else since + timedelta(hours=length)
            begin, end = whole_hours(since, until)
            fitting = [
                each for each in records
                if begin <= each.started_at < end and all(getattr(each, n) == v for n, v in filtered.items())
            ]  # fmt: skip
            for by in get_args(By):
                lines = await report(database, by, Filter(since=since, until=until, **filtered))
                total = Figures.sum(line.figures for line in lines)
                assert (total.requests, total.cost) == (len(fitting), sum(each.cost or 0 for each in fitting))
                assert total.failed == sum(each.status != 200 for each in fitting)
                assert len({line.id for line in lines}) == len(lines)


def whole_hours(since: datetime, until: datetime | None) -> tuple[datetime, datetime]:
    begin = since.replace(minute=0)
    if until is None:
        return begin, datetime.max.replace(tzinfo=UTC)
    return begin, until if until.minute == 0 else until.replace(minute=0) + timedelta(hours=1)


async def keys_of(database: Database, keys: dict[str, tuple[str, str]]) -> None:
    """Keys by id: name and credential."""
    async with database.write() as connection:
        for credential in {credential for _, credential in keys.values()}:
            row = {"id": credential, "name": f"name of {credential}", "kind": "oauth", "hint": "", "created_at": NOON}
            await connection.execute(credentials.insert().values(row))
        for key_id, (name, credential) in keys.items():
            row = {
                "id": key_id, "name": name, "hash": key_id.encode(), "checksummed": True, "hint": "",
                "credential_id": credential, "models": [], "created_at": NOON, "created_by": "",
            }  # fmt: skip
            await connection.execute(api_keys.insert().values(row))


async def test_credentials_and_keys_are_shown_by_name(database: Database) -> None:
    await keys_of(database, {"key_0": ("laptop", "cred_0")})
    await put(database, record(key_id="key_0", credential_id="cred_0"), record(key_id="key_9", credential_id=""))
    by_key = await report(database, "key", Filter(since=LONG_AGO))
    assert {line.id: line.name for line in by_key} == {"key_0": "laptop", "key_9": "key_9"}
    by_credential = await report(database, "credential", Filter(since=LONG_AGO))
    assert {line.id: line.name for line in by_credential} == {"cred_0": "name of cred_0", "": ""}


async def test_those_who_spend_most_come_first_page_by_page(database: Database) -> None:
    costs = {"key_0": 5, "key_1": 9, "key_7f": 5, "key_80": None, "key_a": 1, "key_c": 9, "key_f": 0}
    order = ["key_c", "key_1", "key_7f", "key_0", "key_a", "key_f", "key_80"]
    in_a = {"key_1", "key_80", "key_c"}
    names = {key: (f"program {key}", "cred_a" if key in in_a else "cred_b") for key in costs}
    await keys_of(database, names)
    await put(database, *(record(key_id=key, cost=cost) for key, cost in costs.items()), record(key_id="key_f", cost=0))
    asked = Filter(since=NOON)
    found, page = [], await spenders(database, asked, limit=2)
    while True:
        assert page.total == 7
        found += page.items
        if page.next is None:
            break
        page = await spenders(database, asked, limit=2, after=page.next)
    assert [line.id for line in found] == order
    assert found == [line for key in order for line in await report(database, "key", asked) if line.id == key]
    assert found[0].name == "program key_c"
    theirs = await spenders(database, Filter(since=NOON, credential_id="cred_a"))
    assert [line.id for line in theirs.items] == [key for key in order if key in in_a]
    of_model = await spenders(database, Filter(since=NOON, model="none"))
    assert (of_model.items, of_model.total, of_model.next) == ((), 0, None)


async def test_those_who_spend_most_are_told_by_whole_days(database: Database) -> None:
    await put(database, *(record(key_id=f"key_{n}", started_at=NOON + timedelta(days=n)) for n in range(4)))
    page = await spenders(database, Filter(since=NOON + timedelta(days=1, hours=3), until=NOON + timedelta(days=2)))
    assert {line.id for line in page.items} == {"key_1", "key_2"}
    to_midnight = Filter(since=NOON, until=NOON.replace(hour=0, minute=0) + timedelta(days=1))
    assert [line.id for line in (await spenders(database, to_midnight)).items] == ["key_0"]


async def test_a_wrong_cursor_is_told(database: Database) -> None:
    too_large = cursor_of(2**63, 1, "key")
    for cursor in ("x", "WzFd", cursor_of("a", 1, "key"), cursor_of(1, 2, "key", 3), too_large):
        with pytest.raises(InvalidRequest) as failure:
            await spenders(database, Filter(since=NOON), after=cursor)
        assert failure.value.code == "invalid_cursor"


async def test_comma_separated_values_are_no_formulas(database: Database) -> None:
    names = ["=1+1", "+1", "-1", "@SUM(A1)", 'a "quoted", one', "plain - one"]
    await keys_of(database, {f"key_{n}": (name, "cred_a") for n, name in enumerate(names)})
    await put(database, *(record(key_id=f"key_{n}", cost=100 - n) for n in range(len(names))))
    text = "".join(as_csv("key", await report(database, "key", Filter(since=NOON))))
    assert text.count("\r\n") == len(names) + 1
    head, *rows = list(csv.reader(io.StringIO(text)))
    assert head[:4] == ["key", "name", "requests", "failed_requests"]
    assert [row[1] for row in rows] == ["'=1+1", "'+1", "'-1", "'@SUM(A1)", 'a "quoted", one', "plain - one"]
    assert rows[0][head.index("cost_usd")] == "1e-07"
    assert {len(row) for row in rows} == {len(head)}
