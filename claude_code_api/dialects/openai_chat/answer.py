"""A conversation's events as OpenAI's `chat.completion` (whole) and `chat.completion.chunk` (streamed).

Shapes: https://platform.openai.com/docs/api-reference/chat/object and …/chat/streaming. A delta is encoded some
hundred times in an answer, so what does not change in a chunk is encoded once.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, Literal

import msgspec

from claude_code_api.conversation import (
    Event,
    Finished,
    Started,
    StopReason,
    TextDelta,
    ThinkingDelta,
    ToolArguments,
    ToolCall,
    Usage,
)
from claude_code_api.dialects.openai_chat.errors import error
from claude_code_api.errors import InternalError, RequestFailure

FinishReason = Literal["stop", "length", "content_filter", "tool_calls", "function_call"]

FINISH_REASONS: dict[StopReason, FinishReason] = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "pause_turn": "stop",
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "refusal": "content_filter",
    "tool_use": "tool_calls",
}

NO_ARGUMENTS = "{}"
"""What a call without arguments has, of which Anthropic streams nothing."""

_encode = msgspec.json.Encoder().encode


class Answer:
    """Encodes the events of one streamed answer. `model` is shown until `Started` names the one that answers.

    With `legacy_functions` its call is a `function_call`: the request gave `functions`, the older form of `tools`. Only
    with `show_thinking` is it told what Claude thinks, as `reasoning_content`, which OpenAI has no field for.
    """

    DONE: ClassVar[bytes] = b"data: [DONE]\n\n"
    KEEPALIVE: ClassVar[bytes] = b": keep-alive\n\n"

    def __init__(
        self,
        completion_id: str,
        created: int,
        include_usage: bool,
        model: str,
        *,
        legacy_functions: bool = False,
        show_thinking: bool = False,
    ) -> None:
        self._id = completion_id
        self._created = created
        self._include_usage = include_usage
        self._legacy_functions = legacy_functions
        self._show_thinking = show_thinking
        self._without_arguments: int | None = None
        """The index of a call of which no argument has come yet."""
        self._name(model)

    def _name(self, model: str) -> None:
        envelope = _encode(
            {
                "id": self._id,
                "object": "chat.completion.chunk",
                "created": self._created,
                "model": model,
                "system_fingerprint": None,
            }
        )
        self._open = b"data: " + envelope[:-1] + b',"choices":['
        self._close = b'],"usage":null}\n\n' if self._include_usage else b"]}\n\n"
        self._before_text = self._open + b'{"index":0,"delta":{"content":'
        self._before_thinking = self._open + b'{"index":0,"delta":{"reasoning_content":'
        self._after_text = b'},"logprobs":null,"finish_reason":null}' + self._close
        self._after_function = b"}" + self._after_text
        self._after_tool = b"}}]" + self._after_text

    def chunk(self, event: Event) -> bytes:
        """Server-sent events for `event`, none (b"") where it shows nothing. `Finished` does not add `DONE`."""
        if isinstance(event, TextDelta):
            return self._before_text + _text(event.text) + self._after_text if event.text else b""
        if isinstance(event, ThinkingDelta):
            return self._before_thinking + _text(event.text) + self._after_text if self._show_thinking else b""
        if isinstance(event, ToolArguments):
            return self._arguments(event.index, event.json)
        if isinstance(event, ToolCall):
            return self._fill_arguments() + self._call(event)
        if isinstance(event, Started):
            self._name(event.model)
            return self._choice({"role": "assistant", "content": "", "refusal": None}, None)
        if isinstance(event, Finished):
            # of a call that was cut off, arguments must not look whole
            last = self._fill_arguments() if event.stop_reason == "tool_use" else b""
            last += self._choice({}, _finish_reason(event, self._legacy_functions))
            return last + self._usage(event.usage) if self._include_usage else last
        return b""

    def failure(self, failure: RequestFailure) -> bytes:
        """The server-sent event that ends a stream which cannot be finished; OpenAI's clients raise on it."""
        return b"data: " + error(failure) + b"\n\n"

    def _call(self, call: ToolCall) -> bytes:
        self._without_arguments = call.index
        function = {"name": call.name, "arguments": ""}
        if self._legacy_functions:
            return self._choice({"function_call": function}, None)
        return self._choice({"tool_calls": [{"index": call.index, **_tool_call(call, function)}]}, None)

    def _arguments(self, index: int, json: str) -> bytes:
        if not json:
            return b""
        self._without_arguments = None
        if self._legacy_functions:
            return (
                self._open + b'{"index":0,"delta":{"function_call":{"arguments":' + _text(json) + self._after_function
            )
        before = b'{"index":0,"delta":{"tool_calls":[{"index":%d,"function":{"arguments":' % index
        return self._open + before + _text(json) + self._after_tool

    def _fill_arguments(self) -> bytes:
        index = self._without_arguments
        return b"" if index is None else self._arguments(index, NO_ARGUMENTS)

    def _choice(self, delta: dict[str, Any], finish_reason: FinishReason | None) -> bytes:
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish_reason}
        return self._open + _encode(choice) + self._close

    def _usage(self, usage: Usage) -> bytes:
        return self._open + b'],"usage":' + _encode(_usage(usage)) + b"}\n\n"


