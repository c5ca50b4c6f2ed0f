"""The OpenAI Agents SDK's loops run unchanged, and what they send back finds the process that waits for it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
import pytest_asyncio
from agent_loops import LONG_TASK, Place, call, processes, results, task
from agents import (
    Agent,
    ModelSettings,
    OpenAIChatCompletionsModel,
    RunConfig,
    Runner,
    SQLiteSession,
    function_tool,
)
from agents.result import RunResultBase
from gateways import Gateway

from claude_code_api.stand_in import StandIn

Run = Callable[..., Awaitable[RunResultBase]]
UNTRACED = RunConfig(tracing_disabled=True)  # it would send what was said to OpenAI


@pytest_asyncio.fixture(scope="module")
async def model(gateway: Gateway) -> AsyncIterator[OpenAIChatCompletionsModel]:
    async with gateway.async_client(gateway.key("agents")) as client:
        yield OpenAIChatCompletionsModel("haiku", client)


async def whole(agent: Agent[None], prompt: Any, **fields: Any) -> RunResultBase:
    return await Runner.run(agent, prompt, run_config=UNTRACED, **fields)


async def streamed(agent: Agent[None], prompt: Any, **fields: Any) -> RunResultBase:
    result = Runner.run_streamed(agent, prompt, run_config=UNTRACED, **fields)
    assert [event.type async for event in result.stream_events()].count("raw_response_event") > 3
    return result


both = pytest.mark.parametrize("run", [whole, streamed])


@function_tool
def add(a: int, b: int) -> int:
    """Adds two numbers."""
    return a + b


@function_tool
def fail(why: str) -> str:
    """Fails."""
    raise ValueError(why)


@function_tool
async def weather(city: str, days: list[int] | None = None) -> dict[str, Any]:
    """The weather of a city."""
    return {"city": city, "days": days}


@both
async def test_a_loop_of_ten_calls_and_the_next_run_stay_on_one_process(
    model: OpenAIChatCompletionsModel, stand_in: StandIn, run: Run
) -> None:
    agent = Agent(name="Counter", instructions="Be exact.", model=model, tools=[add, fail, weather])
    first = await run(agent, LONG_TASK)
    assert first.final_output == "All done."
    said = results(stand_in.requests[-1])
    assert (said[0], said[4], said[8], len(said)) == ("3", "4", "30", 10)
    assert "Łódź ✨" in said[1]
    assert "error occurred" in said[2]
    assert "error" in said[6]
    more = {"role": "user", "content": task({"text": "Once more.", "tools": [call("add", a=5, b=5)]}, {"text": "Ten."})}
    assert (await run(agent, [*first.to_input_list(), more])).final_output == "Ten."
    assert len(processes(stand_in)) == 9
    assert len(set(processes(stand_in))) == 1


@both
async def test_a_session_keeps_the_conversation_and_its_process(
    model: OpenAIChatCompletionsModel, stand_in: StandIn, run: Run
) -> None:
    agent = Agent(name="Counter", instructions="Remember.", model=model, tools=[add])
    with_memory = {"session": SQLiteSession("one")}
    for number in range(3):
        prompt = task({"text": f"Turn {number}. ", "tools": [call("add", a=number, b=1)]}, {"text": f"Turn {number}."})
        assert (await run(agent, prompt, **with_memory)).final_output == f"Turn {number}."
    assert results(stand_in.requests[-1]) == ["1", "2", "3"]
    assert len(set(processes(stand_in))) == 1


@both
async def test_a_structured_output_with_tools_beside_it(
    model: OpenAIChatCompletionsModel, stand_in: StandIn, run: Run
) -> None:
    agent = Agent(name="Guide", model=model, tools=[weather], output_type=Place)
    answers = {"tools": [call("weather", city="Rome")]}, {"text": '{"city": "Rome", "degrees": null}'}
    assert (await run(agent, task(*answers))).final_output == Place(city="Rome")
    assert set(stand_in.requests[-1].body["output_config"]["format"]["schema"]["properties"]) == {"city", "degrees"}
    assert len(set(processes(stand_in))) == 1


async def test_a_handoff_takes_the_whole_conversation_to_another_agent(
    model: OpenAIChatCompletionsModel, stand_in: StandIn
) -> None:
    guide = Agent(name="Guide", instructions="Guide.", model=model, tools=[weather])
    desk = Agent(name="Desk", instructions="Hand over.", model=model, tools=[add], handoffs=[guide])
    result = await streamed(
        desk,
        task(
            {"tools": [call("add", a=1, b=1)]},
            {"tools": [call("transfer_to_guide")]},
            {"tools": [call("weather", city="Rome")]},
            {"text": "It is fine."},
        ),
    )
    assert (result.final_output, result.last_agent.name) == ("It is fine.", "Guide")
    added, handed_over, _ = results(stand_in.requests[-1])
    assert (added, "Guide" in handed_over) == ("2", True)
    first, second, third, fourth = processes(stand_in)
    assert (first, third) == (second, fourth)
    assert first != third, "another system prompt and other tools are another process"


async def test_agents_as_tools_are_asked_at_once_while_the_call_waits(
    model: OpenAIChatCompletionsModel, stand_in: StandIn
) -> None:
    guide = Agent(name="Guide", instructions="Guide.", model=model, tools=[weather])
    boss = Agent(
        name="Boss", instructions="Delegate.", model=model, tools=[guide.as_tool("ask", "Asks.", run_config=UNTRACED)],
        model_settings=ModelSettings(tool_choice="required", parallel_tool_calls=True),
    )  # fmt: skip
    asked = [
        call("ask", input=task({"tools": [call("weather", city=city)]}, {"text": f"{city} is fine."}))
        for city in ("Rome", "Oslo")
    ]
    assert (await streamed(boss, task({"tools": asked}, {"text": "Both are."}))).final_output == "Both are."
    assert results(stand_in.requests[-1]) == ["Rome is fine.", "Oslo is fine."]
    assert stand_in.requests[0].body["tool_choice"] == {"type": "any"}
    assert len(set(processes(stand_in))) == 3
