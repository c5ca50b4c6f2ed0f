"""Questions through the official client, and what comes back."""

from __future__ import annotations

from typing import Any

import openai


def user(*content: Any) -> dict[str, Any]:
    return {"role": "user", "content": content[0] if len(content) == 1 else list(content)}


def ask(client: openai.OpenAI, content: Any = "Hello", **fields: Any) -> Any:
    """The whole answer to one question."""
    messages = content if isinstance(content, list) else [user(content)]
    return client.chat.completions.create(**{"model": "haiku", "messages": messages, **fields})


def stream(client: openai.OpenAI, content: Any = "Hello", **fields: Any) -> list[Any]:
    """The chunks of a streamed answer."""
    return list(ask(client, content, stream=True, **fields))


def said(answer: Any) -> str:
    if isinstance(answer, list):
        return "".join(choice.delta.content or "" for chunk in answer for choice in chunk.choices)
    return str(answer.choices[0].message.content)
