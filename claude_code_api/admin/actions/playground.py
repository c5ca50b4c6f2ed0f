"""The playground: a question, asked as a program with a certain key would ask it."""

from __future__ import annotations

import secrets
from collections.abc import AsyncGenerator
from contextlib import aclosing

import msgspec

from claude_code_api.access import ApiKey
from claude_code_api.admin.action import Input, Parts, action
from claude_code_api.admin.caller import Caller
from claude_code_api.conversation import Conversation, Event, Finished, Message, Text, TextDelta
from claude_code_api.errors import Conflict, InternalError, Unauthenticated
from claude_code_api.gateway.request import Request

ENDPOINT = "/admin/playground"


class Question(Input, frozen=True, kw_only=True):
    """`key` is an id or a name. It counts as that key's usage and against its limits; nothing of it is kept."""

    key: str
    message: str
    model: str = "sonnet"
    system: str = ""


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    text: str
    stop_reason: str
    input_tokens: int
    output_tokens: int


@action("POST", "/playground", "admin")
async def ask(parts: Parts, _: Caller, question: Question) -> Answer:
    """Ask a question with a key."""
    key = await live_key(parts, question.key)
    conversation = Conversation(
        model=question.model,
        system=question.system,
        messages=(Message("user", (Text(question.message),)),),
    )
    asked = Request("req_" + secrets.token_hex(12), ENDPOINT, False)
    try:
        async with parts.keys.using(key):
            return await _whole(parts.gateway.answer(key, conversation, asked))
    except Unauthenticated:  # which is told of the key, not of who asks
        raise _not_live(key) from None


async def _whole(answer: AsyncGenerator[Event, None]) -> Answer:
    text = ""
    async with aclosing(answer) as events:
        async for event in events:
            if isinstance(event, TextDelta):
                text += event.text
            elif isinstance(event, Finished):
                return Answer(
                    text=text,
                    stop_reason=event.stop_reason,
                    input_tokens=event.usage.prompt_tokens,
                    output_tokens=event.usage.output_tokens,
                )
    raise InternalError("The answer ended without its end.")


async def live_key(parts: Parts, id_or_name: str) -> ApiKey:
    """Conflict for one that is revoked or has expired."""
    key = await parts.access.keys.get(id_or_name)
    if not key.is_live:
        raise _not_live(key)
    return key


def _not_live(key: ApiKey) -> Conflict:
    return Conflict(f"The API key {key.name!r} ({key.id}) is not live any more.", param="key")
