"""A conversation's turns as a process holds them, and how they are found again in what a client sends back. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import blake2b
from typing import Any, Self

import msgspec

from claude_code_api.conversation import (
    Block,
    Conversation,
    Event,
    Message,
    Text,
    TextDelta,
    ToolArguments,
    ToolCall,
    ToolUse,
)


class Digested(Conversation, frozen=True, kw_only=True):
    """A conversation with a digest of each of its messages, made once for all that ask for them."""

    digests: tuple[bytes, ...]

    @classmethod
    def of(cls, conversation: Conversation) -> Self:
        digests = tuple(map(digest_of, conversation.messages))
        return cls(**msgspec.structs.asdict(conversation), digests=digests)


class Turn(msgspec.Struct, frozen=True, kw_only=True):
    """A user turn and its answer, as a process holds them. `uuid` is the handle by which it is stepped back from;
    results of calls have none, they go with the turn that led to the calls (`target_splits_tool_call`).
    """

    uuid: str | None
    asked: bytes
    answered: bytes
    written: bool = False
    """Whether it came with a history, and was not answered here."""
    thought: bool = False
    """Whether the answer begins with thinking, which the process holds and no client does."""
    marked: bool = False
    """Whether Anthropic is asked to keep the conversation up to here in its cache."""


class Collected:
    """The assistant's turn, put together from its events."""

    def __init__(self) -> None:
        self._texts: list[str] = []
        self.calls: dict[str, tuple[str, list[str]]] = {}
        self._order: list[str] = []

    def add(self, event: Event) -> None:
        if isinstance(event, TextDelta):
            self._texts.append(event.text)
        elif isinstance(event, ToolArguments):
            self.calls[self._order[event.index]][1].append(event.json)
        elif isinstance(event, ToolCall):
            self.calls[event.id] = (event.name, [])
            self._order.append(event.id)

    @property
    def text(self) -> str:
        return "".join(self._texts)

    def message(self) -> Message | None:
        """None where the arguments of a call are no JSON."""
        try:
            calls = [
                ToolUse(call_id, name, msgspec.json.decode("".join(pieces) or "{}"))
                for call_id, (name, pieces) in self.calls.items()
            ]
        except msgspec.DecodeError:
            return None
        text = self.text
        return Message("assistant", (*((Text(text),) if text else ()), *calls))


def digest_of(message: Message) -> bytes:
    """A digest of what a turn says, the same for what was answered and for what clients send back of it.

    They join and split texts, and trim them; they write the arguments of calls anew, in any order, and those in
    JavaScript write 1.0 as 1. An image is its bytes.
    """
    digest = blake2b(digest_size=16)
    for block in _joined(message.content):
        digest.update(msgspec.json.encode(block, order="sorted") + b"\0")
    return digest.digest()


def _joined(blocks: Sequence[Block]) -> list[Block]:
    joined: list[Block] = []
    for block in blocks:
        if isinstance(block, Text) and joined and isinstance(joined[-1], Text):
            joined[-1] = Text(joined[-1].text + block.text)
        else:
            joined.append(block)
    return [_plain(block) for block in joined]


def _plain(block: Block) -> Block:
    match block:
        case Text(text):
            return Text(text.strip())
        case ToolUse(call_id, name, arguments):
            return ToolUse(call_id, name, _whole_numbers(arguments))
        case _:
            return block


def _whole_numbers(value: Any) -> Any:
    match value:
        case float() if value.is_integer():
            return int(value)
        case dict():
            return {name: _whole_numbers(inner) for name, inner in value.items()}
        case list():
            return [_whole_numbers(inner) for inner in value]
        case _:
            return value
