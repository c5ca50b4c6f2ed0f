"""All that is recorded of what one key was used for (policy L6), page by page."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

from sqlalchemy import Table, select, tuple_

from claude_code_api.storage.database import Database

PAGE = 1000


async def rows_of(database: Database, table: Table, key_id: str) -> AsyncIterator[dict[str, Any]]:
    """A key's rows of one of the tables of usage, in the order of their primary key; a cost is in US dollars."""
    order = tuple_(*table.primary_key)
    after: tuple[Any, ...] | None = None
    while True:
        page = select(table).where(table.c.key_id == key_id).order_by(*table.primary_key).limit(PAGE)
        async with database.read() as connection:
            rows = (await connection.execute(page if after is None else page.where(order > after))).mappings().all()
        for row in rows:
            told = dict(row)
            if "cost" in told:
                cost = told.pop("cost")
                told["cost_usd"] = None if cost is None else cost / 10**9
            yield told
        if len(rows) < PAGE:
            return
        after = tuple(rows[-1][column.name] for column in table.primary_key)
