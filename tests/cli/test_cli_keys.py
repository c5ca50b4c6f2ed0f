"""`keys`: made, listed, shown and revoked, and their text shown once."""

from __future__ import annotations

import asyncio
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest
import typer

from claude_code_api.access import Access, ApiKey
from claude_code_api.cli.keys import LONGEST_DAYS, duration, state
from claude_code_api.errors import Unauthenticated
from claude_code_api.secret import Secret
from claude_code_api.settings import load
from claude_code_api.stand_in import oauth_token


@pytest.fixture(autouse=True)
def _credential(run: Any) -> None:
    assert run("credentials", "add", "main", stdin=oauth_token("main")).status == 0


def verify(data_dir: Path, text: str) -> ApiKey:
    """The key, as a gateway on this data directory would take it."""

    async def work() -> ApiKey:
        async with Access.open(load(data_dir=data_dir)) as access:
            return await access.keys.verify(Secret(text))

    return asyncio.run(work())


def test_a_key_is_printed_once_and_alone_on_standard_output(run: Any, data_dir: Path) -> None:
    ran = run("keys", "create", "program", "--credential", "main")
    key = ran.out.removesuffix("\n")
    assert re.fullmatch(r"sk-[0-9A-Za-z]{48}", key)
    assert verify(data_dir, key).name == "program"
    assert key not in ran.err
    assert "OPENAI_API_KEY, and OPENAI_BASE_URL as `serve` prints it" in ran.err
    assert "8000" not in ran.err  # a server may listen on any port
    for command in (["list"], ["list", "--json"], ["show", "program"], ["show", "program", "--json"]):
        later = run("keys", *command)
        assert key[-4:] in later.out
        assert key[-8:] not in later.out + later.err


def test_json_is_one_document_with_the_key(run: Any, data_dir: Path) -> None:
    ran = run(
        "keys", "create", "program", "--credential", "main", "--model", "sonnet", "--model", "haiku",
        "--rate-limit", "10/minute", "--max-concurrent", "3", "--expires", "30d", "--json",
    )  # fmt: skip
    assert ran.err == ""
    made = ran.json
    assert verify(data_dir, made["key"]).id == made["id"]
    assert (made["name"], made["models"]) == ("program", ["sonnet", "haiku"])
    assert (made["rate_limit"], made["max_concurrent"]) == ("10/minute", 3)
    lasts = datetime.fromisoformat(made["expires_at"]) - datetime.now(UTC)
    assert timedelta(days=29) < lasts < timedelta(days=30)
    assert {**run("keys", "show", made["id"], "--json").json, "key": made["key"]} == made


def test_a_revoked_key_is_refused(run: Any, data_dir: Path) -> None:
    one = run("keys", "create", "one", "--credential", "main", "--json").json
    two = run("keys", "create", "two", "--credential", "main", "--json").json
    assert run("keys", "revoke", one["id"]).out == f"Revoked the key 'one' ({one['id']}).\n"
    with pytest.raises(Unauthenticated):
        verify(data_dir, one["key"])
    assert verify(data_dir, two["key"]).name == "two"
    assert run("keys", "revoke", "two", "--json").json["revoked_at"] is not None


def test_the_list_is_a_table_for_people(run: Any) -> None:
    ran = run("keys", "list")
    assert (ran.status, ran.out) == (0, "")
    assert "keys create" in ran.err
    run("keys", "create", "one", "--credential", "main", "--rate-limit", "5/second")
    run("keys", "create", "two", "--credential", "main", "--expires", "7d")
    run("keys", "revoke", "one")
    heading, one, two = run("keys", "list").out.splitlines()
    assert heading.split() == ["Name", "Ends", "in", "State", "Credential", "Limit", "Made", "Last", "used", "Id"]
    assert "revoked" in one
    assert "5/second" in one
    assert "live until" in two
    assert "main" in two


