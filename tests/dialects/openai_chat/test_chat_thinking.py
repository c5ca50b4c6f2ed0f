"""`reasoning_effort` asks Claude to think; what it thinks is `reasoning_content`, and counted."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import msgspec
import openai
import pytest
from openai.types.chat import ChatCompletionChunk

from claude_code_api.conversation import Event, Finished, Message, Started, Text, TextDelta, ThinkingDelta, Usage
from claude_code_api.dialects.openai_chat import Answer, ChatRequest, completion
from claude_code_api.errors import InvalidRequest

Ask = Callable[..., ChatRequest]
Client = Callable[..., openai.OpenAI]
Chunks = Callable[[bytes], list[ChatCompletionChunk]]


def events(usage: Usage | None = None) -> list[Event]:
    return [
        Started("claude-haiku-5-5"),
        ThinkingDelta("Let me\u2028"),
        ThinkingDelta(" see"),
        TextDelta("Yes"),
        Finished(stop_reason="end_turn", usage=usage or Usage(output_tokens=9, reasoning_tokens=6)),
    ]


def whole(told: Iterable[Event], **fields: Any) -> dict[str, Any]:
    decoded: dict[str, Any] = msgspec.json.decode(completion("chatcmpl-1", 1, "haiku", list(told), **fields))
    return decoded


def streamed(told: Iterable[Event], **fields: Any) -> bytes:
    answer = Answer("chatcmpl-1", 1, True, "haiku", **fields)
    return b"".join(map(answer.chunk, told)) + Answer.DONE


@pytest.mark.parametrize(
    ("given", "effort", "shown"),
    [
        (None, None, False),
        ("none", "none", False),
        ("minimal", "low", True),
        *((same, same, True) for same in ("low", "medium", "high", "xhigh", "max")),
    ],
)
def test_an_effort_asks_for_thinking_and_shows_it(ask: Ask, given: str | None, effort: str | None, shown: bool) -> None:
    request = ask(reasoning_effort=given)
    assert (request.conversation.sampling.effort, request.show_thinking) == (effort, shown)
    assert ask().conversation.sampling.effort is None


@pytest.mark.parametrize("effort", ["", "most", 3, True, ["low"]])
def test_another_effort_is_refused_by_name(ask: Ask, effort: Any) -> None:
    with pytest.raises(InvalidRequest) as refused:
        ask(reasoning_effort=effort)
    assert (refused.value.code, refused.value.param) == ("invalid_value", "reasoning_effort")


@pytest.mark.parametrize(("field", "value"), [("temperature", 0), ("temperature", 0.7), ("top_p", 0.5)])
def test_sampling_that_does_not_go_with_thinking_is_refused_or_left_out(ask: Ask, field: str, value: float) -> None:
    with pytest.raises(InvalidRequest, match="reasoning_effort") as refused:
        ask(reasoning_effort="low", **{field: value})
    assert (refused.value.code, refused.value.param) == ("unsupported_parameter", field)
    lenient = ask(reasoning_effort="low", changed={"ignore_unsupported": True}, **{field: value})
    assert getattr(lenient.conversation.sampling, field) is None
    kept = ask(reasoning_effort="none", **{field: value})
    assert getattr(kept.conversation.sampling, field) == value


def test_sampling_that_goes_with_thinking_is_taken(ask: Ask) -> None:
    sampling = ask(reasoning_effort="low", temperature=1, top_p=0.95).conversation.sampling
    assert (sampling.temperature, sampling.top_p) == (None, 0.95)
    assert ask(reasoning_effort="low", temperature=1.5).conversation.sampling.temperature is None


@pytest.mark.parametrize(
    "field",
    [
        {"reasoning_content": "I thought so"},
        {"reasoning": "I thought so"},
        {"reasoning_details": [{"type": "reasoning.text", "text": "I thought so", "signature": "abc"}]},
        {"thinking_blocks": [{"type": "thinking", "thinking": "I thought so", "signature": "abc"}]},
    ],
)
def test_thinking_that_a_client_sends_back_is_neither_read_nor_sent_on(ask: Ask, field: dict[str, Any]) -> None:
    history = [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b", **field}]
    messages = ask([*history, {"role": "user", "content": "c"}]).conversation.messages
    assert messages[1] == Message("assistant", (Text("b"),))


def test_thinking_stands_beside_the_answer_where_it_was_asked_for() -> None:
    (choice,) = whole(events(), show_thinking=True)["choices"]
    assert (choice["message"]["reasoning_content"], choice["message"]["content"]) == ("Let me\u2028 see", "Yes")
    (choice,) = whole([Started("m"), TextDelta("Yes"), events()[-1]], show_thinking=True)["choices"]
    assert choice["message"]["reasoning_content"] is None
    (choice,) = whole(events())["choices"]
    assert "reasoning_content" not in choice["message"]


def test_thinking_is_streamed_as_it_comes_where_it_was_asked_for(chunks_of: Chunks) -> None:
    deltas = [chunk.choices[0].delta.to_dict() for chunk in chunks_of(streamed(events(), show_thinking=True))[:-1]]
    assert deltas == [
        {"role": "assistant", "content": "", "refusal": None},
        {"reasoning_content": "Let me\u2028"},
        {"reasoning_content": " see"},
        {"content": "Yes"},
        {},
    ]
    assert b"reasoning_content" not in streamed(events())


def test_thinking_is_counted_within_the_answer_and_left_out_where_nobody_counted() -> None:
    usage = whole(events())["usage"]
    assert (usage["completion_tokens"], usage["completion_tokens_details"]["reasoning_tokens"]) == (9, 6)
    usage = whole(events(Usage(output_tokens=9, reasoning_tokens=None)))["usage"]
    assert "reasoning_tokens" not in usage["completion_tokens_details"]


def test_the_official_client_reads_thinking(client: Client) -> None:
    body = completion("chatcmpl-1", 1, "haiku", events(), show_thinking=True)
    with client(body, "application/json") as official:
        answer = official.chat.completions.create(
            model="haiku", messages=[{"role": "user", "content": "x"}], reasoning_effort="high"
        )
    assert answer.choices[0].message.reasoning_content == "Let me\u2028 see"  # type: ignore[attr-defined]
    assert answer.usage
    assert answer.usage.completion_tokens_details
    assert answer.usage.completion_tokens_details.reasoning_tokens == 6
