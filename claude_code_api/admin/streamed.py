"""The playground's answer as it is written: the same server-sent events that a program gets."""

from __future__ import annotations

import msgspec

from claude_code_api.admin.action import Parts
from claude_code_api.admin.actions import playground
from claude_code_api.admin.caller import Caller
from claude_code_api.surface.chat import Chat
from claude_code_api.surface.exchange import Exchange


async def stream(exchange: Exchange, chat: Chat, parts: Parts, caller: Caller, question: playground.Question) -> None:
    """Answers with the events, as the action `ask` does with the whole; raises what it raises."""
    caller.require(playground.ask.role)
    key = await playground.live_key(parts, question.key)
    turns = [{"role": "system", "content": question.system}] if question.system else []
    body = {
        "model": question.model,
        "messages": [*turns, {"role": "user", "content": question.message}],
        "stream": True,
        "stream_options": {"include_usage": True},
    }
    await chat.answer(exchange, key, msgspec.json.encode(body))
