"""Nothing of ours blocks the event loop that all answers share."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator

import aiohttp
import pytest
from blockbuster import BlockBuster, BlockingError

from claude_code_api.application import running
from claude_code_api.engines.claude_code.program import Program
from claude_code_api.secret import Secret
from claude_code_api.settings import Settings
from claude_code_api.stand_in import oauth_token, script


@pytest.fixture
def blocking_calls_fail() -> Iterator[BlockBuster]:
    blockbuster = BlockBuster("claude_code_api")
    # A line of the usage journal goes into the kernel's memory before its answer ends: some microseconds.
    blockbuster.functions["os.write"].can_block_in("usage/journal.py", {"append"})
    yield blockbuster
    blockbuster.deactivate()


async def test_no_request_blocks_the_event_loop(
    settings: Callable[..., Settings], blocking_calls_fail: BlockBuster
) -> None:
    async with (
        running(settings(port=0, https_port=0, spare_processes=1)) as gateway,
        aiohttp.ClientSession(gateway.server.http_url) as client,
    ):
        blocking_calls_fail.activate()
        await gateway.access.credentials.add("anna", Secret(oauth_token("anna")))
        _, key = await gateway.access.keys.create("key", "anna")
        headers = {"authorization": f"Bearer {key.reveal()}"}

        async def ask(prompt: str, **fields: object) -> int:
            body = {"model": "haiku", "messages": [{"role": "user", "content": prompt}], **fields}
            async with client.post("/v1/chat/completions", json=body, headers=headers) as response:
                await response.read()
                return response.status

        async with client.get("/v1/models", headers=headers) as response:
            assert response.status == 200
        statuses = await asyncio.gather(
            ask("Hello"),
            ask("Hello", stream=True),
            ask(f"Go {script(status=429)}"),
            ask("Hello", tools=[{"type": "function"}]),
        )
        assert statuses == [200, 200, 429, 400]
        blocking_calls_fail.deactivate()


async def test_a_blocking_call_would_be_found(
    settings: Callable[..., Settings], blocking_calls_fail: BlockBuster
) -> None:
    program = Program.of(settings())
    blocking_calls_fail.activate()
    with pytest.raises(BlockingError):
        program.clear()
