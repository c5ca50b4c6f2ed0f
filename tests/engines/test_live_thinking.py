"""Thinking in conversations: signed for its place, held by the live process, lost with it without harm."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import pytest_asyncio
from making import oauth

from claude_code_api.conversation import (
    Conversation,
    Event,
    Finished,
    Message,
    Sampling,
    Text,
    TextDelta,
    ThinkingDelta,
    Tool,
    ToolCall,
    ToolResult,
    ToolUse,
)
from claude_code_api.engines.claude_code import ClaudeCode
from claude_code_api.stand_in import StandIn, script

StartEngine = Callable[..., Awaitable[ClaudeCode]]
MODELS = ("claude-haiku-4-5", "claude-opus-4-8", "haiku")
"""With a budget, by itself where it is let, by itself always and for one place only."""
LOOK = Tool(name="look", input_schema={"type": "object", "properties": {}})
CALL = {"name": "mcp__client__look", "id": "toolu_1"}
THINK = Sampling(effort="high")


@pytest_asyncio.fixture
async def engine(start_engine: StartEngine) -> ClaudeCode:
    return await start_engine(reuse_processes=True, max_processes=4)


async def ask(engine: ClaudeCode, model: str, *messages: Message, **fields: Any) -> list[Event]:
    """Every answer is checked: the stand-in refuses thinking that is not what it signed, where it signed it."""
    conversation = Conversation(**{"model": model, "messages": messages, "sampling": THINK, "tools": (LOOK,), **fields})
    return [event async for event in engine.answer(conversation, oauth("anna"), "tenant")]


def user(text: str) -> Message:
    return Message("user", (Text(text),))


def said(events: list[Event]) -> Message:
    return Message("assistant", (Text("".join(event.text for event in events if isinstance(event, TextDelta))),))


def thought(events: list[Event]) -> str:
    return "".join(event.text for event in events if isinstance(event, ThinkingDelta))


def blocks(stand_in: StandIn) -> list[list[str]]:
    """The kinds of blocks in the assistant's turns of the newest request."""
    turns = stand_in.requests[-1].body["messages"]
    return [
        ["text"] if isinstance(turn["content"], str) else [block["type"] for block in turn["content"]]
        for turn in turns
        if turn["role"] == "assistant"
    ]


def processes(stand_in: StandIn) -> int:
    return len({request.headers["x-claude-code-session-id"] for request in stand_in.requests})


async def test_what_was_thought_stays_in_the_live_conversation(engine: ClaudeCode, stand_in: StandIn) -> None:
    for model in MODELS:
        question = user(script(thinking="let me see", redacted_thinking="hidden", text="Yes"))
        first = await ask(engine, model, question)
        assert thought(first) == "let me see"
        second = await ask(engine, model, question, said(first), question)
        assert thought(second) == "let me see"
        # without thinking it goes on all the same, and what was thought remains
        third = await ask(
            engine, model, question, said(first), question, said(second), user("And?"), sampling=Sampling()
        )
        assert said(third).content
        assert blocks(stand_in) == [["thinking", "redacted_thinking", "text"]] * 2
        assert processes(stand_in) == 1
        assert isinstance(end := first[-1], Finished)
        assert end.usage.reasoning_tokens == 4


async def test_thinking_before_a_call_is_there_when_the_result_comes(engine: ClaudeCode, stand_in: StandIn) -> None:
    for model in MODELS:
        question = user(script(thinking="which?", tools=[CALL], then={"thinking": "aha", "text": "Rain."}))
        first = await ask(engine, model, question)
        assert [event.id for event in first if isinstance(event, ToolCall)] == ["toolu_1"]
        history = (question, Message("assistant", (ToolUse("toolu_1", "look", {}),)))
        result = Message("user", (ToolResult("toolu_1", (Text("wet"),)),))
        second = await ask(engine, model, *history, result)
        assert (thought(second), said(second).content) == ("aha", (Text("Rain."),))
        assert blocks(stand_in) == [["thinking", "tool_use"]]
        third = await ask(engine, model, *history, result, said(second), user("And?"))
        assert said(third).content
        assert blocks(stand_in) == [["thinking", "tool_use"], ["thinking", "text"]]
        assert processes(stand_in) == 1


