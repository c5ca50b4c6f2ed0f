"""An engine that gives the events that a test wants, and remembers what it was asked."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from typing import Any

from claude_code_api.conversation import Conversation, Event, Finished, Started, Usage
from claude_code_api.credential import Credential

END = Finished(stop_reason="end_turn", usage=Usage())
LISTED = [{"value": "default"}, {"value": "sonnet"}, {"value": "haiku"}, {"value": "fable"}]


class ScriptedEngine:
    def __init__(self) -> None:
        self.ready = True
        self.events: list[Event | Exception] = [Started("claude-x"), END]
        self.asked: list[tuple[Conversation, Credential, str]] = []
        self.meanwhile: Callable[[], Any] | None = None

    async def models(self, credential: Credential, tenant: str) -> list[dict[str, Any]]:
        return LISTED

    async def answer(
        self, conversation: Conversation, credential: Credential, tenant: str
    ) -> AsyncGenerator[Event, None]:
        self.asked.append((conversation, credential, tenant))
        if self.meanwhile is not None:
            await self.meanwhile()
        for event in self.events:
            if isinstance(event, Exception):
                raise event
            yield event
