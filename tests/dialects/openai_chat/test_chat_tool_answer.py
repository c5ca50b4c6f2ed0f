"""Tool calls in an answer have the shapes that OpenAI's clients expect, whole and streamed, in the older form too."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from typing import Any

import msgspec
import openai
import pytest
from hypothesis import given
from hypothesis import strategies as st
from inline_snapshot import snapshot
from openai.types.chat import ChatCompletion, ChatCompletionChunk
from pydantic import BaseModel

from claude_code_api.conversation import (
    Accepted,
    Event,
    Finished,
    Started,
    StopReason,
    TextDelta,
    ToolArguments,
    ToolCall,
    Usage,
)
from claude_code_api.dialects.openai_chat import Answer, completion

Client = Callable[..., openai.OpenAI]
Chunks = Callable[[bytes], list[ChatCompletionChunk]]


def call(index: int, *arguments: str, name: str = "weather") -> list[Event]:
    return [ToolCall(index, f"toolu_{index}", name), *(ToolArguments(index, piece) for piece in arguments)]


def events(*told: Event, stop_reason: StopReason = "tool_use") -> list[Event]:
    return [Accepted(), Started("claude-sonnet-4-5"), *told, Finished(stop_reason=stop_reason, usage=Usage())]


def streamed(told: Iterable[Event], *, legacy_functions: bool = False) -> bytes:
    answer = Answer("chatcmpl-1", 1700000000, False, "sonnet", legacy_functions=legacy_functions)
    return b"".join(map(answer.chunk, told)) + Answer.DONE


def choice_of(told: list[Event], *, legacy_functions: bool = False) -> Any:
    body = completion("chatcmpl-1", 1700000000, "sonnet", told, legacy_functions=legacy_functions)
    ChatCompletion.model_validate_json(body, strict=True)
    return msgspec.json.decode(body)["choices"][0]


def choices_of(body: bytes) -> list[Any]:
    lines = [line.removeprefix("data: ") for line in body.decode().splitlines() if line.startswith("data: {")]
    for line in lines:
        ChatCompletionChunk.model_validate_json(line, strict=True)
    return [json.loads(line)["choices"][0] for line in lines]


TWO_CALLS = events(
    TextDelta("Let me look."), *call(0, '{"ci', 'ty": "Oslo"}'), *call(1, '{"city": "\u2028"}', name="forecast")
)


def test_a_whole_answer_with_calls() -> None:
    assert choice_of(TWO_CALLS) == snapshot(
        {
            "index": 0,
            "message": {
                "role": "assistant",
                "content": "Let me look.",
                "refusal": None,
                "annotations": [],
                "tool_calls": [
                    {
                        "id": "toolu_0",
                        "type": "function",
                        "function": {"name": "weather", "arguments": '{"city": "Oslo"}'},
                    },
                    {
                        "id": "toolu_1",
                        "type": "function",
                        "function": {"name": "forecast", "arguments": '{"city": "\u2028"}'},
                    },
                ],
            },
            "logprobs": None,
            "finish_reason": "tool_calls",
        }
    )


def test_a_streamed_answer_with_calls() -> None:
    assert choices_of(streamed(TWO_CALLS)) == snapshot(
        [
            {
                "index": 0,
                "delta": {"role": "assistant", "content": "", "refusal": None},
                "logprobs": None,
                "finish_reason": None,
            },
            {"index": 0, "delta": {"content": "Let me look."}, "logprobs": None, "finish_reason": None},
            {
                "index": 0,
                "delta": {
                    "tool_calls": [
                        {
                            "index": 0,
                            "id": "toolu_0",
                            "type": "function",
                            "function": {"name": "weather", "arguments": ""},
                        }
                    ]
                },
                "logprobs": None,
                "finish_reason": None,
            },
            {
                "index": 0,
                "delta": {"tool_calls": [{"index": 0, "function": {"arguments": '{"ci'}}]},
                "logprobs": None,
                "finish_reason": None,
            },
            {
                "index": 0,
                "delta": {"tool_calls": [{"index": 0, "function": {"arguments": 'ty": "Oslo"}'}}]},
                "logprobs": None,
                "finish_reason": None,
            },
            {
                "index": 0,
                "delta": {
                    "tool_calls": [
                        {
                            "index": 1,
                            "id": "toolu_1",
                            "type": "function",
                            "function": {"name": "forecast", "arguments": ""},
                        }
                    ]
                },
                "logprobs": None,
                "finish_reason": None,
            },
            {
                "index": 0,
                "delta": {"tool_calls": [{"index": 1, "function": {"arguments": '{"city": "\u2028"}'}}]},
                "logprobs": None,
                "finish_reason": None,
            },
            {"index": 0, "delta": {}, "logprobs": None, "finish_reason": "tool_calls"},
        ]
    )


def test_a_whole_answer_to_functions() -> None:
    assert choice_of(events(*call(0, '{"city": "Oslo"}')), legacy_functions=True) == snapshot(
        {
            "index": 0,
            "message": {
                "role": "assistant",
                "content": None,
                "refusal": None,
                "annotations": [],
                "function_call": {"name": "weather", "arguments": '{"city": "Oslo"}'},
            },
            "logprobs": None,
            "finish_reason": "function_call",
        }
    )


def test_a_streamed_answer_to_functions() -> None:
    assert choices_of(streamed(events(*call(0, '{"ci', 'ty": "Oslo"}')), legacy_functions=True)) == snapshot(
        [
            {
                "index": 0,
                "delta": {"role": "assistant", "content": "", "refusal": None},
                "logprobs": None,
                "finish_reason": None,
            },
            {
                "index": 0,
                "delta": {"function_call": {"name": "weather", "arguments": ""}},
                "logprobs": None,
                "finish_reason": None,
            },
            {"index": 0, "delta": {"function_call": {"arguments": '{"ci'}}, "logprobs": None, "finish_reason": None},
            {
                "index": 0,
                "delta": {"function_call": {"arguments": 'ty": "Oslo"}'}},
                "logprobs": None,
                "finish_reason": None,
            },
            {"index": 0, "delta": {}, "logprobs": None, "finish_reason": "function_call"},
        ]
    )


@pytest.mark.parametrize("legacy_functions", [False, True])
def test_an_answer_of_text_to_a_request_with_tools_is_like_any_other(legacy_functions: bool) -> None:
    told = events(TextDelta("Hello."), stop_reason="end_turn")
    assert choice_of(told, legacy_functions=legacy_functions) == choice_of(told)
    assert streamed(told, legacy_functions=legacy_functions) == streamed(told)


def joined(choices: list[Any]) -> list[str]:
    """The arguments of each call, put together as clients do."""
    arguments: dict[int, str] = {}
    for choice in choices:
        for part in choice["delta"].get("tool_calls", []):
            arguments[part["index"]] = arguments.get(part["index"], "") + part["function"]["arguments"]
    return list(arguments.values())


@pytest.mark.parametrize(
    ("told", "arguments"),
    [
        (events(*call(0)), ["{}"]),
        (events(*call(0, "", "")), ["{}"]),
        (events(*call(0, ""), *call(1), *call(2, "", '{"a":', "1}")), ["{}", "{}", '{"a":1}']),
        (events(*call(0), *call(1, '{"a"'), stop_reason="max_tokens"), ["{}", '{"a"']),
        (events(*call(0), *call(1, ""), stop_reason="max_tokens"), ["{}", ""]),
    ],
)
def test_a_call_without_arguments_has_an_empty_object_unless_it_was_cut_off(
    told: list[Event], arguments: list[str]
) -> None:
    assert [made["function"]["arguments"] for made in choice_of(told)["message"]["tool_calls"]] == arguments
    assert joined(choices_of(streamed(told))) == arguments


def test_a_function_call_without_arguments_has_an_empty_object() -> None:
    told = events(*call(0))
    assert choice_of(told, legacy_functions=True)["message"]["function_call"]["arguments"] == "{}"
    pieces = [choice["delta"].get("function_call") for choice in choices_of(streamed(told, legacy_functions=True))]
    assert pieces == [None, {"name": "weather", "arguments": ""}, {"arguments": "{}"}, None]


class City(BaseModel):
    city: str


class Nothing(BaseModel):
    pass


def test_the_official_clients_stream_reads_and_parses_calls(client: Client) -> None:
    tools = [openai.pydantic_function_tool(City, name="weather"), openai.pydantic_function_tool(Nothing, name="now")]
    told = events(TextDelta("Let me look."), *call(0, name="now"), *call(1, '{"ci', 'ty": "Oslo"}'))
    with client(streamed(told)) as official:
        asked: Any = [{"role": "user", "content": "x"}]
        with official.chat.completions.stream(model="sonnet", messages=asked, tools=tools) as stream:
            kinds = [event.type for event in stream]
            message = stream.get_final_completion().choices[0].message
    assert kinds.count("tool_calls.function.arguments.done") == 2
    assert message.content == "Let me look."
    assert message.tool_calls
    assert [made.function.parsed_arguments for made in message.tool_calls] == [Nothing(), City(city="Oslo")]


def test_the_official_client_parses_a_structured_answer(client: Client) -> None:
    told = events(TextDelta('{"city": '), TextDelta('"Oslo"}'), stop_reason="end_turn")
    asked: Any = [{"role": "user", "content": "x"}]
    with client(completion("c", 1, "sonnet", told), "application/json") as official:
        parsed = official.chat.completions.parse(model="sonnet", messages=asked, response_format=City)
    assert parsed.choices[0].message.parsed == City(city="Oslo")
    with (
        client(streamed(told)) as official,
        official.chat.completions.stream(model="sonnet", messages=asked, response_format=City) as stream,
    ):
        assert stream.get_final_completion().choices[0].message.parsed == City(city="Oslo")


# --- laws -----------------------------------------------------------------------------------------------

texts = st.text(
    alphabet=st.characters(exclude_categories=["Cs"]) | st.sampled_from("\n\u0085\u2028\u2029\x00"), max_size=5
)
inputs = st.dictionaries(texts, texts | st.integers() | st.lists(texts, max_size=2), max_size=3)


@st.composite
def splits(draw: st.DrawFn) -> tuple[dict[str, Any], list[str]]:
    """Arguments, and their JSON in pieces."""
    value = draw(inputs)
    whole = json.dumps(value, ensure_ascii=draw(st.booleans())) if value else draw(st.sampled_from(["", "{}"]))
    cuts = sorted(draw(st.lists(st.integers(0, len(whole)), max_size=4)))
    return value, [whole[start:end] for start, end in zip([0, *cuts], [*cuts, len(whole)], strict=True)]


@given(texts, st.lists(splits(), min_size=1, max_size=4))
def test_a_streamed_answer_put_together_is_the_whole_one_however_arguments_are_split(
    chunks_of: Chunks, text: str, made: list[tuple[dict[str, Any], list[str]]]
) -> None:
    told = events(TextDelta(text), *(event for index, (_, pieces) in enumerate(made) for event in call(index, *pieces)))
    body = streamed(told)
    whole = choice_of(told)["message"]
    assert whole["content"] == (text or None)
    assert [json.loads(whole_call["function"]["arguments"]) for whole_call in whole["tool_calls"]] == [
        value for value, _ in made
    ]
    chunks = [chunk.choices[0] for chunk in chunks_of(body)]
    assert "".join(chunk.delta.content or "" for chunk in chunks) == text
    parts = [part for chunk in chunks for part in chunk.delta.tool_calls or ()]
    found = [
        {
            "id": part.id,
            "type": part.type,
            "function": {
                "name": part.function.name if part.function else None,
                "arguments": "".join(
                    piece.function.arguments or "" for piece in parts if piece.index == part.index and piece.function
                ),
            },
        }
        for part in parts
        if part.id
    ]
    assert found == whole["tool_calls"]
    assert chunks[-1].finish_reason == "tool_calls"
    assert [line for line in body.decode().splitlines() if line and not line.startswith("data: ")] == []


@given(splits())
def test_the_older_form_put_together_is_the_whole_one(
    chunks_of: Chunks, made: tuple[dict[str, Any], list[str]]
) -> None:
    told = events(*call(0, *made[1]))
    whole = choice_of(told, legacy_functions=True)
    chunks = [chunk.choices[0] for chunk in chunks_of(streamed(told, legacy_functions=True))]
    parts = [chunk.delta.function_call for chunk in chunks if chunk.delta.function_call]
    assert parts[0].name == whole["message"]["function_call"]["name"]
    assert "".join(part.arguments or "" for part in parts) == whole["message"]["function_call"]["arguments"]
    assert json.loads(whole["message"]["function_call"]["arguments"]) == made[0]
    assert chunks[-1].finish_reason == whole["finish_reason"] == "function_call"
