"""Structured outputs through the vendor's own client, as programs use it, and the real Claude Code."""

from __future__ import annotations

import json
from enum import Enum
from typing import Any, Literal

import openai
import pytest
from pydantic import BaseModel, Field

from claude_code_api.stand_in import StandIn, script


class Colour(Enum):
    RED = "red"
    BLUE = "blue"


class Cat(BaseModel):
    kind: Literal["cat"]
    lives: int


class Dog(BaseModel):
    kind: Literal["dog"]
    tricks: list[str]


class Home(BaseModel):
    """Nested, optional, an enumeration, a list, and unions with and without a discriminator."""

    owner: str = Field(min_length=1)
    colour: Colour
    storeys: int | None
    favourite: Cat | Dog
    pets: list[Cat | Dog]
    guest: Cat | Dog = Field(discriminator="kind")


HOME = Home(
    owner="Zoë 😀",
    colour=Colour.BLUE,
    storeys=None,
    favourite=Cat(kind="cat", lives=9),
    pets=[Dog(kind="dog", tricks=["sit"]), Cat(kind="cat", lives=1)],
    guest=Dog(kind="dog", tricks=[]),
)


class Part(BaseModel):
    name: str
    parts: list[Part]


class Weather(BaseModel):
    """The weather of a city"""

    city: str
    unit: Literal["C", "F"] | None


def asked(**answer: Any) -> Any:
    return [{"role": "user", "content": script(**answer)}]


def schema_sent(stand_in: StandIn) -> dict[str, Any]:
    form = stand_in.requests[-1].body["output_config"]["format"]
    assert form["type"] == "json_schema"
    return dict(form["schema"])


@pytest.mark.parametrize("streamed", [False, True])
@pytest.mark.parametrize(
    ("answer", "fault"),
    [
        ({"text": '{"x": 1', "stop_reason": "refusal"}, openai.ContentFilterFinishReasonError),
        ({"text": '{"owner": ', "stop_reason": "max_tokens"}, openai.LengthFinishReasonError),
    ],
)
def test_an_answer_that_is_not_whole_is_never_parsed(
    client: openai.OpenAI, answer: dict[str, Any], fault: type[Exception], streamed: bool
) -> None:
    given: Any = {"model": "haiku", "messages": asked(**answer), "response_format": Home}
    if streamed:
        with client.chat.completions.stream(**given) as stream, pytest.raises(fault):
            stream.get_final_completion()
    else:
        with pytest.raises(fault):
            client.chat.completions.parse(**given)


def test_a_model_with_all_that_models_have_is_parsed(client: openai.OpenAI, stand_in: StandIn) -> None:
    answer = client.chat.completions.parse(
        model="haiku", messages=asked(text=HOME.model_dump_json()), response_format=Home
    )
    assert answer.choices[0].message.parsed == HOME
    schema = schema_sent(stand_in)
    assert set(schema["required"]) == set(Home.model_fields)
    assert schema["additionalProperties"] is False
    assert schema["$defs"]["Cat"]["additionalProperties"] is False
    assert len(schema["properties"]["favourite"]["anyOf"]) == len(schema["properties"]["guest"]["anyOf"]) == 2
    assert "minLength" in schema["properties"]["owner"]["description"], "what no grammar holds, the model reads"
    assert "oneOf" not in json.dumps(schema)


def test_a_recursive_model_is_a_clear_refusal(client: openai.OpenAI, stand_in: StandIn) -> None:
    with pytest.raises(openai.BadRequestError) as refused:
        client.chat.completions.parse(model="haiku", messages=asked(text="{}"), response_format=Part)
    assert (refused.value.code, refused.value.type) == ("invalid_json_schema", "invalid_request_error")
    assert str(refused.value.param).startswith("response_format.json_schema.schema.")
    assert "recursive" in refused.value.message
    assert not stand_in.requests, "nobody was asked"


def test_a_streamed_one_tells_its_events_and_is_parsed(client: openai.OpenAI) -> None:
    with client.chat.completions.stream(
        model="haiku", messages=asked(chunks=list(HOME.model_dump_json())), response_format=Home
    ) as stream:
        events = list(stream)
        final = stream.get_final_completion()
    kinds = [event.type for event in events]
    text = "".join(event.delta for event in events if event.type == "content.delta")
    (done,) = [event for event in events if event.type == "content.done"]
    assert text == HOME.model_dump_json()
    assert done.parsed == final.choices[0].message.parsed == HOME
    assert kinds.index("content.delta") < kinds.index("content.done")
    partial = [event.parsed for event in events if event.type == "content.delta" and event.parsed]
    assert {"owner": "Zoë 😀"}.items() <= partial[-1].items(), "the client reads it while it grows"


@pytest.mark.parametrize("streamed", [False, True])
def test_tools_and_a_structured_answer_go_together(client: openai.OpenAI, stand_in: StandIn, streamed: bool) -> None:
    call = {"name": "mcp__client__Weather", "input": {"city": "Kōbe", "unit": None}}
    messages = asked(tools=[call], then={"text": HOME.model_dump_json()})
    given: Any = {
        "model": "haiku", "response_format": Home, "tools": [openai.pydantic_function_tool(Weather)],
    }  # fmt: skip
    if streamed:
        with client.chat.completions.stream(messages=messages, **given) as stream:
            kinds = [event.type for event in stream]
            first = stream.get_final_completion().choices[0]
        assert "tool_calls.function.arguments.done" in kinds
    else:
        first = client.chat.completions.parse(messages=messages, **given).choices[0]
    assert first.finish_reason == "tool_calls"
    (made,) = first.message.tool_calls
    assert made.function.parsed_arguments == Weather(city="Kōbe", unit=None)
    assert schema_sent(stand_in)["properties"].keys() == Home.model_fields.keys()
    assert stand_in.requests[-1].body["tools"][0]["input_schema"]["additionalProperties"] is False
    # the message as the client holds it, `parsed` and `parsed_arguments` in it
    messages += [first.message, {"role": "tool", "tool_call_id": made.id, "content": "mild"}]
    second = client.chat.completions.parse(messages=messages, **given).choices[0]
    assert second.message.parsed == HOME
    sessions = {request.headers["x-claude-code-session-id"] for request in stand_in.requests}
    assert len(sessions) == 1, "the process waited for the result"
