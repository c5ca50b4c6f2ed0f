"""What a process writes to its standard output: lines, and the messages that they hold."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Callable
from typing import Any, cast

import msgspec

from claude_code_api.engines.claude_code.mailbox import Message
from claude_code_api.errors import UpstreamError

LONGEST_LINE = 64 * 1024 * 1024
# What a message of each type must have at least for those who take it on.
_PARTS: dict[str, tuple[tuple[str, type], ...]] = {
    "control_request": (("request", dict), ("request_id", str)),
    "control_response": (("response", dict),),
    "stream_event": (("event", dict),),
    "assistant": (("message", dict),),
    "rate_limit_event": (("rate_limit_info", dict),),
}


class Unreadable(UpstreamError):
    """It was a message, and what it said is lost: the turn must not go on without."""

    def __init__(self) -> None:
        super().__init__("Claude Code wrote a message that cannot be read.")


class Output(asyncio.Protocol):
    """The standard output of one process: `take` is given each line as soon as it is whole.

    Read without a task of its own: a token then costs one step of the event loop instead of four.
    """

    def __init__(self, take: Callable[[bytes], None]) -> None:
        self.ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.unreadable = False
        self._take = take
        self._transport: asyncio.ReadTransport | None = None
        self.held = False
        self._pending: list[bytes] = []
        self._size = 0

    async def open(self) -> int:
        """Begins to read, and gives the end that a program writes to. It is the caller's to close."""
        read_end, write_end = os.pipe()
        loop = asyncio.get_running_loop()
        # Python's own loop closes the file. uvloop closes the number, and then the file as well: by that time a thread
        # may have been given the same number, for the database or a client, which would be closed in its place.
        pipe = os.fdopen(read_end, "rb", 0, closefd=isinstance(loop, asyncio.SelectorEventLoop))
        try:
            await loop.connect_read_pipe(lambda: self, pipe)
        except BaseException:
            pipe.close()
            os.close(write_end)
            raise
        return write_end

    def hold(self, held: bool) -> None:
        """Held, the pipe is left unread, and its writer waits as soon as it is full."""
        if self._transport is not None and held is not self.held:
            self.held = held
            (self._transport.pause_reading if held else self._transport.resume_reading)()

    def close(self) -> None:
        if self._transport is not None:
            self._transport.close()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.ReadTransport", transport)

    def data_received(self, data: bytes) -> None:
        *lines, rest = data.split(b"\n")
        try:
            for line in lines:
                if self._pending:
                    line = b"".join((*self._pending, line))
                    self._pending, self._size = [], 0
                self._take(line)
            if rest:
                self._pending.append(rest)
                self._size += len(rest)
            if self._size > LONGEST_LINE:
                raise Unreadable
        except Unreadable:
            self.unreadable = True
            self.close()

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.ended.done():
            self.ended.set_result(None)


def decoded(line: bytes) -> Message | None:
    """A message, or None where the line is none. Unreadable where it began as one."""
    message = _json(line)
    if not isinstance(message, dict):
        if line.startswith(b"{"):
            raise Unreadable
        return None
    for part, kind in _PARTS.get(str(message.get("type")), ()):
        if not isinstance(message.get(part), kind):
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
