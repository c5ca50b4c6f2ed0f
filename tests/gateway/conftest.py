"""A gateway over a scripted engine and a data directory of its own."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from scripted_engine import ScriptedEngine

from claude_code_api.access import Access
from claude_code_api.gateway.gateway import Gateway
from claude_code_api.secret import Secret
from claude_code_api.settings import Settings, given_only
from claude_code_api.stand_in import oauth_token
from claude_code_api.usage.recorder import Recorder


@pytest.fixture
def engine() -> ScriptedEngine:
    return ScriptedEngine()


@pytest.fixture
def own_settings(tmp_path: Path) -> Settings:
    return given_only(data_dir=tmp_path / "data", model_aliases={"mine": "haiku"})


@pytest_asyncio.fixture
async def access(own_settings: Settings) -> AsyncIterator[Access]:
    async with Access.open(own_settings, migrate=True) as access:
        await access.credentials.add("main", Secret(oauth_token("one")))
        yield access


@pytest_asyncio.fixture
async def recorder(own_settings: Settings, access: Access) -> AsyncIterator[Recorder]:
    async with Recorder.open(own_settings, access.database) as recorder:
        yield recorder


@pytest_asyncio.fixture
async def gateway(
    own_settings: Settings, access: Access, engine: ScriptedEngine, recorder: Recorder
) -> AsyncIterator[Gateway]:
    gateway = Gateway(own_settings, access, engine, recorder)  # type: ignore[arg-type]
    yield gateway
    await gateway.close()  # else it would write down, within the minute, whom it refused
