"""What the tests of this dialect begin with: limits, and a decoder of plain Python values."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from claude_code_api.dialects.openai_chat import ChatRequest, Limits, decode

Decode = Callable[..., ChatRequest]


@pytest.fixture(scope="session")
def limits() -> Limits:
    return Limits(
        max_depth=64,
        max_messages=50,
        max_images=3,
        max_image_bytes=2000,
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
