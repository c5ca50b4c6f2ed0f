"""A conversation's events as OpenAI's `chat.completion` (whole) and `chat.completion.chunk` (streamed).

Shapes: https://platform.openai.com/docs/api-reference/chat/object and …/chat/streaming. A delta is encoded some
hundred times in an answer, so what does not change in a chunk is encoded once.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, Literal

import msgspec

from claude_code_api.conversation import Event, Finished, Started, StopReason, TextDelta, Usage
from claude_code_api.dialects.openai_chat.errors import error
from claude_code_api.errors import InternalError, RequestFailure

FinishReason = Literal["stop", "length", "content_filter", "tool_calls"]

FINISH_REASONS: dict[StopReason, FinishReason] = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "pause_turn": "stop",
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "refusal": "content_filter",
    "tool_use": "tool_calls",
}

_encode = msgspec.json.Encoder().encode


class Answer:
    """Encodes the events of one streamed answer. `model` is shown until `Started` names the one that answers."""

    DONE: ClassVar[bytes] = b"data: [DONE]\n\n"
    KEEPALIVE: ClassVar[bytes] = b": keep-alive\n\n"

    def __init__(self, completion_id: str, created: int, include_usage: bool, model: str) -> None:
        self._id = completion_id
        self._created = created
        self._include_usage = include_usage
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
        self._after_text = b'},"logprobs":null,"finish_reason":null}' + self._close

    def chunk(self, event: Event) -> bytes:
        """Server-sent events for `event`, none (b"") where it shows nothing. `Finished` does not add `DONE`."""
        if isinstance(event, TextDelta):
            return self._before_text + _text(event.text) + self._after_text if event.text else b""
        if isinstance(event, Started):
            self._name(event.model)
            return self._choice({"role": "assistant", "content": "", "refusal": None}, None)
        if isinstance(event, Finished):
            last = self._choice({}, FINISH_REASONS[event.stop_reason])
            return last + self._usage(event.usage) if self._include_usage else last
        return b""

    def failure(self, failure: RequestFailure) -> bytes:
        """The server-sent event that ends a stream which cannot be finished; OpenAI's clients raise on it."""
        return b"data: " + error(failure) + b"\n\n"

    def _choice(self, delta: dict[str, Any], finish_reason: FinishReason | None) -> bytes:
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish_reason}
        return self._open + _encode(choice) + self._close

    def _usage(self, usage: Usage) -> bytes:
        return self._open + b'],"usage":' + _encode(_usage(usage)) + b"}\n\n"


def completion(completion_id: str, created: int, model: str, events: Sequence[Event]) -> bytes:
    """The whole answer as JSON. `model` is shown unless `Started` names the one that answered."""
    finished = next((event for event in events if isinstance(event, Finished)), None)
    if finished is None:  # never a silent `stop` for an answer that is not whole
        raise InternalError("The answer has no end.")
    return _encode(
        {
            "id": completion_id,
            "object": "chat.completion",
            "created": created,
            "model": next((event.model for event in events if isinstance(event, Started)), model),
            "choices": [
                {
                    "index": 0,
                    "message": {
                        "role": "assistant",
                        "content": "".join(event.text for event in events if isinstance(event, TextDelta)),
                        "refusal": None,
                        "annotations": [],
                    },
                    "logprobs": None,
                    "finish_reason": FINISH_REASONS[finished.stop_reason],
                }
            ],
            "usage": _usage(finished.usage),
            "system_fingerprint": None,
        }
    )


def _usage(usage: Usage) -> dict[str, Any]:
    return {
        "prompt_tokens": usage.prompt_tokens,
        "completion_tokens": usage.output_tokens,
        "total_tokens": usage.prompt_tokens + usage.output_tokens,
        "prompt_tokens_details": {"cached_tokens": usage.cache_read_input_tokens, "audio_tokens": 0},
        "completion_tokens_details": {
            "reasoning_tokens": 0,
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