def completion(
    completion_id: str,
    created: int,
    model: str,
    events: Sequence[Event],
    *,
    legacy_functions: bool = False,
    show_thinking: bool = False,
) -> bytes:
    """The whole answer as JSON. `model` is shown unless `Started` names the one that answered."""
    finished = next((event for event in events if isinstance(event, Finished)), None)
    if finished is None:  # never a silent `stop` for an answer that is not whole
        raise InternalError("The answer has no end.")
    text = "".join(event.text for event in events if isinstance(event, TextDelta))
    calls = _calls(events, finished)
    message: dict[str, Any] = {
        "role": "assistant",
        "content": text or None if calls else text,
        "refusal": None,
        "annotations": [],
    }
    if show_thinking:
        message["reasoning_content"] = "".join(e.text for e in events if isinstance(e, ThinkingDelta)) or None
    if calls and legacy_functions:
        message["function_call"] = calls[0]["function"]
    elif calls:
        message["tool_calls"] = calls
    return _encode(
        {
            "id": completion_id,
            "object": "chat.completion",
            "created": created,
            "model": next((event.model for event in events if isinstance(event, Started)), model),
            "choices": [
                {
                    "index": 0,
                    "message": message,
                    "logprobs": None,
                    "finish_reason": _finish_reason(finished, legacy_functions),
                }
            ],
            "usage": _usage(finished.usage),
            "system_fingerprint": None,
        }
    )


def _calls(events: Sequence[Event], finished: Finished) -> list[dict[str, Any]]:
    calls = [event for event in events if isinstance(event, ToolCall)]
    pieces: dict[int, list[str]] = {call.index: [] for call in calls}
    for event in events:
        if isinstance(event, ToolArguments):
            pieces[event.index].append(event.json)
    whole = []
    for call in calls:
        cut_off = call is calls[-1] and finished.stop_reason != "tool_use"
        arguments = "".join(pieces[call.index]) or ("" if cut_off else NO_ARGUMENTS)
        whole.append(_tool_call(call, {"name": call.name, "arguments": arguments}))
    return whole


def _tool_call(call: ToolCall, function: dict[str, str]) -> dict[str, Any]:
    return {"id": call.id, "type": "function", "function": function}


def _finish_reason(finished: Finished, legacy_functions: bool) -> FinishReason:
    reason = FINISH_REASONS[finished.stop_reason]
    return "function_call" if reason == "tool_calls" and legacy_functions else reason


def _usage(usage: Usage) -> dict[str, Any]:
    return {
        "prompt_tokens": usage.prompt_tokens,
        "completion_tokens": usage.output_tokens,
        "total_tokens": usage.prompt_tokens + usage.output_tokens,
        "prompt_tokens_details": {"cached_tokens": usage.cache_read_input_tokens, "audio_tokens": 0},
        "completion_tokens_details": {
            # what Anthropic does not tell is left out, not guessed
            **({} if usage.reasoning_tokens is None else {"reasoning_tokens": usage.reasoning_tokens}),
            "audio_tokens": 0,
            "accepted_prediction_tokens": 0,
            "rejected_prediction_tokens": 0,
        },
    }


def _text(text: str) -> bytes:
    """`text` as a JSON string on what every client takes for one line.

    JSON allows these three as they are, but clients that split a stream with `str.splitlines` end a line at them.
    """
    encoded = _encode(text)
    if text.isascii():
        return encoded
    for character, escape in _LINE_ENDS:
        encoded = encoded.replace(character, escape)
    return encoded


_LINE_ENDS = tuple((chr(point).encode(), b"\\u%04x" % point) for point in (0x85, 0x2028, 0x2029))
