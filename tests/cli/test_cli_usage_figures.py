"""`usage`, and what the lists of keys and credentials say of use."""

from __future__ import annotations

import asyncio
import csv
import io
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from records import days_ago, record
from sqlalchemy import update

from claude_code_api.access import Access
from claude_code_api.settings import load
from claude_code_api.stand_in import oauth_token
from claude_code_api.storage.tables import api_keys
from claude_code_api.usage.fold import add
from claude_code_api.usage.journal import Segment, encode
from claude_code_api.usage.record import Record
from claude_code_api.usage.recorder import journal_directory

Used = Callable[..., None]


@pytest.fixture
def keys(run: Any) -> dict[str, str]:
    """Ids of two keys by name, and of the credential that they stand on."""
    main = run("credentials", "add", "main", "--json", stdin=oauth_token("main")).json["id"]
    made = {name: run("keys", "create", name, "--credential", "main", "--json").json["id"] for name in ("one", "two")}
    return {**made, "main": main}


@pytest.fixture
def used(data_dir: Path, keys: dict[str, str]) -> Used:
    """Puts records of a key into the table."""

    def used(*records: Record) -> None:
        async def put() -> None:
            async with Access.open(load(data_dir=data_dir)) as access, access.database.write() as connection:
                await add(connection, records)

        asyncio.run(put())

    return used


@pytest.fixture
def made_long_ago(data_dir: Path, keys: dict[str, str]) -> None:
    async def change() -> None:
        async with Access.open(load(data_dir=data_dir)) as access, access.database.write() as connection:
            await connection.execute(update(api_keys).values(created_at=days_ago(100)))

    asyncio.run(change())


@pytest.mark.policy("K5")
def test_usage_is_shown_by_key_model_and_day(run: Any, keys: dict[str, str], used: Used) -> None:
    today = datetime.now(UTC).replace(hour=12)
    used(
        record(key_id=keys["one"], model="claude-sonnet-5-5", cost=3_000_000_000, started_at=today),
        record(key_id=keys["two"], model="claude-haiku-5-5", cost=1_000_000_000, started_at=today - timedelta(1)),
        record(key_id=keys["two"], model="claude-haiku-5-5", cost=None, status=429, started_at=today - timedelta(40)),
    )
    by_key = run("usage", "--json").json
    assert [(row["key"], row["name"], row["requests"], row["cost_usd"]) for row in by_key["rows"]] == [
        (keys["one"], "one", 1, 3.0), (keys["two"], "two", 1, 1.0),
    ]  # fmt: skip
    assert by_key["total"]["requests"] == 2
    by_model = run("usage", "--by", "model", "--since", "60d", "--json").json["rows"]
    assert [(row["model"], row["requests"], row["failed_requests"]) for row in by_model] == [
        ("claude-sonnet-5-5", 1, 0), ("claude-haiku-5-5", 2, 1),
    ]  # fmt: skip
    by_day = run("usage", "--by", "day", "--json").json["rows"]
    assert [row["day"] for row in by_day] == [f"{today - timedelta(1):%Y-%m-%d}", f"{today:%Y-%m-%d}"]
    (of_one,) = run("usage", "--key", "one", "--by", "model", "--json").json["rows"]
    assert of_one["model"] == "claude-sonnet-5-5"


def test_a_table_has_totals_and_says_what_cost_means(run: Any, keys: dict[str, str], used: Used) -> None:
    now = datetime.now(UTC)
    used(
        record(key_id=keys["one"], cost=1_234_500_000, started_at=now, input_tokens=12345),
        record(key_id=keys["two"], cost=None, started_at=now),
    )
    ran = run("usage")
    heading, one, two, total = ran.out.splitlines()
    assert heading.split()[:2] == ["Key", "Requests"]
    assert one.split()[:4] == ["one", "1", "0", "12,345"]
    assert "$1.2345 " in one
    assert "$0.0000+" in two
    assert total.split()[:2] == ["Total", "2"]
    assert "For OAuth tokens it is what the API would have cost" in ran.err
    assert "The price of 1 requests is not known" in ran.err


def test_csv_has_one_line_for_each_key(run: Any, keys: dict[str, str], used: Used) -> None:
    used(record(key_id=keys["one"], started_at=datetime.now(UTC)))
    (row,) = csv.DictReader(io.StringIO(run("usage", "--csv").out))
    assert (row["key"], row["name"], row["requests"], row["output_tokens"]) == (keys["one"], "one", "1", "20")


def test_where_nothing_was_used_it_says_so(run: Any, keys: dict[str, str]) -> None:
    ran = run("usage")
    assert (ran.status, ran.out, ran.err) == (0, "", "Nothing was used in that time.\n")
    assert run("usage", "--json").json["rows"] == []


@pytest.mark.parametrize("wrong", [("--by", "hour"), ("--since", "soon"), ("--key",)])
def test_wrong_use_is_told(run: Any, keys: dict[str, str], wrong: tuple[str, ...]) -> None:
    assert run("usage", *wrong).status == 2


def test_an_unknown_key_is_one_line(run: Any, keys: dict[str, str]) -> None:
    assert run("usage", "--key", "three").failure == "There is no API key 'three'."


def test_what_a_killed_gateway_left_is_counted(run: Any, keys: dict[str, str], data_dir: Path) -> None:
    segment = Segment.create(journal_directory(load(data_dir=data_dir)))
    segment.append(encode(record(key_id=keys["one"], started_at=datetime.now(UTC))))
    segment.leave()
    assert run("usage", "--json").json["total"]["requests"] == 1


# --- last use -------------------------------------------------------------------------------------------


