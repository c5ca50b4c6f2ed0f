"""An Access on a data directory of its own, and tokens that only look real."""

from __future__ import annotations

import os
import secrets
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

import claude_code_api
from claude_code_api.access import Access
from claude_code_api.secret import Secret
from claude_code_api.settings import Settings


@pytest.fixture
def own_settings(tmp_path: Path) -> Settings:
    return Settings(data_dir=tmp_path / "data")


@pytest.fixture
async def access(own_settings: Settings) -> AsyncIterator[Access]:
    async with Access.open(own_settings) as access:
        yield access


@pytest.fixture
def token() -> Secret:
    return Secret("sk-ant-" + "oat01-" + secrets.token_hex(40))


COMMAND = """
import asyncio, pathlib, sys
from claude_code_api.access import Access
from claude_code_api.operations import logs
from claude_code_api.settings import Settings

logs.configure("warning", "json", sys.stderr)

async def command():
    async with Access.open(Settings(data_dir=pathlib.Path(sys.argv[1]))) as access:
        {statement}

asyncio.run(command())
"""


@pytest.fixture
def in_another_process(own_settings: Settings) -> Callable[[str], str]:
    """Runs one statement on `access` in a process of its own, to its end; its output."""

    def run(statement: str) -> str:
        done = subprocess.run(
            [sys.executable, "-c", COMMAND.format(statement=statement), str(own_settings.data_dir)],
            env={**os.environ, "PYTHONPATH": str(Path(claude_code_api.__file__).parents[1])},
            capture_output=True,
            text=True,
            check=True,
        )
        assert [line for line in done.stderr.splitlines() if '"alert":' not in line] == []
        return done.stdout

    return run
