"""What a process says in one turn, as events. Pure: messages in, events out, a failure where there is no answer."""

from __future__ import annotations

from typing import Any, get_args

import msgspec

from claude_code_api.conversation import (
    Event,
    Finished,
    RateLimitStatus,
    Started,
    StopReason,
    TextDelta,
    ThinkingDelta,
    ToolArguments,
    ToolCall,
    Usage,
)
from claude_code_api.engines.claude_code.client_tools import PREFIX
from claude_code_api.engines.claude_code.failures import failure_of
from claude_code_api.errors import UpstreamError

# The answer is what came. Left alone after these (but for tool calls, which wait for the client), Claude Code would
# ask the model to go on, at the user's cost.
_FINAL = frozenset({"tool_use", "max_tokens", "refusal", "model_context_window_exceeded", "pause_turn"})
_END_OF_TIME = 253_402_300_800  # the year 10000, in seconds since the epoch
_STOP_REASONS = frozenset(get_args(StopReason))


class AnswerReader:
    """One turn. `read` takes the messages in their order until `finished`; `thought`: it began with thinking.

    The turn is one message of the model. Where Claude Code begins another by itself (after an empty answer, or one
    that was cut off), the first is what the client asked for, and it ends there.
    """

    def __init__(self) -> None:
        self.finished = False
        self.thought = False
        self.called: set[str] = set()
        """The tools that were called, by the names that the model knows them by."""
        self._usage = Usage()
        self._limit: RateLimitStatus | None = None
        self._started = False
        self._end: Finished | None = None
        self._synthetic = False
        self._calls = 0
        self._halves = {
            "text": "",
            "thinking": "",
            "partial_json": "",
        }  # of surrogate pairs, whose other half comes with the next delta

    def read(self, message: dict[str, Any]) -> list[Event]:
        """The events that a message stands for. Raises the failure that it tells of."""
        match message["type"]:
            case "stream_event" if message.get("parent_tool_use_id") is None and not self._synthetic:
                return self._read_event(message["event"])
            case "assistant" if message.get("api_error") == "media_removed":
                # Claude Code would ask again without it, which is another question than the client's.
                raise failure_of({"api_error_status": 400, "result": message["message"]["content"][0]["text"]})
            case "assistant":
                # An error, worded as an answer: what is streamed after it is no answer either.
                self._synthetic = self._synthetic or message["message"].get("model") == "<synthetic>"
            case "user" if message.get("isSynthetic"):
                return self._finish()
            case "rate_limit_event":
                return self._read_limit(message["rate_limit_info"])
            case "result":
                if message.get("is_error") and message.get("stop_reason") == "refusal":
                    self._end = Finished(stop_reason="refusal", usage=self._usage)
                elif message.get("is_error"):
                    raise failure_of(message, self._limit)
                return self._finish()
        return []

    def _read_event(self, event: dict[str, Any]) -> list[Event]:
        match event["type"]:
            case "message_start" if self._started:
                return self._finish()
            case "message_start":
                self._started = True
                self._usage = _usage(event["message"].get("usage"), self._usage)
                return [Started(event["message"]["model"], self._usage)]
            case "content_block_start" if event["content_block"]["type"] == "tool_use":
                block = event["content_block"]
                self._calls += 1
                self.called.add(block["name"])
                return [ToolCall(self._calls - 1, block["id"], block["name"].removeprefix(PREFIX))]
            case "content_block_start" if event["content_block"]["type"] in ("thinking", "redacted_thinking"):
                self.thought = self.thought or event["index"] == 0
                if not self._usage.reasoning_tokens:
                    self._usage = msgspec.structs.replace(self._usage, reasoning_tokens=None)
            case "content_block_delta":
                return self._read_delta(event["delta"])
            case "message_delta":
                self._usage = _usage(event.get("usage"), self._usage)
                reason = event["delta"].get("stop_reason")
                if reason == "tool_use" and not self._calls:
                    reason = "end_turn"  # there is nothing for a client to do
                if reason is not None:
                    self._end = Finished(
                        # One that is not known yet ended the answer all the same.
                        stop_reason=reason if reason in _STOP_REASONS else "end_turn",
                        stop_sequence=event["delta"].get("stop_sequence"),
                        usage=self._usage,
                    )
                if reason in _FINAL:
                    return self._finish()
        return []

    def _read_delta(self, delta: dict[str, Any]) -> list[Event]:
        match delta["type"]:
            case "text_delta":
                return [TextDelta(text)] if (text := self._whole("text", delta)) else []
            case "thinking_delta":
                return [ThinkingDelta(text)] if (text := self._whole("thinking", delta)) else []
            case "input_json_delta":
                whole = self._whole("partial_json", delta)
                return [ToolArguments(self._calls - 1, whole)] if whole else []
        return []

    def _whole(self, field: str, delta: dict[str, Any]) -> str:
        whole, self._halves[field] = _whole_characters(self._halves[field] + delta[field])
        return whole

    def _read_limit(self, info: dict[str, Any]) -> list[Event]:
        resets_at = info.get("resetsAt")
        self._limit = RateLimitStatus(
            status=str(info.get("status", "unknown")),
            resets_at=resets_at if isinstance(resets_at, int) and 0 <= resets_at < _END_OF_TIME else None,
            limit_type=info.get("rateLimitType"),
        )
        return [self._limit]

    def _finish(self) -> list[Event]:
        if self._end is None:
            raise UpstreamError("The answer was cut off upstream; try again.")
        self.finished = True
        return [self._end]


def _usage(counts: dict[str, Any] | None, known: Usage) -> Usage:
    """`known` with the counts that an event brings; Anthropic's later ones are totals, and some are left out."""
    counts = counts or {}
    told = {
        **counts,
        "cache_creation_1h_input_tokens": (counts.get("cache_creation") or {}).get("ephemeral_1h_input_tokens"),
        "reasoning_tokens": (counts.get("output_tokens_details") or {}).get("thinking_tokens"),
    }
    given = {name: count for name in Usage.__struct_fields__ if isinstance(count := told.get(name), int)}
    return msgspec.structs.replace(known, **given)


def _whole_characters(text: str) -> tuple[str, str]:
    """What is whole of a text, and a half at its end. A half that nothing completes becomes U+FFFD."""
    if text.isascii():
        return text, ""
    half = text[-1:] if "\ud800" <= text[-1:] <= "\udbff" else ""
    whole = text[: len(text) - len(half)]
    return whole.encode("utf-16", "surrogatepass").decode("utf-16", "replace"), half
