"""What a process writes to its standard output: lines, and the messages that they hold."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Callable
from typing import Any

import msgspec
import structlog

from claude_code_api.engines.claude_code.mailbox import Message
from claude_code_api.errors import UpstreamError

log = structlog.get_logger(__name__)

LONGEST_LINE = 64 * 1024 * 1024
READ_AT_ONCE = 64 * 1024  # all that a pipe holds
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


class Output:
    """The standard output of one process: `take` is given each line as soon as it is whole.

    Read without a task of its own: a token then costs one step of the event loop instead of four. What `take` says of
    the last line that is there is how long, in seconds, the pipe may then be left alone: what gathers in it meanwhile
    costs one wake-up.
    """

    def __init__(self, take: Callable[[bytes], float | None]) -> None:
        self._loop = asyncio.get_running_loop()
        self.ended: asyncio.Future[None] = self._loop.create_future()
        self.unreadable = False
        self.held = False
        self._take = take
        self._descriptor = -1
        self._listening = False
        self._rest: asyncio.TimerHandle | None = None
        self._pending: list[bytes] = []
        self._size = 0

    def open(self) -> int:
        """Begins to read, and gives the end that a program writes to. It is the caller's to close."""
        self._descriptor, write_end = os.pipe()
        os.set_blocking(self._descriptor, False)
        self._listen(True)
        return write_end

    def hold(self, held: bool) -> None:
        """Held, the pipe is left unread, and its writer waits as soon as it is full."""
        if held is not self.held and not self.ended.done():
            self.held = held
            self._wake()
            self._listen(not held)

    def close(self) -> None:
        if not self.ended.done():
            self._wake()
            self._listen(False)
            if self._descriptor >= 0:
                os.close(self._descriptor)
            self.ended.set_result(None)

    def receive(self, data: bytes) -> float | None:
        """What was read. Seconds until more must be, None where that is now."""
        *lines, begun = data.split(b"\n")
        rest = None
        for line in lines:
            if self._pending:
                line = b"".join((*self._pending, line))
                self._pending, self._size = [], 0
            rest = self._take(line)
        if begun:
            self._pending.append(begun)
            self._size += len(begun)
            rest = None
        if self._size > LONGEST_LINE:
            raise Unreadable
        return rest

    def _read(self) -> None:
        self._rest = None
        try:
            data = os.read(self._descriptor, READ_AT_ONCE)
        except BlockingIOError:
            self._listen(True)
            return
        if not data:
            self.close()
            return
        try:
            rest = self.receive(data)
        except Exception as fault:  # whatever it was, something was said that nobody has read
            if not isinstance(fault, Unreadable):
                log.exception("what claude code wrote was not understood")
            self.unreadable = True
            self.close()
            return
        if self.held or self.ended.done():
            return
        if rest:  # by the clock from now on: to listen again costs more than to look
            self._listen(False)
            self._rest = self._loop.call_later(rest, self._read)
        else:
            self._listen(True)

    def _wake(self) -> None:
        if self._rest is not None:
            self._rest.cancel()
            self._rest = None

    def _listen(self, listening: bool) -> None:
        if listening is not self._listening:
            self._listening = listening
            if listening:
                self._loop.add_reader(self._descriptor, self._read)
            else:
                self._loop.remove_reader(self._descriptor)


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
