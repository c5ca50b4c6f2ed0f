from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from claude_code_api.conversation import (
    Event,
    Finished,
    RateLimitStatus,
    Started,
    TextDelta,
    ThinkingDelta,
    ToolArguments,
    Usage,
)
from claude_code_api.engines.claude_code.answer import AnswerReader
from claude_code_api.errors import RateLimited, UpstreamError


def event(kind: str, **fields: Any) -> dict[str, Any]:
    return {"type": "stream_event", "parent_tool_use_id": None, "event": {"type": kind, **fields}}


def start(**usage: int) -> dict[str, Any]:
    return event("message_start", message={"model": "claude-x", "usage": usage})


def delta(text: str) -> dict[str, Any]:
    return event("content_block_delta", index=0, delta={"type": "text_delta", "text": text})


def stop(reason: str | None, sequence: str | None = None, **usage: Any) -> dict[str, Any]:
    return event("message_delta", delta={"stop_reason": reason, "stop_sequence": sequence}, usage=usage)


RESULT = {"type": "result", "is_error": False}
FAILED = {"type": "result", "is_error": True, "api_error_status": 429, "result": "You've hit your limit"}
SYNTHETIC = {
    "type": "assistant",
    "message": {"model": "<synthetic>", "content": [{"type": "text", "text": "API Error"}]},
}
CONTINUES = {"type": "user", "isSynthetic": True, "message": {"role": "user", "content": "Continue"}}


def read(*messages: dict[str, Any]) -> list[Event]:
    reader = AnswerReader()
    events = [event for message in messages for event in reader.read(message)]
    assert reader.finished == any(isinstance(event, Finished) for event in events)
    return events


def test_an_answer_is_its_start_its_text_and_its_end_with_usage() -> None:
    begin = start(input_tokens=3, cache_read_input_tokens=2, output_tokens=1)
    events = read(begin, delta("Hi"), stop("end_turn", output_tokens=9), RESULT)
    known, usage = (Usage(input_tokens=3, cache_read_input_tokens=2, output_tokens=output) for output in (1, 9))
    assert events == [Started("claude-x", known), TextDelta("Hi"), Finished(stop_reason="end_turn", usage=usage)]


def test_what_was_written_to_the_cache_for_an_hour_and_what_was_thought_is_told_apart() -> None:
    counts: Any = {
        "cache_creation_input_tokens": 30,
        "cache_creation": {"ephemeral_5m_input_tokens": 10, "ephemeral_1h_input_tokens": 20},
        "output_tokens_details": {"thinking_tokens": 4},
    }
    *_, end = read(start(**counts), stop("end_turn"), RESULT)
    usage = Usage(cache_creation_input_tokens=30, cache_creation_1h_input_tokens=20, reasoning_tokens=4)
    assert end == Finished(stop_reason="end_turn", usage=usage)


@given(st.lists(st.text()))
def test_text_is_never_lost_changed_or_put_in_another_order(texts: list[str]) -> None:
    events = read(start(), *map(delta, texts), stop("end_turn"), RESULT)
    assert [event.text for event in events if isinstance(event, TextDelta)] == [text for text in texts if text]


