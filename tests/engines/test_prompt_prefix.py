"""What goes upstream begins as it did before, so that Anthropic reads it from its cache (docs/performance.md)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import aclosing
from typing import Any

import pytest_asyncio
from making import anthropic_key, chat, oauth
from msgspec import structs

from claude_code_api.conversation import (
    Base64Source,
    Conversation,
    Finished,
    Image,
    Message,
    Sampling,
    Text,
    TextDelta,
    Tool,
    ToolCall,
    ToolChoice,
    ToolResult,
    ToolUse,
    Usage,
)
from claude_code_api.credential import Credential
from claude_code_api.engines.claude_code import ClaudeCode
from claude_code_api.stand_in import StandIn, script
from claude_code_api.stand_in.record import RecordedRequest

StartEngine = Callable[..., Awaitable[ClaudeCode]]
MODELS = ("claude-haiku-4-5", "claude-opus-4-8", "haiku")
LOOK = Tool(name="look", input_schema={"type": "object", "properties": {}})
CALL = {"name": "mcp__client__look", "input": {}}
LONG = "A long text, as conversations have them. " * 200  # 2,050 tokens


@pytest_asyncio.fixture
async def engine(start_engine: StartEngine) -> ClaudeCode:
    return await start_engine(reuse_processes=True, max_processes=4)


@pytest_asyncio.fixture
async def forgetful(start_engine: StartEngine) -> ClaudeCode:
    """Every answer comes from a process of its own."""
    return await start_engine(reuse_processes=False)


async def ask(
    engine: ClaudeCode, conversation: Conversation, credential: Credential | None = None
) -> tuple[Message, Usage]:
    """The assistant's turn as a client would send it back, and what it cost."""
    async with aclosing(engine.answer(conversation, credential or oauth("anna"), "tenant")) as events:
        told = [event async for event in events]
    text = "".join(event.text for event in told if isinstance(event, TextDelta))
    calls = [ToolUse(event.id, event.name, {}) for event in told if isinstance(event, ToolCall)]
    (usage,) = (event.usage for event in told if isinstance(event, Finished))
    return Message("assistant", (*((Text(text),) if text else ()), *calls)), usage


def sent(request: RecordedRequest) -> list[Any]:
    """Messages without where the cache is marked, which moves on with the conversation; texts as blocks."""
    turns = []
    for message in request.body["messages"]:
        content = message["content"]
        blocks = [{"type": "text", "text": content}] if isinstance(content, str) else content
        kept = [{name: value for name, value in block.items() if name != "cache_control"} for block in blocks]
        turns.append((message["role"], kept, message.get("output_config")))
    return turns


def processes_of(*requests: RecordedRequest) -> int:
    return len({request.headers["x-claude-code-session-id"] for request in requests})


def user(*blocks: Any) -> Message:
    return Message("user", tuple(Text(block) if isinstance(block, str) else block for block in blocks))


def mixed_turns(png: str) -> list[tuple[Message | None, Sampling]]:
    """Questions of every kind, each with settings of its own; None brings the results that the last answer asks for."""
    think = script(thinking="let me see", text="Yes")
    schema = {"type": "object", "properties": {}, "additionalProperties": False}
    return [
        (user("Hello"), Sampling(max_tokens=3000)),
        (user(script(thinking="which?", text="Look. ", tools=[CALL], then={"text": "Rain."})), Sampling(effort="high")),
        (None, Sampling(effort="high")),
        (user("See", Image(Base64Source("image/png", png)), think), Sampling()),
        (user(think), Sampling(effort="max", stop_sequences=("END",))),
        (user("As JSON"), Sampling(output_schema=schema)),
        (user("Anything"), Sampling(tool_choice=ToolChoice(disable_parallel_tool_use=True))),
        (user("And?"), Sampling()),
    ]


