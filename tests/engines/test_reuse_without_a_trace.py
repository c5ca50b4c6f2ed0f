"""Over a thousand reuses, with answers left, refused, failed and cut between them, no conversation meets another."""

from __future__ import annotations

import asyncio
import random
import re
from collections.abc import Awaitable, Callable
from contextlib import aclosing

from making import chat, oauth

from claude_code_api.conversation import TextDelta, Tool
from claude_code_api.engines.claude_code import ClaudeCode
from claude_code_api.errors import RequestFailure
from claude_code_api.stand_in import StandIn, script

REQUESTS = 1_000
MARK = re.compile(r"mark-\d+-end")
TOOL = Tool(name="look", input_schema={"type": "object", "properties": {}})
CALL = {"name": "mcp__client__look", "input": {}}


def prompt(mark: str, kind: str) -> str:
    scripts = {
        "whole": script(text=f"Heard {mark}"),
        "left": script(text=f"Heard {mark} " * 20, pause=0.005),
        "limited": script(status=429, message=f"No {mark}"),
        "refused": script(text=f"No {mark}", stop_reason="refusal"),
        "calling": script(text=f"Look {mark}", tools=[CALL]),
        "cut": script(text=f"So {mark}", stop_reason="max_tokens"),
        "lost": script(tokens=9, pause=0.002, cut=4),
    }
    return f"This is {mark}. {scripts[kind]}"


async def test_nothing_of_a_conversation_that_was_stepped_back_from_is_ever_seen_again(
    start_engine: Callable[..., Awaitable[ClaudeCode]], stand_in: StandIn
) -> None:
    engine = await start_engine(reuse_processes=True, max_processes=4)
    chance = random.Random(1)
    kinds = ["whole"] * 80 + ["left"] * 6 + ["limited"] * 5 + ["refused"] * 3 + ["calling"] * 4 + ["cut", "lost"]
    numbers = iter(range(REQUESTS))
    heard: dict[str, str] = {}

    async def program() -> None:
        for number in numbers:
            mark, kind = f"mark-{number}-end", chance.choice(kinds)
            conversation = chat(prompt(mark, kind), system="Be brief.", tools=(TOOL,))
            said = ""
            try:
                async with aclosing(engine.answer(conversation, oauth("anna"), "tenant")) as events:
                    async for event in events:
                        if isinstance(event, TextDelta):
                            said += event.text
                            if kind == "left":
                                break
            except RequestFailure:
                pass
            heard[mark] = said

    await asyncio.gather(*(program() for _ in range(3)))

    assert len(heard) == REQUESTS
    for mark, said in heard.items():
        assert set(MARK.findall(said)) <= {mark}
    for request in stand_in.requests:
        assert len(set(MARK.findall(str(request.body)))) == 1
    sessions = {request.headers["x-claude-code-session-id"] for request in stand_in.requests}
    assert len(sessions) < REQUESTS / 10, "processes were reused"
