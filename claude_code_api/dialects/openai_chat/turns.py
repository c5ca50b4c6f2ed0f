"""OpenAI's list of messages becomes a system prompt and the alternating turns that Anthropic's API asks for."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby
from operator import itemgetter
from typing import Literal

import msgspec

from claude_code_api.conversation import Block, Image, Message, Text
from claude_code_api.dialects.openai_chat.images import read_image
from claude_code_api.dialects.openai_chat.limits import Limits
from claude_code_api.dialects.openai_chat.schema import (
    AssistantMessage,
    ImagePart,
    Part,
    RefusalPart,
    SystemMessage,
    TextPart,
    UserMessage,
    unsupported_field,
)
from claude_code_api.dialects.openai_chat.schema import Message as ChatMessage
from claude_code_api.errors import InvalidRequest

Role = Literal["user", "assistant"]

BEGINNING = Message("user", (Text("(The conversation begins.)"),))
"""The user turn before a history that begins with the assistant: Anthropic's begin with the user."""


def read_messages(messages: Sequence[ChatMessage], limits: Limits) -> tuple[str, tuple[Message, ...]]:
    """The system prompt and the turns.

    Leading `system` and `developer` messages are the prompt, joined by blank lines; later ones stay in place, as
    text in `<system>` marks within the user's turn. Neighbours of one role are one turn, each text a block of its
    own and kept to the letter. Texts of nothing but whitespace are left out: Anthropic refuses them.
    """
    if len(messages) > limits.max_messages:
        raise _invalid(f"more than {limits.max_messages} messages", "messages", code="too_many_messages")
    leading: list[SystemMessage] = []
    for message in messages:
        if not isinstance(message, SystemMessage):
            break
        leading.append(message)
    system = "\n\n".join(text for message in leading for text in _system_texts(message))

    blocks: list[tuple[Role, Block]] = []
    images = 0
    for index, message in enumerate(messages[len(leading) :], len(leading)):
        path = f"messages.{index}"
        role: Role = "assistant" if isinstance(message, AssistantMessage) else "user"
        for block in _blocks(message, path, limits):
            images += isinstance(block, Image)
            if images > limits.max_images:
                raise _invalid(f"more than {limits.max_images} images", path, code="too_many_images")
            blocks.append((role, block))

    turns = [Message(role, tuple(block for _, block in turn)) for role, turn in groupby(blocks, key=itemgetter(0))]
    if not turns:
        raise _invalid("no message of a user with any content", "messages")
    if turns[-1].role == "assistant":
        last = f"messages.{len(messages) - 1}"
        if isinstance(messages[-1], AssistantMessage):
            raise _invalid("the last message is the assistant's; beginning its answer is not supported", last)
        raise _invalid("the last message is empty", last)
    beginning = (BEGINNING,) if turns[0].role == "assistant" else ()
    return system, (*beginning, *turns)


def _system_texts(message: SystemMessage) -> list[str]:
    texts = [message.content] if isinstance(message.content, str) else [part.text for part in message.content]
    return [text for text in texts if text.strip()]


def _blocks(message: ChatMessage, path: str, limits: Limits) -> Iterator[Block]:
    match message:
        case UserMessage():
            yield from _content(message.content, f"{path}.content", limits)
        case AssistantMessage():
            if row := unsupported_field(message):
                raise _unsupported(f"{path}.{row.name}")
            yield from _content(message.content, f"{path}.content", limits)
            yield from _content(message.refusal, f"{path}.refusal", limits)
        case SystemMessage():
            yield from (Text(f"<system>\n{text}\n</system>") for text in _system_texts(message))
        case _:
            raise _unsupported(f"{path}.role", message)


def _content(content: str | Sequence[Part] | None, path: str, limits: Limits) -> Iterator[Block]:
    parts = [TextPart(content)] if isinstance(content, str) else content or ()
    for index, part in enumerate(parts):
        match part:
            case TextPart(text=text) | RefusalPart(refusal=text):
                if text.strip():
                    yield Text(text)
            case ImagePart():
                yield Image(read_image(part.image_url.url, f"{path}.{index}.image_url.url", limits))
            case _:
                raise _unsupported(f"{path}.{index}.type", part)


def _unsupported(path: str, tagged: msgspec.Struct | None = None) -> InvalidRequest:
    what = f"`{path}`" if tagged is None else f"`{path}`: {tagged.__struct_config__.tag}"
    return InvalidRequest(f"{what} is not supported.", code="unsupported_parameter", param=path)


def _invalid(reason: str, path: str, code: str = "invalid_messages") -> InvalidRequest:
    return InvalidRequest(f"Invalid request format: `{path}`: {reason}.", code=code, param=path)