async def test_results_of_calls_that_were_thought_before_are_thought_about_too(
    engine: ClaudeCode, stand_in: StandIn
) -> None:
    question = user(script(thinking="let me look", tools=[CALL], then={"thinking": "I see", "text": "Blue"}))
    await ask(engine, "claude-haiku-4-5", question)
    result = Message("user", (ToolResult("toolu_1", (Text("blue"),)),))
    events = await ask(
        engine, "claude-haiku-4-5", question, Message("assistant", (ToolUse("toolu_1", "look", {}),)), result
    )
    assert processes(stand_in) == 1
    assert stand_in.requests[-1].body["thinking"]["type"] == "enabled"
    assert thought(events) == "I see"


async def test_a_history_that_has_lost_its_thinking_is_answered(engine: ClaudeCode, stand_in: StandIn) -> None:
    """Models with a budget would refuse to think in the middle of such a turn; they answer without, and think again."""
    for model in MODELS:
        question = user(script(text="", tools=[CALL], then={"thinking": "aha", "text": "Rain."}))
        history = (
            question,
            Message("assistant", (Text("Let me look."), ToolUse("toolu_1", "look", {}))),
            Message("user", (ToolResult("toolu_1", (Text("wet"),)),)),
        )
        events = await ask(engine, model, *history)
        assert said(events).content == (Text("Rain."),)
        assert thought(events) == ("" if model == "claude-haiku-4-5" else "aha")
        next_question = user(script(thinking="now I can", text="Yes"))
        events = await ask(engine, model, *history, said(events), next_question)
        assert thought(events) == "now I can"


async def test_a_regenerated_answer_is_thought_anew(engine: ClaudeCode, stand_in: StandIn) -> None:
    for model in MODELS:
        question = user(script(thinking="let me see", text="Yes"))
        first = await ask(engine, model, question)
        for _ in range(2):
            events = await ask(engine, model, question, said(first), question)
            assert thought(events) == "let me see"
        assert blocks(stand_in) == [["thinking", "text"]]
        assert processes(stand_in) == 1


async def test_without_being_asked_a_model_that_can_do_without_does_not_think(
    engine: ClaudeCode, stand_in: StandIn
) -> None:
    question = user(script(thinking="let me see", text="Yes"))
    for sampling in (Sampling(), Sampling(effort="none")):
        events = await ask(engine, "claude-opus-4-8", question, sampling=sampling)
        assert thought(events) == ""
        assert isinstance(end := events[-1], Finished)
        assert end.usage.reasoning_tokens == 0
        assert stand_in.requests[-1].body["thinking"] == {"type": "disabled"}


async def test_none_is_the_lowest_effort_where_a_model_always_thinks(engine: ClaudeCode, stand_in: StandIn) -> None:
    for sampling, effort in (
        (Sampling(effort="none"), "low"),
        (Sampling(), "medium"),
        (Sampling(effort="none"), "low"),
    ):
        await ask(engine, "haiku", user("Hello"), sampling=sampling)
        assert stand_in.requests[-1].body["output_config"] == {"effort": effort}
    assert processes(stand_in) == 1


async def test_small_answers_of_models_with_a_budget_are_not_refused(engine: ClaudeCode, stand_in: StandIn) -> None:
    for max_tokens, budget in ((100, None), (3000, 1500), (None, 16_384)):
        sampling = Sampling(effort="high", max_tokens=max_tokens)
        await ask(engine, "claude-haiku-4-5", user(f"Up to {max_tokens}"), sampling=sampling)
        assert stand_in.requests[-1].body["thinking"].get("budget_tokens") == budget
