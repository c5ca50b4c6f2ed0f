"""What runs under a key ends with the key (policy K3)."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from surface_server import FINISHED, Gate, ScriptedGateway, chat_request, happened

from claude_code_api.conversation import Accepted, Started, TextDelta

BEGUN = (Accepted(), Started("m"), TextDelta("Hel"))
pytestmark = pytest.mark.policy("K3")


def revoke(gateway: ScriptedGateway, key_id: str = "key_a") -> None:
    gateway.revoked.add(key_id)
    gateway.change += 1


async def test_a_stream_ends_with_an_error_event(serve: Any, gateway: ScriptedGateway) -> None:
    gateway.script = (*BEGUN, gate := Gate(), FINISHED)
    async with serve().raw() as (reader, writer):
        writer.write(chat_request(stream=True))
        assert b"200" in await reader.readuntil(b"\r\n\r\n")
        revoke(gateway)
        rest = await reader.read()
    assert b'"code":"invalid_api_key"' in rest
    assert b"[DONE]" not in rest
    assert await happened(gate.left), "what ran upstream has ended"


async def test_an_answer_that_has_not_begun_is_a_401(serve: Any, gateway: ScriptedGateway) -> None:
    gateway.script = (gate := Gate(), *BEGUN, FINISHED)
    served = serve()
    async with served.raw() as (reader, writer):
        writer.write(chat_request())
        assert await happened(gate.reached)
        revoke(gateway)
        assert b"401" in await reader.readline()


async def test_other_keys_and_other_changes_end_nothing(serve: Any, gateway: ScriptedGateway) -> None:
    gateway.script = (*BEGUN, gate := Gate(), FINISHED)
    async with serve().raw() as (reader, writer):
        writer.write(chat_request(stream=True))
        await reader.readuntil(b"\r\n\r\n")
        assert await happened(gate.reached)
        revoke(gateway, "key_b")
        assert await happened(gateway.looked)
        gate.open()
        assert b"[DONE]" in await reader.readuntil(b"[DONE]")


async def test_nothing_is_looked_at_once_nothing_runs(
    serve: Any, gateway: ScriptedGateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The gateway may be closed by then, and its database with it."""
    asked: list[int] = []
    monkeypatch.setattr(gateway, "changes", lambda: asked.append(0) or 0)
    served = serve()
    await served.exchange(chat_request())
    task = served.on_loop(lambda: next(t for t in asyncio.all_tasks() if "KeyGate" in repr(t)))
    async with asyncio.timeout(10):
        while not task.done():
            await asyncio.sleep(0.01)
    assert len(asked) == 1, "as the request began"
    assert task.exception() is None
