"""A large database: 10,000 keys, and a million requests in thirty days.

The requests are spread evenly, which is the worst case: hardly two of them share a row of the sums by hour.
"""

from __future__ import annotations

import argparse
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory

from msgspec import structs

from claude_code_api.access import Access
from claude_code_api.access.names import new_id
from claude_code_api.secret import Secret
from claude_code_api.settings import Settings, given_only
from claude_code_api.stand_in import oauth_token
from claude_code_api.storage.tables import api_keys, usage_last_uses, usage_records
from claude_code_api.usage.record import Record
from claude_code_api.usage.sums import add_to_all

KEYS = 10_000
CREDENTIALS = 10
DAYS = 30
AT_ONCE = 20_000
ROUNDS = 20
GOAL = 0.1  # seconds
MODELS = ("claude-sonnet-5-5", "claude-opus-5-5", "claude-haiku-5-5")
NOW = datetime.now(UTC)


class Arguments(argparse.ArgumentParser):
    """Of a measurement on a large database."""

    def __init__(self, module: str, description: str | None) -> None:
        super().__init__(
            prog=f"python -m bench.{module}",
            description=description,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        self.add_argument("--requests", type=int, default=1_000_000)
        self.add_argument("--directory", type=Path, help="where the database is kept, and used again by the next run")
        self.add_argument("--database", type=Secret, help="URL of a PostgreSQL database that is empty; else SQLite")


@asynccontextmanager
async def large_database(asked: argparse.Namespace) -> AsyncIterator[Settings]:
    """One as large as that, and what it is opened with. It is made unless its data directory is there already."""
    with TemporaryDirectory() as name:
        settings = given_only(data_dir=(asked.directory or Path(name)) / "data", database_url=asked.database)
        if not settings.data_dir.exists():
            async with Access.open(settings) as access:
                await make_requests(access, await make_keys(access), asked.requests)
        yield settings


async def make_keys(access: Access) -> list[tuple[str, str]]:
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


async def make_requests(access: Access, keys: list[tuple[str, str]], number: int) -> None:
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
