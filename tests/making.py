"""Values that tests are made of: credentials, conversations, and what came of them."""

from __future__ import annotations

from typing import Any

from claude_code_api.conversation import Conversation, Event, Message, Text, TextDelta
from claude_code_api.credential import Credential, CredentialKind
from claude_code_api.engines import Engine
from claude_code_api.errors import RequestFailure
from claude_code_api.secret import Secret
from claude_code_api.stand_in import api_key, oauth_token
from claude_code_api.stand_in.record import RecordedRequest


def oauth(name: str) -> Credential:
    return Credential(id=f"cred-{name}", name=name, kind=CredentialKind.OAUTH, token=Secret(oauth_token(name)))


def anthropic_key(name: str) -> Credential:
    return Credential(id=f"cred-{name}", name=name, kind=CredentialKind.API_KEY, token=Secret(api_key(name)))


def chat(*turns: str, **fields: Any) -> Conversation:
    """A conversation of texts, the user's first."""
    messages = tuple(Message("assistant" if n % 2 else "user", (Text(turn),)) for n, turn in enumerate(turns))
    return Conversation(**{"model": "haiku", "messages": messages, **fields})


async def answer(engine: Engine, conversation: Conversation, credential: Credential) -> tuple[str, list[Event]]:
    """The text of an answer, and the events other than text."""
    events = [event async for event in engine.answer(conversation, credential, "tenant")]
    text = "".join(event.text for event in events if isinstance(event, TextDelta))
    return text, [event for event in events if not isinstance(event, TextDelta)]


async def outcome(
    engine: Engine, conversation: Conversation, credential: Credential
) -> tuple[list[Event], RequestFailure | None]:
    """All events of an answer, and the failure that it ended in."""
    events: list[Event] = []
    try:
        async for event in engine.answer(conversation, credential, "tenant"):
            events.append(event)  # noqa: PERF401 - those before a failure are wanted too
    except RequestFailure as failure:
        return events, failure
    return events, None


def texts(request: RecordedRequest) -> list[tuple[str, list[str]]]:
    """The turns that went upstream, as role and texts, without what Claude Code adds about itself."""
    turns = []
    for turn in request.body["messages"]:
        blocks = [{"type": "text", "text": turn["content"]}] if isinstance(turn["content"], str) else turn["content"]
        kept = [b.get("text", b["type"]) for b in blocks if not b.get("text", "").startswith("<system-reminder>")]
        if turn["role"] != "system":
            turns.append((turn["role"], kept))
    return turns


def device_of(request: RecordedRequest) -> str:
    """The device identity that a request of Claude Code's bears."""
    import json

    return str(json.loads(request.body["metadata"]["user_id"])["device_id"])
