"""What the tests of agent libraries share: scripts of many answers, tools, and what went upstream meanwhile."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel

from claude_code_api.stand_in import StandIn, script
from claude_code_api.stand_in.record import RecordedRequest


class Place(BaseModel):
    """A structured output."""

    city: str
    degrees: int | None = None


def call(tool: str, /, **arguments: Any) -> dict[str, Any]:
    """A call of a client's tool, as the stand-in's scripts have it."""
    return {"name": f"mcp__client__{tool}", "input": arguments}


def task(*answers: dict[str, Any]) -> str:
    """A prompt to which the model gives these answers, one after another, each as soon as the tools have answered."""
    told: dict[str, Any] = {}
    for each in reversed(answers):
        told = {**each, "then": told} if told else each
    return f"Do it. {script(**told)}"


# Ten calls in six answers: words beside calls, calls at once, a tool that fails, arguments that do not fit.
LONG_TASK = task(
    {"text": "First this.\n\n", "tools": [call("add", b=2, a=1), call("weather", city="Łódź ✨")]},
    {"tools": [call("fail", why="no reason")]},
    {"tools": [call("add", a=1, b=1), call("add", a=2, b=2), call("weather", city="Rome", days=[1, 2])]},
    {"tools": [call("add", a="one", b=1)]},
    {"text": " Hm. ", "tools": [call("weather", city="")]},
    {"tools": [call("add", a=10, b=20), call("add", a=0.0, b=-1)]},
    {"text": "All done."},
)


def processes(stand_in: StandIn) -> list[str]:
    """Which process of Claude Code sent each request, in their order."""
    return [request.headers["x-claude-code-session-id"] for request in stand_in.requests]


def results(request: RecordedRequest) -> list[str]:
    """What the tools have answered so far, as the model reads it."""
    return [
        block["content"] if isinstance(block["content"], str) else "".join(part["text"] for part in block["content"])
        for message in request.body["messages"]
        if isinstance(message["content"], list)
        for block in message["content"]
        if block["type"] == "tool_result"
    ]