def test_one_key_is_shown_whole(run: Any) -> None:
    run("keys", "create", "one", "--credential", "main", "--model", "sonnet")
    shown = {line.split("  ")[0].strip(): line[12:].strip() for line in run("keys", "show", "one").out.splitlines()}
    assert (shown["state"], shown["credential"], shown["models"], shown["ends"]) == ("live", "main", "sonnet", "-")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["create", "x", "--credential", "nobody"], "There is no credential 'nobody'."),
        (["create", "x", "--credential", "main", "--rate-limit", "often"], "A rate limit is like"),
        (["create", "x", "--credential", "main", "--expires", "0s"], "A key's end lies in the future"),
        (["create", "", "--credential", "main"], "A name has 1 to 100 characters"),
        (["show", "nobody"], "There is no API key 'nobody'."),
        (["revoke", "nobody"], "There is no API key 'nobody'."),
    ],
)
def test_what_cannot_be_done_is_one_line(run: Any, arguments: list[str], said: str) -> None:
    assert run("keys", *arguments, "--json").failure.startswith(said)


def test_a_key_that_ended_or_lost_its_credential_still_shows(run: Any) -> None:
    made = run("keys", "create", "one", "--credential", "main", "--json").json
    run("credentials", "remove", "main", "--force")
    assert made["credential_id"] in run("keys", "list").out
    key = msgspec.convert({name: made[name] for name in ApiKey.__struct_fields__}, ApiKey)
    ended = msgspec.structs.replace(key, expires_at=datetime(2026, 1, 2, 3, 4, tzinfo=UTC))
    assert state(ended) == "ended 2026-01-02 03:04 UTC"


@pytest.mark.parametrize(("text", "seconds"), [("0s", 0), ("30m", 1800), ("24h", 86400), ("7d", 604800), ("90s", 90)])
def test_times_are_a_number_and_a_unit(text: str, seconds: int) -> None:
    assert duration(text).total_seconds() == seconds


@pytest.mark.parametrize("text", ["", "7", "d", "7 d", "-1d", "1.5h", "1w", "٣d\n", "36501d", "9999999d", "999999999d",
                                  "9999999999s", "9" * 5000 + "d"])  # fmt: skip
def test_other_times_are_refused(text: str) -> None:
    with pytest.raises(typer.BadParameter):
        duration(text)


def test_the_longest_time_is_taken_and_a_longer_one_told_of(run: Any) -> None:
    create = ["keys", "create", "x", "--credential", "main", "--json", "--expires"]
    assert run(*create, f"{LONGEST_DAYS}d").status == 0
    ran = run(*create, "9999999d")
    assert (ran.status, ran.out) == (2, "")
    assert "'--expires'" in ran.err
    assert "36500d at the longest" in ran.err


@pytest.mark.policy("K3")
def test_a_rotated_key_is_good_for_a_day_longer_unless_told_otherwise(run: Any, data_dir: Path) -> None:
    old = run("keys", "create", "program", "--credential", "main").out.strip()
    ran = run("keys", "rotate", "program")
    new = ran.out.strip()
    assert "is good until" in ran.err
    ends = verify(data_dir, old).expires_at
    assert ends is not None
    assert timedelta(hours=23) < ends - datetime.now(UTC) <= timedelta(hours=24)
    told = run("keys", "rotate", verify(data_dir, new).id, "--grace", "0s", "--json").json
    assert told["replaced"]["revoked_at"]
    with pytest.raises(Unauthenticated):
        verify(data_dir, new)
    verify(data_dir, told["key"])


def test_a_key_is_changed_in_what_is_given_and_nothing_else(run: Any, data_dir: Path) -> None:
    text = run("keys", "create", "program", "--credential", "main", "--model", "opus", "--rate-limit", "1/hour").out
    ran = run("keys", "change", "program", "--name", "desk", "--max-concurrent", "2", "--expires", "7d")
    assert (ran.status, ran.err) == (0, "")
    key = verify(data_dir, text.strip())
    assert (key.name, key.models, key.rate_limit, key.max_concurrent) == ("desk", ("opus",), "1/hour", 2)
    assert key.expires_at is not None
    freed = ("--every-model", "--default-rate-limit", "--default-concurrent", "--never-expires")
    told = run("keys", "change", "desk", *freed, "--json").json
    assert [told[name] for name in ("models", "rate_limit", "max_concurrent", "expires_at")] == [[], None, None, None]
    assert run("keys", "change", "desk", "--model", "opus", "--every-model").status == 2
    assert "rate limit is like" in run("keys", "change", "desk", "--rate-limit", "often").failure
