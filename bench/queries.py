"""How long the queries of the administrators' pages take, with 10,000 keys and a million requests in thirty days.

    python -m bench.queries

`python -m bench.pages` measures the pages themselves.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from datetime import timedelta

import structlog
from msgspec import structs
from sqlalchemy import select

from bench.figures import Series, machine
from bench.large_database import DAYS, GOAL, KEYS, MODELS, NOW, ROUNDS, Arguments, large_database
from claude_code_api.access import Access
from claude_code_api.access.attention import attention
from claude_code_api.storage.tables import api_keys
from claude_code_api.usage.overview import overview
from claude_code_api.usage.report import report, spenders
from claude_code_api.usage.sources import Filter

Query = Callable[[], Awaitable[object]]


async def main(asked: argparse.Namespace) -> None:
    async with large_database(asked) as settings, Access.open(settings) as access:
        print(f"{machine()}; {KEYS:,} keys, {asked.requests:,} requests\n\n| query | median (95th percentile) | |")
        print("| --- | --- | --- |")
        for label, query in (await _queries(access)).items():
            series = Series(label, tuple([await _timed(query) for _ in range(ROUNDS)]))
            print(f"| {label} | {series.spread} | {'' if series.median <= GOAL else 'missed'} |", flush=True)


async def _queries(access: Access) -> dict[str, Query]:
    database, month = access.database, Filter(since=NOW - timedelta(days=DAYS))
    async with database.read() as connection:
        one = select(api_keys.c.id, api_keys.c.credential_id).limit(1)
        key_id, credential = (await connection.execute(one)).one()
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


if __name__ == "__main__":
    arguments = Arguments("queries", __doc__).parse_args()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
    asyncio.run(main(arguments))