@pytest.mark.policy("K4")
def test_a_key_shows_its_name_its_maker_its_creation_and_its_last_use(
    run: Any, keys: dict[str, str], used: Used
) -> None:
    assert run("keys", "show", "one", "--json").json["last_used_at"] is None
    last = days_ago(1).replace(microsecond=0)
    used(*(record(key_id=keys["one"], started_at=last - timedelta(hours=n)) for n in range(3)))
    shown = run("keys", "show", "one", "--json").json
    assert (shown["name"], shown["created_by"]) == ("one", "command line")
    assert datetime.fromisoformat(shown["created_at"])
    assert datetime.fromisoformat(shown["last_used_at"]) == last
    one, two = run("keys", "list", "--json").json
    assert (one["last_used_at"], two["last_used_at"]) == (shown["last_used_at"], None)
    assert f"{last:%Y-%m-%d %H:%M} UTC" in run("keys", "list").out.splitlines()[1]


@pytest.mark.policy("K5")
def test_keys_that_nobody_has_used_for_90_days_are_pointed_out(
    run: Any, keys: dict[str, str], made_long_ago: None, used: Used
) -> None:
    used(record(key_id=keys["one"], started_at=days_ago(91)), record(key_id=keys["two"], started_at=days_ago(89)))
    assert {key["name"]: key["unused"] for key in run("keys", "list", "--json").json} == {"one": True, "two": False}
    ran = run("keys", "list")
    assert [line.split()[0] for line in ran.out.splitlines() if "unused for 90 days" in line] == ["one"]
    assert "1 of them has not been used for 90 days" in ran.err
    assert run("keys", "revoke", "one").status == 0
    assert "90 days" not in run("keys", "list").err, "what is revoked needs nothing more"


def test_a_key_that_was_never_used_counts_from_its_creation(
    run: Any, keys: dict[str, str], made_long_ago: None
) -> None:
    assert [key["unused"] for key in run("keys", "list", "--json").json] == [True, True]
    assert "2 of them have not been used for 90 days" in run("keys", "list").err


@pytest.mark.policy("T6")
def test_a_credential_shows_its_last_use_and_the_keys_that_use_it(run: Any, keys: dict[str, str], used: Used) -> None:
    assert run("credentials", "add", "spare", stdin=oauth_token("spare")).status == 0
    last = days_ago(2).replace(microsecond=0)
    used(
        record(key_id=keys["two"], credential_id=keys["main"], started_at=last),
        record(key_id=keys["one"], credential_id=keys["main"], started_at=last - timedelta(1)),
    )
    main, spare = run("credentials", "list", "--json").json
    assert (datetime.fromisoformat(main["last_used_at"]), main["keys"]) == (last, ["one", "two"])
    assert (spare["last_used_at"], spare["keys"]) == (None, [])
    _, line, _ = run("credentials", "list").out.splitlines()
    assert f"{last:%Y-%m-%d %H:%M} UTC" in line
    assert "one, two" in line
    for name in ("three", "four"):
        run("keys", "create", name, "--credential", "main")
    assert "one, two, three and 1 more" in run("credentials", "list").out
    assert run("keys", "revoke", "one").status == 0
    assert run("credentials", "list", "--json").json[0]["keys"] == ["two", "three", "four"]


# --- export and erasure ---------------------------------------------------------------------------------


@pytest.mark.policy("L6")
def test_all_that_is_recorded_of_a_key_can_be_exported(run: Any, keys: dict[str, str], used: Used) -> None:
    now = datetime.now(UTC)
    used(record(key_id=keys["one"], started_at=now, request_id="req_mine"), record(key_id=keys["two"], started_at=now))
    told = run("usage", "export", "--key", "one", "--json").json
    assert (told["key"]["id"], [row["request_id"] for row in told["requests"]]) == (keys["one"], ["req_mine"])
    assert (len(told["hours"]), len(told["last_uses"])) == (1, 1)
    assert datetime.fromisoformat(told["requests"][0]["started_at"]) == now
    (row,) = csv.DictReader(io.StringIO(run("usage", "export", "--key", "one").out))
    assert (row["request_id"], row["model"], row["cost_usd"]) == ("req_mine", "claude-sonnet-5-5", "1e-06")
    empty = run("usage", "export", "--key", keys["two"], "--json").json
    assert len(empty["requests"]) == 1


@pytest.mark.policy("L6")
def test_all_that_is_recorded_of_a_key_can_be_erased_and_nothing_of_another(
    run: Any, keys: dict[str, str], used: Used, data_dir: Path
) -> None:
    now = datetime.now(UTC)
    used(*(record(key_id=keys[name], started_at=now) for name in ("one", "one", "two")))
    left = Segment.create(journal_directory(load(data_dir=data_dir)))  # by a gateway that was killed
    left.append(encode(record(key_id=keys["one"], started_at=now)))
    left.leave()
    assert run("usage", "erase", "--key", "one", "--json").json == {"key": keys["one"], "erased_requests": 3}
    told = run("usage", "export", "--key", "one", "--json").json
    assert (told["requests"], told["hours"], told["last_uses"]) == ([], [], [])
    assert run("keys", "show", "one", "--json").json["last_used_at"] is None
    (two,) = run("usage", "--json").json["rows"]
    assert (two["name"], two["requests"]) == ("two", 1)
    assert "0 requests" in run("usage", "erase", "--key", "one").out
    assert run("usage", "erase", "--key", "three").failure == "There is no API key 'three'."


def test_sums_by_the_hour_can_be_made_anew(run: Any, keys: dict[str, str], used: Used) -> None:
    used(record(key_id=keys["one"], started_at=days_ago(1)))
    before = run("usage", "--json").json["rows"]
    assert run("usage", "rebuild").out == "Added up 1 hours anew.\n"
    assert run("usage", "rebuild", "--json").json == {"hours": 1}
    assert run("usage", "--json").json["rows"] == before
