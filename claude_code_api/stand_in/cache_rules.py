"""Where a request may mark its prompt for the cache: at most four times, and the longer lived marks first."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from claude_code_api.stand_in import shape
from claude_code_api.stand_in.errors import invalid

MAX_MARKS = 4


def check(request: dict[str, Any]) -> None:
    count = 0
    short_lived = False
    for path, mark in marks(request):
        count += 1
        shape.mapping(mark, f"{path}.cache_control")
        shape.one_of(mark.get("type"), ("ephemeral",), f"{path}.cache_control.type")
        ttl = mark.get("ttl", "5m")
        shape.one_of(ttl, ("5m", "1h"), f"{path}.cache_control.ttl")
        if ttl == "1h" and short_lived:
            raise invalid(
                f"{path}.cache_control.ttl: a ttl='1h' cache_control block must not come after a ttl='5m' "
                "cache_control block."
            )
        short_lived = ttl == "5m"
    if count > MAX_MARKS:
        raise invalid(f"A maximum of {MAX_MARKS} blocks with cache_control may be provided. Found {count}.")


def marks(request: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    """Each `cache_control` of a request whose shape is checked, in the order of the prompt, with its place."""
    for number, tool in enumerate(request.get("tools") or ()):
        if tool.get("cache_control"):
            yield f"tools.{number}", tool["cache_control"]
    contents = [("system", request.get("system"))]
    contents += [
        (f"messages.{number}.content", message.get("content")) for number, message in enumerate(request["messages"])
    ]
    for path, content in contents:
        if isinstance(content, list):
            yield from _marks_in(content, path)
    if request.get("cache_control"):
        yield "cache_control", request["cache_control"]


def _marks_in(blocks: list[dict[str, Any]], path: str) -> Iterator[tuple[str, Any]]:
    for number, block in enumerate(blocks):
        if block["type"] == "tool_result" and isinstance(block.get("content"), list):
            yield from _marks_in(block["content"], f"{path}.{number}.content")
        if block.get("cache_control"):
            yield f"{path}.{number}", block["cache_control"]
