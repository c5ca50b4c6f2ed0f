"""What a process writes to its standard output: lines, and the messages that they hold."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import msgspec

from claude_code_api.errors import UpstreamError

Message = dict[str, Any]
"""A line that the program wrote, decoded."""

LONGEST_LINE = 64 * 1024 * 1024
# What a message of each type must have at least for those who take it on.
_PARTS: dict[str, tuple[str, ...]] = {
    "control_request": ("request",),
    "control_response": ("response",),
    "stream_event": ("event",),
    "assistant": ("message",),
    "rate_limit_event": ("rate_limit_info",),
}


class Unreadable(UpstreamError):
    """It was a message, and what it said is lost: the turn must not go on without."""

    def __init__(self) -> None:
        super().__init__("Claude Code wrote a message that cannot be read.")


async def lines_of(pipe: asyncio.StreamReader) -> AsyncIterator[bytes]:
    """Each line as soon as it is whole. Unreadable where one does not end."""
    pending: list[bytes] = []
    size = 0
    while chunk := await pipe.read(1 << 16):
        *lines, rest = chunk.split(b"\n")
        for line in lines:
            pending.append(line)
            yield b"".join(pending)
            pending, size = [], 0
        pending.append(rest)
        size += len(rest)
        if size > LONGEST_LINE:
            raise Unreadable


def decoded(line: bytes) -> Message | None:
    """A message, or None where the line is none. Unreadable where it began as one."""
    message = _json(line)
    if not isinstance(message, dict):
        if line.startswith(b"{"):
            raise Unreadable
        return None
    if not all(isinstance(message.get(part), dict) for part in _PARTS.get(str(message.get("type")), ())):
        raise Unreadable
    return message


def _json(line: bytes) -> Any:
    """Half of a surrogate pair, as a split emoji has it, is kept. None where it is no JSON."""
    try:
        return msgspec.json.decode(line)
    except msgspec.DecodeError:
        try:
            return json.loads(line)  # takes lone surrogates
        except ValueError:
            return None
