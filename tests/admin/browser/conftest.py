"""One browser for all tests here."""

from __future__ import annotations

from collections.abc import AsyncIterator

import chromium
import pytest_asyncio
from playwright.async_api import Browser


@pytest_asyncio.fixture(scope="session")
async def browser() -> AsyncIterator[Browser]:
    async with chromium.browser() as launched:
        yield launched