async def test_a_live_conversation_begins_with_the_same_bytes_whatever_its_turns_bring(
    engine: ClaudeCode, stand_in: StandIn, png: str
) -> None:
    for model in MODELS:
        history: tuple[Message, ...] = ()
        before: list[Any] = []
        for question, sampling in mixed_turns(png):
            if question is None:
                calls = [block for block in history[-1].content if isinstance(block, ToolUse)]
                question = user(*(ToolResult(call.id, (Text("wet"),)) for call in calls))
            history = (*history, question)
            conversation = Conversation(
                model=model, messages=history, system="Be brief.", tools=(LOOK,), sampling=sampling
            )
            said, _ = await ask(engine, conversation)
            history = (*history, said)
            after = sent(stand_in.requests[-1])
            assert after[: len(before)] == before, (model, question)
            before = after
        assert "tokens left" not in str(before), "Claude Code counts down beside results, left alone"
    assert processes_of(*stand_in.requests) == 1
    assert len({str(request.body["system"][1:]) for request in stand_in.requests}) == 1
    assert len({str(request.body["tools"]) for request in stand_in.requests}) == 1


async def test_after_a_step_back_everything_is_as_from_a_fresh_process(
    engine: ClaudeCode, forgetful: ClaudeCode, stand_in: StandIn, png: str
) -> None:
    image = Image(Base64Source("image/png", png))
    call, result = ToolUse("toolu_1", "look", {}), ToolResult("toolu_1", (Text("wet"), image))
    conversations = [
        (user("Fresh", image),),
        (user("Look"), Message("assistant", (Text("So"), call)), user(result)),
        (user("Look"), Message("assistant", (call,)), user(result), Message("assistant", (Text("Wet"),)), user("And?")),
    ]
    used = user(script(thinking="secret", text="Secret"))
    for model, messages in zip(MODELS, conversations, strict=True):
        secret = Conversation(
            model=model, messages=(used,), system="Be brief.", tools=(LOOK,), sampling=Sampling(effort="max")
        )
        conversation = structs.replace(secret, messages=messages, sampling=Sampling())
        await ask(engine, secret)
        for one in (engine, forgetful):
            await ask(one, conversation)
        secretive, again, fresh = stand_in.requests[-3:]
        assert processes_of(secretive, again) == 1
        for part in ("messages", "system", "tools", "thinking", "output_config", "max_tokens"):
            assert again.body.get(part) == fresh.body.get(part), (model, part)


def share(usage: Usage) -> float:
    """How much of a prompt was read from the cache."""
    return usage.cache_read_input_tokens / usage.prompt_tokens


async def test_a_live_conversation_is_read_from_the_cache(engine: ClaudeCode) -> None:
    for model in MODELS:
        turns = [LONG]
        for number in range(3):
            said, usage = await ask(engine, chat(*turns, model=model, system=LONG))
            assert (share(usage) > 0.9) is (number > 0), (model, number)
            turns += [*(block.text for block in said.content if isinstance(block, Text)), f"Turn {number}"]


async def test_a_written_history_is_read_from_the_cache_up_to_its_last_turn(forgetful: ClaudeCode) -> None:
    """Claude Code's own reminders stand beside the newest turn then, and elsewhere the next time."""
    for credential, model in ((oauth("anna"), "haiku"), (anthropic_key("bert"), "claude-haiku-4-5")):
        turns = [LONG, "Yes", "And?"]
        for number in range(2):
            _, usage = await ask(forgetful, chat(*turns, model=model, system="Be brief."), credential)
            assert (share(usage) > 0.75) is (number > 0), (model, usage)
            turns += ["Yes", f"Turn {number}"]


async def test_a_branch_of_a_written_history_marks_no_more_than_anthropic_takes(
    engine: ClaudeCode, stand_in: StandIn
) -> None:
    """The stand-in refuses a fifth mark, as Anthropic does."""
    base = ("One", "Two", "Three", "Four")
    branches = (("Five",), ("Five", "Six", "Seven"), ("Other", "Six", "Seven", "Eight", "Nine"))
    for turns in (*((*base, *branch) for branch in branches), ("One", "Two", "Again"), base[:3]):
        await ask(engine, chat(*turns, system="Be brief.", tools=(LOOK,)))
        assert str(stand_in.requests[-1].body).count("'cache_control'") in (3, 4)
    assert processes_of(*stand_in.requests) == 1
