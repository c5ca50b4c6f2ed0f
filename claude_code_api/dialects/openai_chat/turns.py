"""OpenAI's list of messages becomes a system prompt and the alternating turns that Anthropic's API asks for."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby
from operator import itemgetter
from typing import Literal

from claude_code_api.conversation import Block, Document, Image, Message, Text, ToolResult
from claude_code_api.dialects.openai_chat.calls import Calls
from claude_code_api.dialects.openai_chat.faults import invalid_messages, unsupported
from claude_code_api.dialects.openai_chat.files import read_file
from claude_code_api.dialects.openai_chat.images import read_image
from claude_code_api.dialects.openai_chat.limits import Limits
from claude_code_api.dialects.openai_chat.schema import (
    AssistantMessage,
    FilePart,
    FunctionMessage,
    ImagePart,
    Part,
    RefusalPart,
    SystemMessage,
    TextPart,
    ToolMessage,
    UserMessage,
    unsupported_field,
)
from claude_code_api.dialects.openai_chat.schema import Message as ChatMessage

Role = Literal["user", "assistant"]

BEGINNING = Message("user", (Text("(The conversation begins.)"),))
"""The user turn before a history that begins with the assistant: Anthropic's begin with the user."""


def read_messages(messages: Sequence[ChatMessage], limits: Limits) -> tuple[str, tuple[Message, ...]]:
    """The system prompt and the turns.

    Leading `system` and `developer` messages are the prompt, joined by blank lines; later ones stay in place, as
    text in `<system>` marks within the user's turn. Neighbours of one role are one turn, each text a block of its
    own and kept to the letter. Texts of nothing but whitespace are left out: Anthropic refuses them. Results of tool
    calls begin the user's turn after them, in the order they came, and what the user says joins it.
    """
    if len(messages) > limits.max_messages:
        raise invalid_messages(f"more than {limits.max_messages} messages", "messages", code="too_many_messages")
    leading: list[SystemMessage] = []
    for message in messages:
        if not isinstance(message, SystemMessage):
            break
        leading.append(message)
    system = "\n\n".join(text for message in leading for text in _system_texts(message))

    blocks: list[tuple[Role, Block]] = []
    calls = Calls(limits)
    images = files = 0
    for index, message in enumerate(messages[len(leading) :], len(leading)):
        path = f"messages.{index}"
        role: Role = "assistant" if isinstance(message, AssistantMessage) else "user"
        for block in _blocks(message, path, calls, limits):
            if not isinstance(block, Text):
                images += _count(Image, block)
                files += _count(Document, block)
            if images > limits.max_images:
                raise invalid_messages(f"more than {limits.max_images} images", path, code="too_many_images")
            if files > limits.max_files:
                raise invalid_messages(f"more than {limits.max_files} files", path, code="too_many_files")
            blocks.append((role, block))
    if calls.unanswered:
        raise calls.unanswered_fault()

    turns = [Message(role, tuple(block for _, block in turn)) for role, turn in groupby(blocks, key=itemgetter(0))]
    if not turns:
        raise invalid_messages("no message of a user with any content", "messages")
    if turns[-1].role == "assistant":
        last = f"messages.{len(messages) - 1}"
        if isinstance(messages[-1], AssistantMessage):
            raise invalid_messages("the last message is the assistant's; beginning its answer is not supported", last)
        raise invalid_messages("the last message is empty", last)
    beginning = (BEGINNING,) if turns[0].role == "assistant" else ()
    return system, (*beginning, *turns)


def _count(kind: type[Image | Document], block: Block) -> int:
    return (
        sum(_count(kind, part) for part in block.content) if isinstance(block, ToolResult) else isinstance(block, kind)
    )


def _system_texts(message: SystemMessage) -> list[str]:
    texts = [message.content] if isinstance(message.content, str) else [part.text for part in message.content]
    return [text for text in texts if text.strip()]


def _blocks(message: ChatMessage, path: str, calls: Calls, limits: Limits) -> Iterator[Block]:
    if calls.unanswered and not isinstance(message, (ToolMessage, FunctionMessage)):
        raise calls.unanswered_fault()
    match message:
        case UserMessage():
            yield from _content(message.content, f"{path}.content", limits)
        case AssistantMessage():
            if row := unsupported_field(message):
                raise unsupported(f"{path}.{row.name}")
            yield from _content(message.content, f"{path}.content", limits)
            yield from _content(message.refusal, f"{path}.refusal", limits)
            if message.tool_calls or message.function_call:
                yield from calls.made(message, path)
        case SystemMessage():
            yield from (Text(f"<system>\n{text}\n</system>") for text in _system_texts(message))
        case ToolMessage() | FunctionMessage():
            call_id = calls.answered(message, path)
            yield ToolResult(call_id, tuple(_content(message.content, f"{path}.content", limits)))


def _content(content: str | Sequence[Part] | None, path: str, limits: Limits) -> Iterator[Text | Image | Document]:
    parts = [TextPart(content)] if isinstance(content, str) else content or ()
    for index, part in enumerate(parts):
        match part:
            case TextPart(text=text) | RefusalPart(refusal=text):
                if text.strip():
                    yield Text(text)
            case ImagePart():
                yield Image(read_image(part.image_url.url, f"{path}.{index}.image_url.url", limits))
            case FilePart(file=file):
                yield read_file(file, f"{path}.{index}.file", limits)
            case _:
                raise unsupported(f"{path}.{index}.type", part)
