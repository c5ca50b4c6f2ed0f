"""One browser for all tests here, and one gateway that looks lived in."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import chromium
import pytest
import pytest_asyncio
from gateways import Gateway, StartGateway
from playwright.async_api import Browser

from scripts.screenshots import furnish


@pytest_asyncio.fixture(scope="session")
async def browser() -> AsyncIterator[Browser]:
    async with chromium.browser() as launched:
        yield launched


@pytest.fixture(scope="session")
def furnished(start_gateway: StartGateway) -> Iterator[Gateway]:
    with start_gateway() as gateway:
        gateway.ids = gateway.access(furnish)  # type: ignore[attr-defined]
        yield gateway


@pytest.fixture(scope="session")
def ids(furnished: Gateway) -> dict[str, str]:
    """Of what pages are about: `key`, `credential`, `refused`, `admin`."""
    found: dict[str, str] = furnished.ids  # type: ignore[attr-defined]
    return found
