"""Tools and structured outputs, through the vendor's own client and the real Claude Code."""

from __future__ import annotations

import json
from typing import Any

import openai
import pytest
from asking import ask
from pydantic import BaseModel

from claude_code_api.stand_in import StandIn, script

WEATHER: dict[str, Any] = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "The weather of a city",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    },
}
CLOCK: dict[str, Any] = {"type": "function", "function": {"name": "clock"}}


def calling(*cities: str, text: str = "") -> str:
    calls = [{"name": "mcp__client__get_weather", "input": {"city": city}} for city in cities]
    return f"How is it? {script(text=text, tools=calls, then={'text': 'It is fine.'})}"


def processes(stand_in: StandIn) -> set[str]:
    return {request.headers["x-claude-code-session-id"] for request in stand_in.requests}


@pytest.mark.parametrize("streamed", [False, True])
def test_calls_come_to_the_client_and_their_results_go_to_the_model(
    client: openai.OpenAI, stand_in: StandIn, streamed: bool
) -> None:
    question = {"role": "user", "content": calling("Paris", "Rome", text="Let me see. ")}
    if streamed:
        with client.chat.completions.stream(model="haiku", messages=[question], tools=[WEATHER, CLOCK]) as chunks:
            answer = chunks.get_final_completion()
    else:
        answer = client.chat.completions.create(model="haiku", messages=[question], tools=[WEATHER, CLOCK])
    (choice,) = answer.choices
    assert choice.finish_reason == "tool_calls"
    assert choice.message.content == "Let me see. "
    calls = choice.message.tool_calls
    assert [(call.function.name, json.loads(call.function.arguments)) for call in calls] == [
        ("get_weather", {"city": "Paris"}),
        ("get_weather", {"city": "Rome"}),
    ]
    results = [
        {"role": "tool", "tool_call_id": call.id, "content": f"{number} degrees"} for number, call in enumerate(calls)
    ]
    turn = choice.message.model_dump(exclude_none=True, exclude={"parsed"})
    for call in turn["tool_calls"]:
        call["function"].pop("parsed_arguments", None)
    after = client.chat.completions.create(
        model="haiku", messages=[question, turn, *reversed(results)], tools=[WEATHER, CLOCK]
    )
    assert after.choices[0].message.content == "It is fine."
    assert len(processes(stand_in)) == 1, "the process waited for the results"
    sent = str(stand_in.requests[-1].body["messages"])
    assert "0 degrees" in sent
    assert "1 degrees" in sent


def test_a_call_may_be_demanded(client: openai.OpenAI, stand_in: StandIn) -> None:
    chosen = {"type": "function", "function": {"name": "clock"}}
    ask(client, "Hello", tools=[WEATHER, CLOCK], tool_choice=chosen)
    assert stand_in.requests[-1].body["tool_choice"] == {"type": "tool", "name": "mcp__client__clock"}


class Point(BaseModel):
    x: int
    y: int


def test_a_structured_answer_is_parsed(client: openai.OpenAI, stand_in: StandIn) -> None:
    prompt = f"Where? {script(text=json.dumps({'x': 1, 'y': 2}))}"
    answer = client.chat.completions.parse(
        model="haiku", messages=[{"role": "user", "content": prompt}], response_format=Point
    )
    assert answer.choices[0].message.parsed == Point(x=1, y=2)
    form = stand_in.requests[-1].body["output_config"]["format"]
    assert form["type"] == "json_schema"
    assert set(form["schema"]["properties"]) == {"x", "y"}
