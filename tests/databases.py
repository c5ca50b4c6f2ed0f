"""The databases that the store must work on alike: a test of what it keeps runs on each of them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from claude_code_api.secret import Secret

DATABASES: dict[str, Callable[[Path], Secret]] = {
    "sqlite": lambda directory: Secret(f"sqlite+aiosqlite:///{directory / 'gateway.db'}"),
}
"""URLs of fresh, empty databases."""