@given(st.text(), st.data())
def test_a_character_that_is_split_over_two_deltas_is_whole_again(text: str, data: st.DataObject) -> None:
    units = text.encode("utf-16-le", "surrogatepass")
    cuts = sorted(data.draw(st.sets(st.integers(0, len(units) // 2), max_size=5)))
    pieces = [units[2 * a : 2 * b] for a, b in zip([0, *cuts], [*cuts, len(units) // 2], strict=True)]
    deltas = [delta(piece.decode("utf-16-le", "surrogatepass")) for piece in pieces]
    events = read(start(), *deltas, stop("end_turn"), RESULT)
    assert "".join(event.text for event in events if isinstance(event, TextDelta)) == text


def test_half_a_character_that_nothing_completes_is_replaced() -> None:
    events = read(start(), delta("a\ud83d"), delta("b\udc00"), stop("end_turn"), RESULT)
    assert "".join(event.text for event in events if isinstance(event, TextDelta)) == "a\ufffdb\ufffd"


def test_a_character_of_arguments_that_is_split_over_two_deltas_is_whole_again() -> None:
    block = {"type": "tool_use", "id": "a", "name": "mcp__client__note", "input": {}}
    parts = [
        event("content_block_delta", index=0, delta={"type": "input_json_delta", "partial_json": part})
        for part in ('{"a": "\ud83d', "\ude00", '"}')
    ]
    events = read(start(), event("content_block_start", index=0, content_block=block), *parts, stop("tool_use"), RESULT)
    assert "".join(told.json for told in events if isinstance(told, ToolArguments)) == '{"a": "\U0001f600"}'


def test_a_stop_for_tools_without_a_call_is_an_end() -> None:
    assert read(start(), delta("Hi"), stop("tool_use"), RESULT)[-1] == Finished(stop_reason="end_turn", usage=Usage())


def test_a_limit_that_makes_no_sense_is_no_date() -> None:
    for nonsense in (2**70, -1, "soon", None):
        told = {"type": "rate_limit_event", "rate_limit_info": {"status": "allowed", "resetsAt": nonsense}}
        assert read(told) == [RateLimitStatus(status="allowed")]


@pytest.mark.parametrize("reason", ["max_tokens", "refusal", "pause_turn", "model_context_window_exceeded"])
def test_an_answer_that_claude_code_would_carry_on_ends_at_once(reason: str) -> None:
    events = read(start(), delta("So"), stop(reason))
    assert isinstance(end := events[-1], Finished)
    assert end.stop_reason == reason


def test_a_stop_sequence_is_told() -> None:
    assert read(start(), stop("stop_sequence", "END"), RESULT)[-1] == Finished(
        stop_reason="stop_sequence", stop_sequence="END", usage=Usage()
    )


def test_a_stop_reason_of_tomorrow_ends_the_answer_all_the_same() -> None:
    assert read(start(), stop("new_reason"), RESULT)[-1] == Finished(stop_reason="end_turn", usage=Usage())


@pytest.mark.parametrize("going_on", [CONTINUES, start()], ids=["asks by itself", "second message"])
def test_a_second_call_of_claude_codes_own_choice_is_not_part_of_the_answer(going_on: dict[str, Any]) -> None:
    assert isinstance(read(start(), delta("Hi"), stop("end_turn"), going_on)[-1], Finished)


@pytest.mark.parametrize("going_on", [CONTINUES, start(), RESULT], ids=["asks by itself", "second message", "result"])
def test_an_answer_without_an_end_is_a_failure_and_never_a_silent_stop(going_on: dict[str, Any]) -> None:
    with pytest.raises(UpstreamError, match="cut off"):
        read(start(), delta("Hi"), going_on)


def test_what_is_streamed_after_an_error_worded_as_an_answer_is_no_answer() -> None:
    with pytest.raises(RateLimited):
        read(start(), delta("Hi"), SYNTHETIC, stop("end_turn"), FAILED)


def test_an_error_knows_the_limit_that_was_told_before() -> None:
    limit = {"type": "rate_limit_event", "rate_limit_info": {"status": "rejected", "resetsAt": 4_000_000_000}}
    reader = AnswerReader()
    assert reader.read(limit) == [RateLimitStatus(status="rejected", resets_at=4_000_000_000)]
    with pytest.raises(RateLimited) as caught:
        reader.read(FAILED)
    assert (caught.value.retry_after or 0) > 1_000_000


def test_a_refusal_told_as_an_error_is_an_answer_that_was_refused() -> None:
    refused = {"type": "result", "is_error": True, "stop_reason": "refusal", "result": "API Error: can't help"}
    assert read(start(), delta("So"), SYNTHETIC, refused)[-1] == Finished(stop_reason="refusal", usage=Usage())


def test_what_belongs_to_no_answer_is_passed_over() -> None:
    other = {"type": "stream_event", "parent_tool_use_id": "toolu_1", "event": {"type": "message_start"}}
    user = {"type": "user", "message": {"role": "user", "content": "mine"}}
    assert read(other, user, start(), event("ping"), stop(None), stop("end_turn"), RESULT) == [
        Started("claude-x"),
        Finished(stop_reason="end_turn", usage=Usage()),
    ]


def block(kind: str, index: int = 0) -> dict[str, Any]:
    return event("content_block_start", index=index, content_block={"type": kind})


def thinking(text: str) -> dict[str, Any]:
    return event("content_block_delta", index=0, delta={"type": "thinking_delta", "thinking": text})


def test_thinking_is_told_apart_from_the_text() -> None:
    signed = event("content_block_delta", index=0, delta={"type": "signature_delta", "signature": "abc"})
    events = read(
        start(), block("thinking"), thinking("Hm"), thinking("m"), signed, delta("Yes"), stop("end_turn"), RESULT
    )
    assert events[1:-1] == [ThinkingDelta("Hm"), ThinkingDelta("m"), TextDelta("Yes")]


def test_half_a_character_of_thinking_does_not_get_into_the_text() -> None:
    events = read(start(), block("thinking"), thinking("a\ud83d"), delta("b"), stop("end_turn"), RESULT)
    assert events[1:-1] == [ThinkingDelta("a"), TextDelta("b")]


@pytest.mark.parametrize(
    ("blocks", "usage", "counted"),
    [
        ([], {}, 0),
        (["thinking"], {"output_tokens_details": {"thinking_tokens": 7}}, 7),
        (["redacted_thinking"], {"output_tokens_details": None}, None),
        (["thinking"], {}, None),
    ],
)
def test_tokens_of_thinking_are_anthropics_count_or_unknown(
    blocks: list[str], usage: dict[str, Any], counted: int | None
) -> None:
    events = read(start(), *map(block, blocks), delta("Yes"), stop("end_turn", **usage), RESULT)
    assert isinstance(end := events[-1], Finished)
    assert end.usage.reasoning_tokens == counted


@pytest.mark.parametrize(
    ("kind", "index", "thought"),
    [("thinking", 0, True), ("redacted_thinking", 0, True), ("thinking", 1, False), ("text", 0, False)],
)
def test_whether_an_answer_begins_with_thinking_is_known(kind: str, index: int, thought: bool) -> None:
    reader = AnswerReader()
    reader.read(start())
    reader.read(block(kind, index))
    assert reader.thought is thought
