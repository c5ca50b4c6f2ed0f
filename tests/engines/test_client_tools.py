"""Tools that the client runs: Claude Code calls, the process waits parked, the next request brings the results."""

from __future__ import annotations

import asyncio
import json
import os
import signal
from collections.abc import Awaitable, Callable
from typing import Any

import psutil
import pytest
import pytest_asyncio
from making import oauth
from msgspec import structs

from claude_code_api.conversation import (
    Conversation,
    Event,
    Finished,
    Message,
    Sampling,
    Text,
    TextDelta,
    Tool,
    ToolArguments,
    ToolCall,
    ToolChoice,
    ToolResult,
    ToolUse,
)
from claude_code_api.engines.claude_code import ClaudeCode
from claude_code_api.settings import Settings
from claude_code_api.stand_in import StandIn, script
from claude_code_api.stand_in.record import RecordedRequest

StartEngine = Callable[..., Awaitable[ClaudeCode]]

WEATHER = Tool(
    name="get_weather",
    description="The weather",
    input_schema={"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
)
CLOCK = Tool(name="clock-2_x", input_schema={"type": "object", "properties": {}})


@pytest_asyncio.fixture
async def engine(start_engine: StartEngine) -> ClaudeCode:
    return await start_engine(reuse_processes=True, max_processes=4)


def calling(*calls: dict[str, Any], text: str = "", **then: Any) -> str:
    tools = [{**call, "name": f"mcp__client__{call['name']}"} for call in calls]
    return f"Go {script(text=text, tools=tools, then=then or {'text': 'Done.'})}"


def asking(*messages: Message, **fields: Any) -> Conversation:
    return Conversation(**{"model": "haiku", "messages": messages, "tools": (WEATHER, CLOCK), **fields})


def user(text: str) -> Message:
    return Message("user", (Text(text),))


async def ask(engine: ClaudeCode, conversation: Conversation) -> tuple[Message, list[Event]]:
    """The assistant's turn as a client would put it together, and all events."""
    events = [event async for event in engine.answer(conversation, oauth("anna"), "tenant")]
    text = "".join(event.text for event in events if isinstance(event, TextDelta))
    calls = [
        ToolUse(
            call.id,
            call.name,
            json.loads(
                "".join(e.json for e in events if isinstance(e, ToolArguments) and e.index == call.index) or "{}"
            ),
        )
        for call in events
        if isinstance(call, ToolCall)
    ]
    return Message("assistant", (*((Text(text),) if text else ()), *calls)), events


def results(turn: Message, *texts: str, is_error: bool = False) -> Message:
    calls = [block for block in turn.content if isinstance(block, ToolUse)]
    return Message("user", tuple(ToolResult(c.id, (Text(t),), is_error) for c, t in zip(calls, texts, strict=True)))


def processes(stand_in: StandIn) -> list[str]:
    return [request.headers["x-claude-code-session-id"] for request in stand_in.requests]


def sent(request: RecordedRequest) -> list[tuple[str, list[dict[str, Any]]]]:
    turns = [turn for turn in request.body["messages"] if turn["role"] != "system"]
    return [
        (turn["role"], [{k: v for k, v in block.items() if k != "cache_control"} for block in turn["content"]])
        for turn in turns
        if not isinstance(turn["content"], str)
    ]


async def test_tools_are_offered_under_their_names_and_schemas(engine: ClaudeCode, stand_in: StandIn) -> None:
    await ask(engine, asking(user("Hello")))
    offered = {tool["name"]: tool for tool in stand_in.requests[0].body["tools"]}
    assert set(offered) == {"mcp__client__get_weather", "mcp__client__clock-2_x"}
    assert offered["mcp__client__get_weather"]["input_schema"] == WEATHER.input_schema
    assert offered["mcp__client__get_weather"]["description"] == "The weather"


async def test_a_call_reaches_the_client_and_its_result_the_model(engine: ClaudeCode, stand_in: StandIn) -> None:
    question = user(calling({"name": "get_weather", "input": {"city": "Paris"}}, text="Let me see. "))
    turn, events = await ask(engine, asking(question))
    (call,) = [block for block in turn.content if isinstance(block, ToolUse)]
    assert (call.name, call.input) == ("get_weather", {"city": "Paris"})
    assert turn.content[0] == Text("Let me see. ")
    assert isinstance(end := events[-1], Finished)
    assert end.stop_reason == "tool_use"
    answered, _ = await ask(engine, asking(question, turn, results(turn, "Sunny")))
    assert answered.content == (Text("Done."),)
    assert len(set(processes(stand_in))) == 1
    role, blocks = sent(stand_in.requests[-1])[-1]
    assert (role, blocks[0]["type"], blocks[0]["tool_use_id"]) == ("user", "tool_result", call.id)
    assert "Sunny" in str(blocks[0]["content"])


async def test_several_calls_at_once_take_their_results_in_any_order(engine: ClaudeCode, stand_in: StandIn) -> None:
    question = user(calling({"name": "get_weather", "input": {"city": "Rome"}}, {"name": "clock-2_x", "input": {}}))
    turn, _ = await ask(engine, asking(question))
    back = results(turn, "Rain", "Noon")
    reversed_ = Message("user", tuple(reversed(back.content)))
    answered, _ = await ask(engine, asking(question, turn, reversed_))
    assert answered.content == (Text("Done."),)
    brought = {
        b["tool_use_id"]: str(b["content"])
        for _, bs in sent(stand_in.requests[-1])
        for b in bs
        if b["type"] == "tool_result"
    }
    first, second = (block.id for block in turn.content if isinstance(block, ToolUse))
    assert "Rain" in brought[first]
    assert "Noon" in brought[second]
    assert len(set(processes(stand_in))) == 1


async def test_an_error_as_a_result_is_an_error(engine: ClaudeCode, stand_in: StandIn) -> None:
    question = user(calling({"name": "clock-2_x", "input": {}}))
    turn, _ = await ask(engine, asking(question))
    await ask(engine, asking(question, turn, results(turn, "It is broken", is_error=True)))
    (block,) = sent(stand_in.requests[-1])[-1][1]
    assert block["is_error"] is True
    assert "It is broken" in str(block["content"])


async def test_nothing_of_a_tool_is_written_to_disk(
    engine: ClaudeCode, stand_in: StandIn, settings: Callable[..., Settings]
) -> None:
    question = user(calling({"name": "clock-2_x", "input": {}}))
    turn, _ = await ask(engine, asking(question))
    await ask(engine, asking(question, turn, results(turn, "It is broken", is_error=True)))
    ((live,),) = engine._pool._live.values()
    program = psutil.Process(live.process.pid)
    program.terminate()  # it writes what it holds back before it ends
    await asyncio.to_thread(program.wait)
    files = [path for path in settings().data_dir.rglob("*") if path.is_file()]
    assert any(path.name == ".claude.json" for path in files)
    assert not [path for path in files if "mcp" in str(path) or "clock-2_x" in path.read_text(errors="replace")]


async def test_a_large_result_arrives_whole(engine: ClaudeCode, stand_in: StandIn) -> None:
    question = user(calling({"name": "clock-2_x", "input": {}}))
    turn, _ = await ask(engine, asking(question))
    await ask(engine, asking(question, turn, results(turn, "y" * 500_000)))
    assert not list(engine._program.homes.rglob("tool-results")), "nothing of it is written to disk"
    assert "y" * 500_000 in str(sent(stand_in.requests[-1])[-1][1])


async def test_a_loop_of_calls_stays_on_one_process_and_goes_on_as_a_conversation(
    engine: ClaudeCode, stand_in: StandIn
) -> None:
    inner = {"tools": [{"name": "mcp__client__get_weather", "input": {"city": "Oslo"}}], "then": {"text": "Cold."}}
    question = user(calling({"name": "clock-2_x", "input": {}}, **inner))
    first, _ = await ask(engine, asking(question))
    second, _ = await ask(engine, asking(question, first, results(first, "Noon")))
    third, _ = await ask(engine, asking(question, first, results(first, "Noon"), second, results(second, "-5")))
    assert third.content == (Text("Cold."),)
    history = (question, first, results(first, "Noon"), second, results(second, "-5"), third)
    fourth, _ = await ask(engine, asking(*history, user("And now?")))
    assert fourth.content
    assert len(set(processes(stand_in))) == 1


@pytest.mark.parametrize("lost", ["killed", "never there"])
async def test_without_its_process_calls_and_results_are_native_history(
    engine: ClaudeCode, start_engine: StartEngine, stand_in: StandIn, lost: str
) -> None:
    question = user(calling({"name": "get_weather", "input": {"city": "Paris"}}, {"name": "clock-2_x", "input": {}}))
    if lost == "killed":
        turn, _ = await ask(engine, asking(question))
        ((live,),) = engine._pool._live.values()
        os.kill(live.process.pid, signal.SIGKILL)
    else:
        calls = (ToolUse("call_1", "get_weather", {"city": "Paris"}), ToolUse("call_2", "clock-2_x", {}))
        turn = Message("assistant", (Text("Well."), *calls))
    engine = await start_engine(reuse_processes=True) if lost == "never there" else engine
    answered, _ = await ask(engine, asking(question, turn, results(turn, "Sunny", "Noon")))
    assert answered.content == (Text("Done."),)
    turns = sent(stand_in.requests[-1])
    assert [role for role, _ in turns] == ["user", "assistant", "user"]
    uses = [block for block in turns[1][1] if block["type"] == "tool_use"]
    assert [use["name"] for use in uses] == ["mcp__client__get_weather", "mcp__client__clock-2_x"]
    assert [block["type"] for block in turns[2][1]] == ["tool_result", "tool_result"]


async def test_another_question_instead_of_a_result_leaves_no_trace_of_the_calls(
    engine: ClaudeCode, stand_in: StandIn
) -> None:
    question = user(calling({"name": "clock-2_x", "input": {}}))
    await ask(engine, asking(question))
    await ask(engine, asking(user("Something else")))
    assert "tool_use" not in str(stand_in.requests[-1].body["messages"])
    assert "Request interrupted" not in str(stand_in.requests[-1].body)


async def test_a_call_of_a_tool_that_there_is_not_is_the_clients_to_answer(
    engine: ClaudeCode, stand_in: StandIn
) -> None:
    """Claude Code would answer it by itself, and ask the model to go on."""
    calls = [{"name": "mcp__client__no_such"}, {"name": "clock-2_x"}, {"name": "mcp__client__get_weather"}]
    question = user(script(tools=calls, then={"text": "I see."}))
    turn, _ = await ask(engine, asking(question))
    assert [block.name for block in turn.content if isinstance(block, ToolUse)] == [
        "no_such",
        "clock-2_x",
        "get_weather",
    ]
    back = results(turn, "Not here.", "Not by this name.", "Rain", is_error=True)
    answered, _ = await ask(engine, asking(question, turn, back))
    assert answered.content == (Text("I see."),)
    told = [block["content"][0]["text"] for block in sent(stand_in.requests[-1])[-1][1]]
    assert told == ["Not here.", "Not by this name.", "Rain"]


async def test_what_a_user_says_beside_the_results_takes_the_process_that_waits(
    engine: ClaudeCode, stand_in: StandIn
) -> None:
    question = user(calling({"name": "get_weather", "input": {"city": "Rome"}}))
    turn, _ = await ask(engine, asking(question))
    more = Message("user", (*results(turn, "Rain").content, *user(script(text="Then stay.")).content))
    answered, _ = await ask(engine, asking(question, turn, more))
    assert answered.content == (Text("Then stay."),)
    assert len(set(processes(stand_in))) == 1
    assert [block["type"] for block in sent(stand_in.requests[-1])[-1][1]] == ["tool_result", "text"]


async def test_results_that_never_come_do_not_cost_a_process_for_each_request(
    start_engine: StartEngine, stand_in: StandIn
) -> None:
    engine = await start_engine(max_processes=2)
    for number in range(4):  # as where a tool's arguments are all that is wanted
        turn, _ = await ask(engine, asking(user(calling({"name": "clock-2_x", "input": {"number": number}}))))
        assert f"'number': {number}" in str(turn.content)
    assert len(set(processes(stand_in))) == 2
    assert "tool_use" not in str(sent(stand_in.requests[-1])), "nor is anything left of them"


async def test_a_parked_process_is_ended_after_its_time(start_engine: StartEngine, stand_in: StandIn) -> None:
    engine = await start_engine(reuse_processes=True, parked_timeout=0.01)
    question = user(calling({"name": "clock-2_x", "input": {}}))
    turn, _ = await ask(engine, asking(question))
    engine._pool.keep_ready("cred-anna")
    async with asyncio.timeout(5):
        while engine._pool._live:
            engine._pool._changed.set()
            await asyncio.sleep(0.01)
    answered, _ = await ask(engine, asking(question, turn, results(turn, "Noon")))
    assert answered.content == (Text("Done."),)


@pytest.mark.parametrize(
    ("choice", "on_the_wire"),
    [
        (ToolChoice(type="any"), {"type": "any"}),
        (ToolChoice(type="none"), {"type": "none"}),
        (ToolChoice(type="tool", name="clock-2_x"), {"type": "tool", "name": "mcp__client__clock-2_x"}),
        (ToolChoice(disable_parallel_tool_use=True), {"type": "auto", "disable_parallel_tool_use": True}),
    ],
)
async def test_the_choice_of_tools_reaches_the_request(
    engine: ClaudeCode, stand_in: StandIn, choice: ToolChoice, on_the_wire: dict[str, Any]
) -> None:
    await ask(engine, asking(user("Hello"), sampling=Sampling(tool_choice=choice)))
    assert stand_in.requests[0].body["tool_choice"] == on_the_wire


async def test_an_output_schema_reaches_the_request_as_given(engine: ClaudeCode, stand_in: StandIn) -> None:
    schema = {
        "type": "object",
        "properties": {"a": {"type": "integer"}},
        "required": ["a"],
        "additionalProperties": False,
    }
    conversation = structs.replace(asking(user("Hello"), tools=()), sampling=Sampling(output_schema=schema))
    await ask(engine, conversation)
    assert stand_in.requests[0].body["output_config"]["format"] == {"type": "json_schema", "schema": schema}


async def test_128_tools_are_offered(engine: ClaudeCode, stand_in: StandIn) -> None:
    tools = tuple(Tool(name=f"t{number}", input_schema={"type": "object"}) for number in range(128))
    await ask(engine, asking(user("Hello"), tools=tools))
    assert len(stand_in.requests[0].body["tools"]) == 128


async def test_any_name_and_a_long_description_arrive_whole(engine: ClaudeCode, stand_in: StandIn) -> None:
    names = ("a__b", "mcp__x", "-a", "1a", "_", "x" * 64, "Bash", "Read", "mcp__client__y", "constructor", "A", "a")
    schema = {"type": "object", "properties": {"x": {"type": "string", "description": "x" * 9000}}}
    tools = tuple(Tool(name=name, description="é" * 9000, input_schema=schema) for name in names)
    await ask(engine, asking(user("Hello"), tools=tools))
    offered = {tool["name"]: tool for tool in stand_in.requests[0].body["tools"]}
    assert set(offered) == {f"mcp__client__{name}" for name in names}
    assert all((t["description"], t["input_schema"]) == ("é" * 9000, schema) for t in offered.values())


async def test_tools_that_changed_are_the_only_ones_offered_and_calls_of_old_ones_stay_in_history(
    engine: ClaudeCode, stand_in: StandIn
) -> None:
    question = user(calling({"name": "get_weather", "input": {"city": "Paris"}}))
    turn, _ = await ask(engine, asking(question))
    answered, _ = await ask(engine, asking(question, turn, results(turn, "Sunny"), tools=(CLOCK,)))
    assert answered.content == (Text("Done."),)
    body = stand_in.requests[-1].body
    assert [tool["name"] for tool in body["tools"]] == ["mcp__client__clock-2_x"]
    assert [block["type"] for _, blocks in sent(stand_in.requests[-1]) for block in blocks if "name" in block] == [
        "tool_use"
    ]


async def test_a_call_of_a_tool_that_is_not_offered_is_the_clients_to_answer(
    engine: ClaudeCode, stand_in: StandIn
) -> None:
    question = user(calling({"name": "gone", "input": {}}))
    turn, _ = await ask(engine, asking(question))
    assert [block.name for block in turn.content if isinstance(block, ToolUse)] == ["gone"]
    answered, _ = await ask(engine, asking(question, turn, results(turn, "There is none")))
    assert answered.content == (Text("Done."),)
    assert "There is none" in str(sent(stand_in.requests[-1])[-1])
    assert len(stand_in.requests) == 2, "Claude Code asked nothing by itself"
