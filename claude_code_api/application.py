"""The parts put together: a gateway that runs, as `serve`, the demo, the tests and the benchmark start it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import msgspec

from claude_code_api.access import Access
from claude_code_api.engines.claude_code import ClaudeCode
from claude_code_api.errors import NotFound
from claude_code_api.gateway.gateway import Gateway
from claude_code_api.settings import Settings
from claude_code_api.storage.data_directory import DataDirectory
from claude_code_api.surface.app import build
from claude_code_api.surface.server import Server


class Running(msgspec.Struct, frozen=True):
    """The parts of a gateway that runs."""

    server: Server
    access: Access
    engine: ClaudeCode


@asynccontextmanager
async def running(settings: Settings) -> AsyncIterator[Running]:
    """A gateway that answers, until the block ends; then running answers get `stop_grace` seconds.

    Raises an OperatorFailure where it cannot start. Nothing of it is left afterwards: no process, no connection.
    """
    with DataDirectory(settings.data_dir).server_lock():
        async with Access.open(settings, migrate=True) as access:
            await store_given_credentials(access, settings)
            engine = await asyncio.to_thread(ClaudeCode, settings)
            gateway = Gateway(settings, access, engine)
            server = Server(build(settings, gateway), settings)
            await server.start()
            try:
                await engine.start([record.id for record in await access.credentials.list()])
                yield Running(server, access, engine)
            finally:
                try:
                    await server.stop(settings.stop_grace)
                finally:
                    await engine.stop()


async def store_given_credentials(access: Access, settings: Settings) -> None:
    """Stores the tokens that stand in the settings; a changed one replaces what is stored."""
    given = {"default": settings.claude_code_oauth_token, "default-api": settings.anthropic_api_key}
    for name, token in given.items():
        if token is None:
            continue
        try:
            stored = await access.credentials.unlock(name)
        except NotFound:
            await access.credentials.add(name, token)
        else:
            if stored.token != token:
                await access.credentials.replace(name, token)
