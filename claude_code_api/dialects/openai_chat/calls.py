"""The tool calls of a history and their results, under ids that Anthropic takes."""

from __future__ import annotations

import re
from base64 import urlsafe_b64encode
from collections.abc import Iterator
from typing import Any

import msgspec

from claude_code_api.conversation import ToolUse
from claude_code_api.dialects.json_body import MAX_NESTED, decode_json
from claude_code_api.dialects.openai_chat.faults import invalid_messages, unsupported
from claude_code_api.dialects.openai_chat.limits import Limits
from claude_code_api.dialects.openai_chat.schema import (
    AssistantMessage,
    CustomToolCall,
    FunctionCall,
    FunctionMessage,
    ToolMessage,
)
from claude_code_api.errors import InvalidRequest

_ANTHROPIC_ID = re.compile(r"[a-zA-Z0-9_-]+")
_MAPPED = "mapped-"
_MAX_SHOWN = 200

_HEX = "[0-9a-fA-F]{2}"
_ESCAPES = re.compile(rf"\\u[dD][89abAB]{_HEX}\\u[dD][c-fC-F]{_HEX}|(\\u[dD][89a-fA-F]{_HEX})|\\.")
"""Pairs of surrogates, halves of such (the group), and whatever else is escaped."""

_object = msgspec.json.Decoder(dict[str, Any])


class Calls:
    """Reads one history from its first message to its last: every call is answered once, before anything else is said.

    Anthropic takes ids of `[a-zA-Z0-9_-]`, each once in a conversation; clients of OpenAI's API use any text, number
    anew in every turn, or (`function_call`) have none. An id that Anthropic takes stays; another becomes `mapped-`,
    how often it was used before, and its text in base64. So no two calls share one, and a history that grows keeps
    the ids that it had.
    """

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._used: dict[str, int] = {}
        self._brackets = 0
        self._asked_at = ""
        self._function = ""
        self.unanswered: dict[str | None, str] = {}
        """The id that Anthropic gets by the client's; None stands for a `function_call`, which has none."""

    def made(self, message: AssistantMessage, path: str) -> Iterator[ToolUse]:
        """The calls of an assistant's message."""
        self._asked_at = path
        for index, call in enumerate(message.tool_calls or ()):
            where = f"{path}.tool_calls.{index}"
            if isinstance(call, CustomToolCall):
                raise unsupported(f"{where}.type", call)
            if call.id in self.unanswered:
                raise invalid_messages("two calls of one message have this id", f"{where}.id")
            self.unanswered[call.id] = call_id = self._id(call.id)
            yield self._use(call_id, call.function, f"{where}.function")
        if function := message.function_call:
            self._function = function.name
            self.unanswered[None] = call_id = self._id("")
            yield self._use(call_id, function, f"{path}.function_call")

    def answered(self, message: ToolMessage | FunctionMessage, path: str) -> str:
        """The id of the call that `message` is the result of."""
        if isinstance(message, ToolMessage):
            call_id = self.unanswered.pop(message.tool_call_id, None)
            role, field, at = "tool", "tool_calls", "tool_call_id"
        else:
            call_id = self.unanswered.pop(None, None) if message.name == self._function else None
            role, field, at = "function", "function_call", "name"
        if call_id is None:
            reason = f"messages with role '{role}' must be a response to a preceding message with '{field}'"
            raise invalid_messages(reason, f"{path}.{at}")
        return call_id

    def unanswered_fault(self) -> InvalidRequest:
        """To be raised where calls are unanswered and a message is no result, or there is none any more."""
        if None in self.unanswered:
            reason = "An assistant message with 'function_call' must be followed by a function message of that name"
            return invalid_messages(reason, f"{self._asked_at}.function_call")
        shown = ", ".join(call_id for call_id in self.unanswered if call_id is not None)
        return invalid_messages(
            "An assistant message with 'tool_calls' must be followed by tool messages responding to each "
            "'tool_call_id'. The following tool_call_ids did not have response messages: "
            + (shown if len(shown) <= _MAX_SHOWN else shown[:_MAX_SHOWN] + "…"),
            f"{self._asked_at}.tool_calls",
        )

    def _id(self, given: str) -> str:
        times = self._used.get(given, 0)
        self._used[given] = times + 1
        if not times and _ANTHROPIC_ID.fullmatch(given) and not given.startswith(_MAPPED):
            return given
        return f"{_MAPPED}{times}_{urlsafe_b64encode(given.encode()).decode().rstrip('=')}"

    def _use(self, call_id: str, function: FunctionCall, path: str) -> ToolUse:
        return ToolUse(call_id, function.name, self._input(function.arguments, f"{path}.arguments"))

    def _input(self, arguments: str, path: str) -> dict[str, Any]:
        if not arguments.strip():
            return {}
        # The body's own limits end at its strings: these count all arguments together, as they are built together.
        self._brackets += arguments.count("{") + arguments.count("[")
        if self._brackets > MAX_NESTED:
            raise invalid_messages(f"more than {MAX_NESTED} arrays and objects", path, code="too_many_values")
        try:
            return decode_json(_whole_characters(arguments).encode(), _object, self._limits.max_depth)
        except InvalidRequest as fault:
            code = "too_deep" if fault.code == "too_deep" else "invalid_messages"
            reason = f"nested deeper than {self._limits.max_depth}" if code == "too_deep" else "no JSON object"
            raise invalid_messages(reason, path, code=code) from None


def _whole_characters(json: str) -> str:
    """`json` with U+FFFD for halves of surrogate pairs, which a model may write as escapes and Anthropic refuses."""
    return _ESCAPES.sub(lambda found: r"\ufffd" if found[1] else found[0], json) if r"\u" in json else json
