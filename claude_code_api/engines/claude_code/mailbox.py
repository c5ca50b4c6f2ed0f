"""What a process has said and its turn has not taken yet: for one reader, in order, bounded by whoever fills it."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Any

Message = dict[str, Any]
"""A line that the program wrote, decoded."""

PIECES_HELD = 0.05
"""Seconds that a piece of an answer waits at most for others, behind the first: nobody sees that, and a fast stream
wakes its reader some twenty times a second instead of some hundred, each time at 0.15 ms of processor time."""


class Mailbox:
    """An `asyncio.Queue` that is told its end, and costs a waiting reader one future.

    One timer serves all waiting, and is set anew only when it fires: many a token comes alone.
    """

    def __init__(self) -> None:
        self._messages: deque[Message] = deque()
        self._arrival: asyncio.Future[None] | None = None
        self._deadline = 0.0
        self._timer: asyncio.TimerHandle | None = None
        self._closed = False
        self._last_piece = 0.0  # when one was passed on, if nothing else was since
        self._held: asyncio.TimerHandle | None = None

    def __len__(self) -> int:
        return len(self._messages)

    def put(self, message: Message, *, piece: bool = False) -> None:
        """A `piece` of an answer may be held. The first behind anything else is not, and all else brings it along."""
        self._messages.append(message)
        if piece:
            loop = asyncio.get_running_loop()
            if loop.time() - self._last_piece < PIECES_HELD:
                self._held = self._held or loop.call_later(PIECES_HELD, self._pass_on, loop)
                return
            self._last_piece = loop.time()
        else:
            self._last_piece = 0.0
        self._wake()

    def close(self) -> None:
        """No more will come; what is there may still be taken."""
        self._closed = True
        if self._timer is not None:
            self._timer.cancel()
        self._wake()

    def clear(self) -> None:
        self._messages.clear()

    async def take(self, patience: float) -> Message | None:
        """The next message, None at the end. TimeoutError after `patience` seconds of nothing."""
        if not self._messages and not self._closed:
            loop = asyncio.get_running_loop()
            self._deadline = loop.time() + patience
            await self._wait(loop)
            while not self._messages and not self._closed:  # what had come was cleared before its reader ran
                if loop.time() >= self._deadline:
                    raise TimeoutError
                await self._wait(loop)
        return self._messages.popleft() if self._messages else None

    async def _wait(self, loop: asyncio.AbstractEventLoop) -> None:
        self._arrival = loop.create_future()
        if self._timer is None or self._timer.when() > self._deadline:
            self._set_timer(loop)
        await self._arrival

    def _pass_on(self, loop: asyncio.AbstractEventLoop) -> None:
        self._held = None
        if self._messages:  # else they were taken by a reader that came by itself
            self._last_piece = loop.time()
            self._wake()

    def _wake(self) -> None:
        if self._held is not None:
            self._held.cancel()
            self._held = None
        if self._arrival is not None and not self._arrival.done():
            self._arrival.set_result(None)

    def _set_timer(self, loop: asyncio.AbstractEventLoop) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = loop.call_at(self._deadline, self._look, loop)

    def _look(self, loop: asyncio.AbstractEventLoop) -> None:
        self._timer = None
        if self._arrival is None or self._arrival.done():
            return  # nobody waits
        if loop.time() < self._deadline:  # something has come since the timer was set
            self._set_timer(loop)
        else:
            self._wake()
