"""A server on free ports for each test that asks for one."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import aiohttp
import pytest
from surface_server import KEY, ScriptedGateway, Served, serving


@pytest.fixture
def gateway() -> ScriptedGateway:
    return ScriptedGateway()


@pytest.fixture(scope="session")
def certificate_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("surface")


@pytest.fixture
def serve(gateway: ScriptedGateway, certificate_dir: Path) -> Iterator[Callable[..., Served]]:
    """Starts a server with the given settings; ended with the test."""
    with ExitStack() as stack:
        yield lambda **given: stack.enter_context(serving(gateway, given.pop("data_dir", certificate_dir), **given))


@pytest.fixture
async def http() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(
        headers={"Authorization": f"Bearer {KEY}", "Content-Type": "application/json"}
    ) as session:
        yield session
