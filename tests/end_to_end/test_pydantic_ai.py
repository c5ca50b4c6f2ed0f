"""Pydantic AI's agents run unchanged, and what they send back finds the process that waits for it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
import pytest_asyncio
from agent_loops import LONG_TASK, Place, call, processes, results, task
from gateways import Gateway
from pydantic_ai import Agent, AgentRunResult, AgentRunResultEvent, ModelRetry, NativeOutput, PromptedOutput, RunContext
from pydantic_ai.messages import ModelMessagesTypeAdapter
from pydantic_ai.models.openai import OpenAIChatModel
from pydantic_ai.providers.openai import OpenAIProvider

from claude_code_api.stand_in import StandIn

Run = Callable[..., Awaitable[AgentRunResult[Any]]]


@pytest_asyncio.fixture(scope="module")
async def model(gateway: Gateway) -> AsyncIterator[OpenAIChatModel]:
    async with gateway.async_client(gateway.key("pydantic-ai")) as client:
        yield OpenAIChatModel("haiku", provider=OpenAIProvider(openai_client=client))


async def whole(agent: Agent[None, Any], prompt: str, **fields: Any) -> AgentRunResult[Any]:
    return await agent.run(prompt, **fields)


async def streamed(agent: Agent[None, Any], prompt: str, **fields: Any) -> AgentRunResult[Any]:
    async with agent.run_stream_events(prompt, **fields) as events:
        (end,) = [event async for event in events if isinstance(event, AgentRunResultEvent)]
    return end.result


both = pytest.mark.parametrize("run", [whole, streamed])


def agent_with_tools(model: OpenAIChatModel, **fields: Any) -> Agent[None, Any]:
    agent: Agent[None, Any] = Agent(model, instructions="Be exact.", retries=3, **fields)

    @agent.tool_plain
    def add(a: int, b: int) -> int:
        """Adds two numbers."""
        return a + b

    @agent.tool_plain
    def fail(why: str) -> str:
        """Fails."""
        raise ModelRetry(f"Not like this: {why}")

    @agent.tool_plain
    async def weather(city: str, days: list[int] | None = None) -> dict[str, Any]:
        """The weather of a city."""
        return {"city": city, "days": days}

    return agent


@both
async def test_a_loop_of_ten_calls_and_the_next_run_stay_on_one_process(
    model: OpenAIChatModel, stand_in: StandIn, run: Run
) -> None:
    agent = agent_with_tools(model)
    first = await run(agent, LONG_TASK)
    assert first.output == "All done."
    said = results(stand_in.requests[-1])
    assert (said[0], said[4], said[8], len(said)) == ("3", "4", "30", 10)
    assert "Łódź ✨" in said[1]
    assert "Not like this: no reason" in said[2]
    assert "valid integer" in said[6]
    kept = ModelMessagesTypeAdapter.validate_json(first.all_messages_json())  # as programs that keep histories do
    again = await run(
        agent, task({"text": "Once more.", "tools": [call("add", a=5, b=5)]}, {"text": "Ten."}), message_history=kept
    )
    assert again.output == "Ten."
    assert len(processes(stand_in)) == 9
    assert len(set(processes(stand_in))) == 1


async def test_a_call_of_an_unknown_tool_is_answered_by_the_library(model: OpenAIChatModel, stand_in: StandIn) -> None:
    run = await agent_with_tools(model).run(
        task({"tools": [call("guess", a=1), call("add", a=1, b=2)]}, {"text": "I see."})
    )
    assert run.output == "I see."
    told, added = results(stand_in.requests[-1])
    assert "Unknown tool name: 'guess'" in told, "and not in Claude Code's words"
    assert added == "3"


@both
async def test_an_output_by_a_tool_is_checked_and_asked_for_again(
    model: OpenAIChatModel, stand_in: StandIn, run: Run
) -> None:
    agent = agent_with_tools(model, output_type=Place)
    wrong, right = call("final_result", town="Rome"), call("final_result", city="Rome", degrees=30)
    first = await run(agent, task({"tools": [call("weather", city="Rome")]}, {"tools": [wrong]}, {"tools": [right]}))
    assert first.output == Place(city="Rome", degrees=30)
    assert len(set(processes(stand_in))) == 1
    then = await run(agent, task({"tools": [call("final_result", city="Oslo")]}), message_history=first.all_messages())
    assert then.output == Place(city="Oslo")


@pytest.mark.parametrize("form", [NativeOutput, PromptedOutput])
@both
async def test_an_output_as_text_is_of_its_form_with_tools_beside_it(
    model: OpenAIChatModel, stand_in: StandIn, run: Run, form: Any
) -> None:
    answers = {"tools": [call("weather", city="Rome")]}, {"text": '{"city": "Rome", "degrees": null}'}
    assert (await run(agent_with_tools(model, output_type=form(Place)), task(*answers))).output == Place(city="Rome")
    asked_for = str(stand_in.requests[-1].body["output_config"])
    assert ("city" in asked_for) == (form is NativeOutput), "the other asks for any object, and tells the form in words"
    assert len(set(processes(stand_in))) == 1


async def test_an_agent_may_ask_others_at_once_while_its_own_call_waits(
    model: OpenAIChatModel, stand_in: StandIn
) -> None:
    helper = agent_with_tools(model)
    boss: Agent[None, str] = Agent(model, instructions="Delegate.")

    @boss.tool
    async def ask(context: RunContext[None], about: str) -> str:
        return str((await helper.run(about, usage=context.usage)).output)

    asked = [
        call("ask", about=task({"tools": [call("weather", city=city)]}, {"text": f"{city} is fine."}))
        for city in ("Rome", "Oslo")
    ]
    result = await streamed(boss, task({"tools": asked}, {"text": "Both are."}))
    assert result.output == "Both are."
    assert results(stand_in.requests[-1]) == ["Rome is fine.", "Oslo is fine."]
    assert result.usage.requests == 6
    assert len(set(processes(stand_in))) == 3
