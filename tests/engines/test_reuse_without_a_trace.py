"""Over a thousand reuses, with answers left, refused, failed and cut and processes killed between them, no conversation
meets another.
"""

from __future__ import annotations

import asyncio
import os
import random
import re
import signal
from collections.abc import Awaitable, Callable
from contextlib import aclosing, suppress

import pytest
from making import chat, oauth

from claude_code_api.conversation import Conversation, Message, Text, TextDelta, Tool, ToolCall, ToolResult, ToolUse
from claude_code_api.engines.claude_code import ClaudeCode
from claude_code_api.engines.claude_code.session import Session
from claude_code_api.errors import RequestFailure
from claude_code_api.stand_in import StandIn, script

StartEngine = Callable[..., Awaitable[ClaudeCode]]
REUSES = 1_000
MARK = re.compile(r"mark-\d+-end")
TOOL = Tool(name="look", input_schema={"type": "object", "properties": {}})
WEIGHTS = {
    "whole": 1000,
    "left": 60,  # the client goes in the middle of the answer
    "cancelled": 60,  # it goes at any moment
    "limited": 40,
    "invalid": 20,
    "refused": 30,  # by the model
    "brought": 40,  # a tool call and its result
    "calling": 15,  # a tool call whose result never comes
    "cut": 8,  # by `max_tokens`
    "lost": 8,  # by the connection
    "killed": 8,
}


def prompt(mark: str, kind: str) -> str:
    calls = [{"name": "mcp__client__look", "input": {"of": mark}, "id": f"toolu_{mark}"}]
    scripts = {
        "left": script(text=f"Heard {mark} " * 20, pause=0.005),
        "limited": script(status=429, message=f"No {mark}"),
        "invalid": script(status=400, message=f"Not so, {mark}"),
        "refused": script(text=f"No {mark}", stop_reason="refusal"),
        "brought": script(text=f"Look {mark}", tools=calls, then={"text": f"Saw {mark}"}),
        "calling": script(text=f"Look {mark}", tools=calls),
        "cut": script(text=f"So {mark}", stop_reason="max_tokens"),
        "lost": script(text=f"So {mark} " * 9, pause=0.002, cut=4),
        "killed": script(text=f"So {mark} " * 20, pause=0.01),
    }
    return f"This is {mark}. {scripts.get(kind) or script(text=f'Heard {mark}')}"


class Programs:
    """Clients of one owner. `heard` is what each conversation was answered, by its mark."""

    def __init__(self, engine: ClaudeCode) -> None:
        self.heard: dict[str, str] = {}
        self._engine = engine
        self._chance = random.Random(1)
        self._kinds = [kind for kind, weight in WEIGHTS.items() for _ in range(weight)]

    async def ask(self, times: int, at_once: int = 3) -> None:
        numbers = iter(range(len(self.heard), len(self.heard) + times))

        async def program() -> None:
            for number in numbers:
                await self._converse(f"mark-{number}-end", self._chance.choice(self._kinds))

        await asyncio.gather(*(program() for _ in range(at_once)))

    async def _converse(self, mark: str, kind: str) -> None:
        self.heard[mark] = ""
        conversation = chat(prompt(mark, kind), system="Be brief.", tools=(TOOL,))
        asking = asyncio.create_task(self._listen(mark, kind, conversation))
        if kind == "cancelled":
            await asyncio.sleep(self._chance.random() / 20)
            asking.cancel()
        with suppress(RequestFailure, asyncio.CancelledError):
            called = await asking
            if kind == "brought" and called:
                said = Message("assistant", (Text(self.heard[mark]), ToolUse(called, "look", {"of": mark})))
                brought = Message("user", (ToolResult(called, (Text(f"A tree of {mark}"),)),))
                await self._listen(
                    mark, kind, Conversation(
                        model="haiku", system="Be brief.", tools=(TOOL,),
                        messages=(*conversation.messages, said, brought),
                    ),
                )  # fmt: skip

    async def _listen(self, mark: str, kind: str, conversation: Conversation) -> str | None:
        """The id of the call that it ended with."""
        called = None
        async with aclosing(self._engine.answer(conversation, oauth("anna"), "tenant")) as events:
            async for event in events:
                if isinstance(event, ToolCall):
                    called = event.id
                if isinstance(event, TextDelta):
                    self.heard[mark] += event.text
                    if kind == "left":
                        break
                    if kind == "killed":
                        with suppress(ProcessLookupError):  # it has ended by itself
                            os.kill(self._chance.choice(list(self._engine._pool._busy)).process.pid, signal.SIGKILL)
        return called


def met(programs: Programs, stand_in: StandIn) -> list[set[str]]:
    """The marks that were found together, upstream or in an answer."""
    told = [{mark, *MARK.findall(said)} for mark, said in programs.heard.items()]
    sent = [set(MARK.findall(str(request.body))) for request in stand_in.requests]
    return [marks for marks in told + sent if len(marks) > 1]


@pytest.mark.timeout(400)
async def test_nothing_of_a_conversation_that_was_stepped_back_from_is_ever_seen_again(
    start_engine: StartEngine, stand_in: StandIn
) -> None:
    engine = await start_engine(reuse_processes=True, max_processes=4)
    programs = Programs(engine)
    await programs.ask(REUSES + REUSES // 10)

    assert met(programs, stand_in) == []
    sessions = {request.headers["x-claude-code-session-id"] for request in stand_in.requests}
    assert len(stand_in.requests) - len(sessions) >= REUSES
    assert engine.faults["died"]
    assert engine.faults["upstream"]


async def test_a_step_back_that_did_not_happen_would_be_seen(
    start_engine: StartEngine, stand_in: StandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def rewind(_: Session, __: str) -> bool:
        return True

    monkeypatch.setattr(Session, "_rewind", rewind)
    programs = Programs(await start_engine(reuse_processes=True, max_processes=4))
    await programs.ask(8)
    assert met(programs, stand_in)
