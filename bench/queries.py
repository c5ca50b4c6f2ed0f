"""How long the queries of the administrators' pages take, with 10,000 keys and a million requests in thirty days.

    python -m bench.queries

The requests are spread evenly, which is the worst case: hardly two of them share a row of the sums by hour.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import tempfile
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random

import structlog
from msgspec import structs

from bench.figures import Series, machine
from claude_code_api.access import Access
from claude_code_api.access.attention import attention
from claude_code_api.access.names import new_id
from claude_code_api.secret import Secret
from claude_code_api.settings import given_only
from claude_code_api.stand_in import oauth_token
from claude_code_api.storage.tables import api_keys, usage_last_uses, usage_records
from claude_code_api.usage.overview import overview
from claude_code_api.usage.record import Record
from claude_code_api.usage.report import report, spenders
from claude_code_api.usage.sources import Filter
from claude_code_api.usage.sums import add_to_all

KEYS = 10_000
CREDENTIALS = 10
DAYS = 30
AT_ONCE = 20_000
ROUNDS = 20
GOAL = 0.1  # seconds
MODELS = ("claude-sonnet-5-5", "claude-opus-5-5", "claude-haiku-5-5")
NOW = datetime.now(UTC)

Query = Callable[[], Awaitable[object]]


async def main(requests: int) -> None:
    with tempfile.TemporaryDirectory() as name:
        async with Access.open(given_only(data_dir=Path(name) / "data")) as access:
            keys = await _make_keys(access)
            await _make_requests(access, keys, requests)
            print(f"{machine()}; {KEYS:,} keys, {requests:,} requests\n\n| query | median (95th percentile) | |")
            print("| --- | --- | --- |")
            for label, query in (await _queries(access, keys)).items():
                series = Series(label, tuple([await _timed(query) for _ in range(ROUNDS)]))
                print(f"| {label} | {series.spread} | {'' if series.median <= GOAL else 'missed'} |", flush=True)


async def _queries(access: Access, keys: list[tuple[str, str]]) -> dict[str, Query]:
    database, month = access.database, Filter(since=NOW - timedelta(days=DAYS))
    key_id, credential = keys[0]
    of = structs.replace
    second = (await access.keys.page()).next
    return {
        "keys": access.keys.page,
        "keys: the second page": lambda: access.keys.page(after=second),
        "keys: by last use": lambda: access.keys.page(sort="last_used_at"),
        "keys: by name": lambda: access.keys.page(sort="name", descending=False),
        "keys: search": lambda: access.keys.page(search="program 77"),
        "keys: search that finds none": lambda: access.keys.page(search="zzz"),
        "keys: unused": lambda: access.keys.page(state="unused"),
        "keys: of a credential": lambda: access.keys.page(credential=credential, state="live", limit=5),
        "keys: how many on each credential": access.keys.live_by_credential,
        "overview": lambda: overview(database),
        "overview: what needs attention": lambda: attention(access),
        "usage: who spends most": lambda: spenders(database, month),
        "usage: who spends most, of a credential": lambda: spenders(database, of(month, credential_id=credential)),
        "usage: who spends most, of a model": lambda: spenders(database, of(month, model=MODELS[0])),
        "usage: by model": lambda: report(database, "model", month),
        "usage: by credential": lambda: report(database, "credential", month),
        "usage: by day": lambda: report(database, "day", month),
        "usage: by day, of a key": lambda: report(database, "day", of(month, key_id=key_id)),
        "usage: by day, of a model": lambda: report(database, "day", of(month, model=MODELS[0])),
        "usage: by key, all of them (for the export)": lambda: report(database, "key", month),
    }


async def _timed(query: Query) -> float:
    began = time.perf_counter()
    await query()
    return time.perf_counter() - began


async def _make_keys(access: Access) -> list[tuple[str, str]]:
    """Ids of keys and of their credentials."""
    stored = [await access.credentials.add(f"c{n}", Secret(oauth_token(f"c{n}"))) for n in range(CREDENTIALS)]
    keys = [(new_id("key"), stored[n % CREDENTIALS].id) for n in range(KEYS)]
    rows = [
        {
            "id": key_id, "name": f"program {n}", "hash": n.to_bytes(32, "big"), "checksummed": True,
            "hint": f"{n:04}"[-4:], "credential_id": credential, "models": [], "created_by": "bench",
            "created_at": NOW - timedelta(days=200, seconds=n),
        }
        for n, (key_id, credential) in enumerate(keys)
    ]  # fmt: skip
    async with access.database.write() as connection:
        await connection.execute(api_keys.insert(), rows)
        uses = [{"key_id": k, "credential_id": c, "used_at": NOW - timedelta(hours=n)} for n, (k, c) in enumerate(keys)]
        await connection.execute(usage_last_uses.insert(), uses)
    return keys


async def _make_requests(access: Access, keys: list[tuple[str, str]], number: int) -> None:
    chance = Random(1)
    for first in range(0, number, AT_ONCE):
        records = [
            _request(n, NOW - timedelta(days=DAYS) * (n / number), *chance.choice(keys), chance)
            for n in range(first, min(number, first + AT_ONCE))
        ]
        async with access.database.write() as connection:
            await connection.execute(usage_records.insert(), [structs.asdict(record) for record in records])
            await add_to_all(connection, records)


def _request(number: int, at: datetime, key_id: str, credential_id: str, chance: Random) -> Record:
    failed = chance.random() < 0.02
    return Record(
        request_id=f"req_{number:030}",
        key_id=key_id,
        credential_id=credential_id,
        endpoint="/v1/chat/completions",
        model=chance.choice(MODELS),
        stream=True,
        status=502 if failed else 200,
        error="upstream_error" if failed else None,
        started_at=at,
        first_token_ms=None if failed else chance.randrange(200, 9000),
        duration_ms=9000,
        input_tokens=chance.randrange(5000),
        output_tokens=chance.randrange(900),
        cache_read_tokens=0,
        cache_write_tokens=0,
        reasoning_tokens=0,
        cost=chance.randrange(10**8),
    )


if __name__ == "__main__":
    arguments = argparse.ArgumentParser(prog="python -m bench.queries", description=__doc__)
    arguments.add_argument("--requests", type=int, default=1_000_000)
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
    asyncio.run(main(arguments.parse_args().requests))
