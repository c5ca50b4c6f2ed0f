"""What the engine leans on where Claude thinks, asked of the real program."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

import pytest
from making import oauth

from claude_code_api.conversation import Effort, Message, Text, Tool, ToolResult
from claude_code_api.engines.claude_code.client_tools import ClientTools
from claude_code_api.engines.claude_code.history import user_line
from claude_code_api.engines.claude_code.process import Process
from claude_code_api.engines.claude_code.program import Program
from claude_code_api.engines.claude_code.thinking import Thinking
from claude_code_api.stand_in import StandIn, script

pytestmark = pytest.mark.contract

Opened = Callable[..., AbstractAsyncContextManager[Process]]
LOOK = Tool(name="look", input_schema={"type": "object", "properties": {}})


@pytest.fixture
def opened(settings: Callable[..., Any]) -> Opened:
    """A process that is open, with nothing asked of it yet."""

    @asynccontextmanager
    async def opened(tools: ClientTools | None = None) -> AsyncIterator[Process]:
        program = Program.of(settings())
        program.prepare()
        process = Process(program, "cred-anna")
        await process.start()
        await process.identity()
        await process.open(oauth("anna"), "", tools)
        yield process
        await process.end()
        program.clear()

    return opened


async def ask(process: Process, text: str) -> str:
    """Asks, and gives the handle of the turn."""
    line = user_line(Message("user", (Text(text),)), ask=True)
    process.send(line)
    while (await process.message(20))["type"] != "result":
        pass
    return str(line["uuid"])


async def step_back(process: Process, uuid: str) -> None:
    assert (await process.request("rewind_conversation", target_message_uuid=uuid))["rewound"]


def configured(stand_in: StandIn) -> tuple[Any, Any]:
    """Thinking and effort of the newest request."""
    body = stand_in.requests[-1].body
    thinking = body.get("thinking", {})
    shown = {name: thinking[name] for name in ("type", "budget_tokens") if name in thinking}
    return shown, body.get("output_config", {}).get("effort")


ADAPTIVE, OFF = {"type": "adaptive"}, {"type": "disabled"}
EFFORTS: list[tuple[str, int, Effort, Any, Any]] = [
    # model, budget and effort that are asked for, thinking and effort that are sent
    ("claude-haiku-4-5", 4000, "high", {"type": "enabled", "budget_tokens": 4000}, None),
    ("claude-opus-4-5", 4000, "max", {"type": "enabled", "budget_tokens": 4000}, "high"),
    ("claude-sonnet-4-6", 4000, "xhigh", ADAPTIVE, "high"),
    ("claude-sonnet-4-6", 4000, "max", ADAPTIVE, "max"),
    ("claude-opus-4-8", 4000, "xhigh", ADAPTIVE, "xhigh"),
    ("claude-opus-4-8", 0, "max", OFF, "max"),
    ("claude-opus-5", 4000, "low", ADAPTIVE, "low"),
    ("claude-opus-5", 0, "max", OFF, "high"),
    ("haiku", 4000, "max", ADAPTIVE, "max"),
    ("haiku", 0, "max", ADAPTIVE, "max"),
]


async def test_an_effort_becomes_the_nearest_that_the_model_has(opened: Opened, stand_in: StandIn) -> None:
    async with opened() as process:
        for model, budget, effort, thinking, sent in EFFORTS:
            await process.apply(Thinking(budget, effort, shown=budget > 0), {"model": model, "effortLevel": effort})
            await step_back(process, await ask(process, "Hello"))
            assert configured(stand_in) == (thinking, sent), model
            assert (stand_in.requests[-1].body["thinking"].get("display") == "summarized") is (budget > 0)


async def test_effort_and_thinking_change_between_turns_and_nothing_before_them_does(
    opened: Opened, stand_in: StandIn
) -> None:
    question = f"Think {script(thinking='let me see', text='Yes')}"
    async with opened() as process:
        for model in ("claude-haiku-4-5", "claude-opus-4-8", "haiku"):
            before: list[Any] = []
            turns: list[str] = []
            for thinking in (Thinking(4000, "low", shown=True), Thinking(0, None), Thinking(2000, "max", shown=True)):
                await process.apply(thinking, {"model": model, "effortLevel": thinking.effort})
                turns.append(await ask(process, question))
                after = plain(stand_in.requests[-1].body["messages"])
                assert after[: len(before)] == before
                before = after
            assert "local-command" not in str(before)
            for uuid in reversed(turns):
                await step_back(process, uuid)


def plain(messages: list[dict[str, Any]]) -> list[Any]:
    """Messages without what is only said of the cache, texts as blocks."""
    turns = []
    for message in messages:
        content = message["content"]
        blocks = [{"type": "text", "text": content}] if isinstance(content, str) else content
        kept = [{name: value for name, value in block.items() if name != "cache_control"} for block in blocks]
        turns.append((message["role"], kept, message.get("output_config")))
    return turns


async def test_a_step_back_takes_the_effort_of_its_turn_with_it(opened: Opened, stand_in: StandIn) -> None:
    async with opened() as process:
        await process.apply(Thinking(4000, "max"), {"model": "haiku", "effortLevel": "max"})
        await step_back(process, await ask(process, "Hello"))
        await process.apply(Thinking(), {"model": "haiku", "effortLevel": None})
        await ask(process, "Fresh")
    async with opened() as process:
        await process.apply(Thinking(), {"model": "haiku", "effortLevel": None})
        await ask(process, "Fresh")
    *_, again, fresh = stand_in.requests
    assert again.body["messages"] == fresh.body["messages"]


async def test_a_turn_that_waits_for_tools_goes_on_thinking_as_it_began(opened: Opened, stand_in: StandIn) -> None:
    tools = ClientTools((LOOK,))
    call = script(thinking="which?", tools=[{"name": "mcp__client__look", "id": "toolu_1"}], then={"text": "Rain."})
    async with opened(tools) as process:
        await process.apply(Thinking(4000, "low"), {"model": "claude-haiku-4-5", "effortLevel": "low"})
        asking = asyncio.create_task(ask(process, f"Go {call}"))
        async with asyncio.timeout(10):
            while len(stand_in.requests) < 1 or not tools._results:
                await asyncio.sleep(0.005)
        await process.apply(Thinking(), None)
        tools.bring(ToolResult("toolu_1", (Text("rain"),)))
        await asking
        assert configured(stand_in)[0] == {"type": "enabled", "budget_tokens": 4000}
        await ask(process, "And now?")
        assert configured(stand_in)[0] == {"type": "disabled"}


async def test_another_model_between_turns_leaves_a_mark_and_before_the_first_none(
    opened: Opened, stand_in: StandIn
) -> None:
    async with opened() as process:
        await process.apply(Thinking(), {"model": "haiku"})
        await step_back(process, await ask(process, "One"))
        await process.apply(Thinking(), {"model": "sonnet"})
        await ask(process, "One")
        assert "local-command" not in str(stand_in.requests[-1].body["messages"])
        await process.apply(Thinking(), {"model": "haiku"})
        await ask(process, "Two")
        assert "local-command" in str(stand_in.requests[-1].body["messages"])
