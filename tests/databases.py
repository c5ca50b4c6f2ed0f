"""The databases that the store must work on alike: a test of what it keeps runs on each of them."""

from __future__ import annotations

from pathlib import Path

import pytest
from postgres import Postgres

from claude_code_api.secret import Secret

DATABASES = ("sqlite", "postgresql")


def fresh(kind: str, directory: Path, request: pytest.FixtureRequest) -> Secret:
    """The URL of a new database without a row."""
    if kind == "sqlite":
        return Secret(f"sqlite+aiosqlite:///{directory / 'gateway.db'}")
    postgres: Postgres = request.getfixturevalue("postgres")
    return postgres.create(postgres.at_head)
