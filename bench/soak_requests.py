"""The kinds of requests that the soak mixes, and what each of them must come to."""

from __future__ import annotations

import asyncio
import json
import random
import re
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import msgspec

from claude_code_api.stand_in import script

MARK = re.compile(r"mark-\d+-end")
TOOLS = [{"type": "function", "function": {"name": "look", "parameters": {"type": "object", "properties": {}}}}]
LEFT = "left"


class Kind(msgspec.Struct, frozen=True):
    """`weight` of a thousand requests are so; `outcome` is a finish reason, an error's code, or `left`.

    `script` is what the stand-in does; it says `{mark}` where the text is to bear the mark of the conversation.
    """

    weight: int
    outcome: str
    script: dict[str, Any] = {}
    stream: bool = True
    turns: int = 1
    brings_result: bool = False
    patience: float = 60.0
    kills: bool = False
    body: dict[str, Any] = {}
    key: str | None = None


SAID: dict[str, Any] = {"text": "Heard {mark}"}
CALLING: dict[str, Any] = {"text": "Look {mark}", "tools": [{"name": "mcp__client__look", "input": {}}], "then": SAID}
KINDS = {
    "whole": Kind(300, "stop", SAID, stream=False),
    "streamed": Kind(300, "stop", SAID),
    "conversation": Kind(60, "stop", SAID, turns=4),
    "tool": Kind(60, "tool_calls", CALLING, brings_result=True),
    "tool, result never brought": Kind(20, "tool_calls", CALLING),
    "left in the middle": Kind(60, LEFT, {"text": "Heard {mark} " * 30, "pause": 0.005}),
    "left before it begins": Kind(20, LEFT, {"delay": 30, **SAID}, stream=False, patience=0.1),
    "limited": Kind(20, "rate_limit_exceeded", {"status": 429, "message": "No {mark}"}),
    "overloaded": Kind(20, "overloaded", {"status": 529}, stream=False),
    "refused by the model": Kind(20, "content_filter", {"text": "No {mark}", "stop_reason": "refusal"}),
    "refused upstream": Kind(10, "invalid_request", {"status": 400, "message": "Not so"}),
    "cut upstream": Kind(10, "upstream_error", {"tokens": 9, "pause": 0.002, "cut": 4}),
    "cut upstream, whole": Kind(10, "upstream_error", {"tokens": 9, "cut": 0}, stream=False),
    "error upstream": Kind(10, "overloaded", {"tokens": 9, "error_after": 3, "error_type": "overloaded_error"}),
    "nonsense upstream": Kind(5, "upstream_error", {"nonsense": True}),
    "too long": Kind(10, "length", {"text": "So {mark}", "stop_reason": "max_tokens"}),
    "process killed": Kind(10, "stop", SAID, kills=True),
    "no messages": Kind(30, "invalid_messages", body={"messages": []}),
    "unknown key": Kind(25, "invalid_api_key", key="sk-" + "x" * 48),
}


class Outcome(msgspec.Struct):
    """`end` as in `Kind.outcome`."""

    end: str = "silence"
    text: str = ""
    calls: list[dict[str, Any]] = []


class Program:
    """A client of the gateway with one key; it asks one thing after another."""

    def __init__(self, http: aiohttp.ClientSession, url: str, key: str) -> None:
        self._http = http
        self._url = f"{url}/v1/chat/completions"
        self._key = key

    async def ask(self, kind: Kind, mark: str) -> AsyncIterator[tuple[str, Outcome]]:
        """Has the conversation of this kind; gives, for each request, what it must come to and what it came to."""
        told = json.loads(json.dumps(kind.script).replace("{mark}", mark))
        messages: list[dict[str, Any]] = [{"role": "system", "content": "Be brief."}]
        for turn in range(kind.turns):
            messages.append({"role": "user", "content": f"This is {mark}, turn {turn}. {script(**told)}"})
            outcome = await self._request(kind, messages)
            yield kind.outcome, outcome
            messages.append({"role": "assistant", "content": outcome.text})
        if kind.brings_result and outcome.calls:
            messages[-1]["tool_calls"] = outcome.calls
            messages += [{"role": "tool", "tool_call_id": call["id"], "content": "A tree"} for call in outcome.calls]
            yield "stop", await self._request(kind, messages)

    async def _request(self, kind: Kind, messages: list[dict[str, Any]]) -> Outcome:
        body = {"model": "haiku", "stream": kind.stream, "messages": messages, "tools": TOOLS, **kind.body}
        headers = {"authorization": f"Bearer {kind.key or self._key}"}
        outcome = Outcome()
        try:
            async with asyncio.timeout(kind.patience):
                async with self._http.post(self._url, json=body, headers=headers) as response:
                    if response.content_type == "text/event-stream":
                        await self._read_stream(response, outcome, leave=kind.outcome == LEFT)
                    else:
                        _read_whole(await response.json(), outcome)
        except TimeoutError:
            outcome.end = LEFT if kind.outcome == LEFT else "timeout"
        except aiohttp.ClientError as error:
            outcome.end = type(error).__name__
        return outcome

    async def _read_stream(self, response: aiohttp.ClientResponse, outcome: Outcome, *, leave: bool) -> None:
        async for line in response.content:
            if not line.startswith(b"data: {"):
                continue
            chunk = json.loads(line[6:])
            if "error" in chunk:
                outcome.end = chunk["error"]["code"]
                return
            for choice in chunk["choices"]:
                outcome.text += choice["delta"].get("content") or ""
                for piece in choice["delta"].get("tool_calls") or ():
                    if piece.get("id"):
                        outcome.calls.append({"id": piece["id"], "type": "function", "function": piece["function"]})
                    else:
                        outcome.calls[piece["index"]]["function"]["arguments"] += piece["function"]["arguments"]
                outcome.end = choice["finish_reason"] or outcome.end
            if leave and outcome.text:
                outcome.end = LEFT
                response.close()
                return


def _read_whole(answer: dict[str, Any], outcome: Outcome) -> None:
    if "error" in answer:
        outcome.end = answer["error"]["code"]
        return
    (choice,) = answer["choices"]
    outcome.end, outcome.text = choice["finish_reason"], choice["message"].get("content") or ""
    outcome.calls = choice["message"].get("tool_calls") or []


def drawn(chance: random.Random) -> str:
    """The name of a kind, by weight."""
    return chance.choices(list(KINDS), [kind.weight for kind in KINDS.values()])[0]
