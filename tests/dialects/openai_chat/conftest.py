"""What the tests of this dialect begin with: limits, and a decoder of plain Python values."""

from __future__ import annotations

import re
from collections.abc import Callable
from itertools import chain, pairwise
from typing import Any

import httpx2
import msgspec
import openai
import pytest
from openai.types.chat import ChatCompletionChunk

from claude_code_api.conversation import Conversation, Document, Image, Message, Text, ToolResult, ToolUse
from claude_code_api.dialects.openai_chat import ChatRequest, Limits, decode

Decode = Callable[..., ChatRequest]
Check = Callable[[Conversation], None]
Client = Callable[..., openai.OpenAI]


@pytest.fixture(scope="session")
def limits() -> Limits:
    return Limits(
        max_depth=64,
        max_messages=50,
        max_images=3,
        max_image_bytes=2000,
        max_files=3,
        max_file_bytes=3000,
        remote_images=False,
        ignore_unsupported=False,
    )


@pytest.fixture(scope="session")
def ask(limits: Limits) -> Decode:
    """Decodes a request of these messages (or of one text), with further fields and changed limits."""

    def decoded(messages: Any = "hello", *, changed: dict[str, Any] | None = None, **fields: Any) -> ChatRequest:
        if isinstance(messages, str):
            messages = [{"role": "user", "content": messages}]
        body = msgspec.json.encode({"model": "sonnet", "messages": messages, **fields})
        return decode(body, msgspec.structs.replace(limits, **(changed or {})))

    return decoded


@pytest.fixture(scope="session")
def client() -> Client:
    """OpenAI's own client, which gets `body` for whatever it asks."""

    def answered_with(body: bytes, content_type: str = "text/event-stream", status: int = 200) -> openai.OpenAI:
        def respond(_: httpx2.Request) -> httpx2.Response:
            return httpx2.Response(status, content=body, headers={"content-type": content_type})

        transport = httpx2.Client(transport=httpx2.MockTransport(respond))
        return openai.OpenAI(api_key="none", base_url="http://gateway.test/v1", max_retries=0, http_client=transport)

    return answered_with


@pytest.fixture(scope="session")
def chunks_of(client: Client) -> Callable[[bytes], list[ChatCompletionChunk]]:
    """The chunks of a streamed answer as OpenAI's client reads them."""

    def read(body: bytes) -> list[ChatCompletionChunk]:
        with client(body) as official:
            stream = official.chat.completions.create(
                model="sonnet", messages=[{"role": "user", "content": "x"}], stream=True
            )
            return list(stream)

    return read


@pytest.fixture(scope="session")
def require_sound() -> Check:
    """Checks what Anthropic's API demands of every conversation, whatever it was made of."""
    return check_sound


def check_sound(conversation: Conversation) -> None:
    turns = conversation.messages
    assert [turn.role for turn in turns] == ["user", "assistant"] * (len(turns) // 2) + ["user"]
    for turn in turns:
        assert turn.content
        results = [block for block in turn.content if isinstance(block, ToolResult)]
        assert tuple(results) == turn.content[: len(results)]
        for block in chain(turn.content, *(result.content for result in results)):
            match block:
                case Text(text=text):
                    assert text.strip()
                case ToolUse():
                    assert turn.role == "assistant"
                    assert re.fullmatch(r"[a-zA-Z0-9_-]+", block.id)
                    assert re.fullmatch(r"[a-zA-Z0-9_-]{1,64}", block.name)
                    assert isinstance(block.input, dict)
                case ToolResult() | Image() | Document():
                    assert turn.role == "user"
    for before, after in pairwise(turns):
        assert sorted(calls_of(before)) == sorted(results_of(after))
    assert not results_of(turns[0])
    every_call = [call for turn in turns for call in calls_of(turn)]
    assert len(every_call) == len(set(every_call))

    names = [tool.name for tool in conversation.tools]
    assert len(names) == len(set(names))
    assert all(tool.input_schema["type"] == "object" for tool in conversation.tools)
    sampling = conversation.sampling
    assert sampling.temperature is None or 0 <= sampling.temperature <= 1
    assert sampling.tool_choice is None or names
    assert sampling.tool_choice is None or sampling.tool_choice.name is None or sampling.tool_choice.name in names


def calls_of(turn: Message) -> list[str]:
    return [block.id for block in turn.content if isinstance(block, ToolUse)]


def results_of(turn: Message) -> list[str]:
    return [block.tool_use_id for block in turn.content if isinstance(block, ToolResult)]
