from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from databases import DATABASES, fresh
from sqlalchemy import Table, select

from claude_code_api.storage.data_directory import DataDirectory
from claude_code_api.storage.database import Database

Rows = Callable[[Table], Awaitable[list[dict[str, Any]]]]


@pytest.fixture(params=DATABASES)
async def database(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Database]:
    async with Database.open(fresh(request.param, tmp_path, request), DataDirectory(tmp_path)) as database:
        yield database


@pytest.fixture
def rows(database: Database) -> Rows:
    """All rows of a table, in the order of its key."""

    async def rows(table: Table) -> list[dict[str, Any]]:
        async with database.read() as connection:
            found = await connection.execute(select(table).order_by(*table.primary_key))
            return [dict(row) for row in found.mappings()]

    return rows


@pytest.fixture
def journal(tmp_path: Path) -> Path:
    return DataDirectory(tmp_path / "usage").path
