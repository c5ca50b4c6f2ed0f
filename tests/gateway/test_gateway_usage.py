"""Every request that reaches the gateway is written down, with its key, and without anything that was said."""

from __future__ import annotations

from contextlib import aclosing, suppress
from pathlib import Path
from typing import Any

import pytest
from making import chat
from scripted_engine import ScriptedEngine

from claude_code_api.access import Access
from claude_code_api.conversation import Accepted, Event, Finished, Started, TextDelta, Usage
from claude_code_api.errors import Overloaded, RequestFailure
from claude_code_api.gateway.gateway import Gateway
from claude_code_api.gateway.request import Request
from claude_code_api.settings import Settings
from claude_code_api.usage.journal import decode
from claude_code_api.usage.record import Record

FINISHED = Finished(stop_reason="end_turn", usage=Usage(input_tokens=10, output_tokens=2, reasoning_tokens=1))
ANSWER: list[Event | Exception] = [Accepted(), Started("claude-haiku-4-5"), TextDelta("Hello"), FINISHED]
REQUEST = Request("req_1", "/v1/chat/completions", True)


def journal(settings: Settings) -> list[Record]:
    lines = [
        line
        for path in (settings.data_dir / "usage").glob("*.journal")
        for line in path.read_bytes().splitlines(keepends=True)
    ]
    return [record for line in lines if (record := decode(line))]


async def test_the_end_of_an_answer_passes_on_only_when_it_is_written_down(
    gateway: Gateway, access: Access, engine: ScriptedEngine, own_settings: Settings
) -> None:
    key = (await access.keys.create("program", "main"))[0]
    engine.events = ANSWER
    async with aclosing(gateway.answer(key, chat("Hi"), REQUEST)) as events:
        async for event in events:
            assert len(journal(own_settings)) == isinstance(event, Finished)
    (record,) = journal(own_settings)
    assert (record.request_id, record.key_id, record.credential_id) == ("req_1", key.id, key.credential_id)
    assert (record.endpoint, record.stream, record.reasoning_tokens) == ("/v1/chat/completions", True, 1)


@pytest.mark.parametrize(
    ("model", "events", "expected"),
    [
        ("haiku", [Overloaded("busy")], (503, "overloaded", "haiku", 0)),
        ("haiku", [Accepted(), Started("claude-x", Usage(input_tokens=9)), Overloaded("cut")],
         (503, "overloaded", "claude-x", 9)),
        ("nonsense", [], (404, "model_not_found", "", 0)),
        ("opus", [], (403, "model_not_allowed", "", 0)),
        ("haiku", [ZeroDivisionError()], (500, "internal_error", "haiku", 0)),
    ],
)  # fmt: skip
async def test_a_request_that_fails_is_written_down_with_what_is_known(
    gateway: Gateway, access: Access, engine: ScriptedEngine, own_settings: Settings, model: str,
    events: list[Any], expected: tuple[Any, ...],
) -> None:  # fmt: skip
    key = (await access.keys.create("program", "main", models=["haiku", "nonsense"]))[0]
    engine.events = events
    with suppress(RequestFailure, ZeroDivisionError):
        async for _ in gateway.answer(key, chat("Hi", model=model), REQUEST):
            pass
    (record,) = journal(own_settings)
    assert (record.status, record.error, record.model, record.input_tokens) == expected


async def test_a_client_that_leaves_is_written_down(
    gateway: Gateway, access: Access, engine: ScriptedEngine, own_settings: Settings
) -> None:
    key = (await access.keys.create("program", "main"))[0]
    engine.events = ANSWER
    async with aclosing(gateway.answer(key, chat("Hi"), REQUEST)) as events:
        async for event in events:
            if isinstance(event, TextDelta):
                break
    (record,) = journal(own_settings)
    assert (record.status, record.error, record.model) == (499, "given_up", "claude-haiku-4-5")


@pytest.mark.policy("L6")
async def test_nothing_that_was_said_and_no_end_user_is_written_down(
    gateway: Gateway, access: Access, engine: ScriptedEngine, own_settings: Settings
) -> None:
    key = (await access.keys.create("program", "main"))[0]
    engine.events = [Started("claude-haiku-4-5"), TextDelta("canary-answer"), FINISHED]
    conversation = chat("canary-prompt", system="canary-system", end_user="canary-user")
    async for _ in gateway.answer(key, conversation, REQUEST):
        pass
    await gateway.close()
    assert len(journal(own_settings)) == 1
    for path in Path(own_settings.data_dir).rglob("*"):
        assert not path.is_file() or b"canary" not in path.read_bytes(), path
