"""A streamed answer as server-sent events: its head as late as possible, comments while it is silent."""

from __future__ import annotations

import asyncio
from contextlib import suppress

from claude_code_api.surface.asgi import Fields
from claude_code_api.surface.exchange import ClientDisconnected, Exchange

_HEAD: Fields = [
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"x-accel-buffering", b"no"),  # nginx would hold the stream back
]


class EventStream:
    """The head goes out with the first data, so that a failure before it still has a status of its own.

    Nothing is held back here: every `send` goes to the connection at once, and waits for a client that reads slowly.
    """

    def __init__(self, exchange: Exchange, comment: bytes, interval: float) -> None:
        self.begun = False
        self._exchange = exchange
        self._comment = comment
        self._interval = interval
        self._loop = asyncio.get_running_loop()
        self._last = self._loop.time()
        self._writing = False
        self._timer: asyncio.TimerHandle | None = None
        self._commenting: asyncio.Task[None] | None = None

    async def send(self, data: bytes, *, more: bool = True) -> None:
        if self._commenting and not self._commenting.done():
            await asyncio.wait([self._commenting])
        await self._write(data, more=more)

    async def _write(self, data: bytes, *, more: bool) -> None:
        self._writing = True
        try:
            if not self.begun:
                self.begun = True
                await self._exchange.begin(200, _HEAD)
            await self._exchange.write(data, more=more)
            self._last = self._loop.time()
        finally:
            self._writing = False

    def comment_silence(self) -> None:
        """From now on, each `interval` seconds of silence are broken by a comment."""
        if self._timer is None:
            self._last = self._loop.time()
            self._wait()

    async def close(self) -> None:
        """No more comments. The answer itself ends with `send(…, more=False)`."""
        if self._timer:
            self._timer.cancel()
        if self._commenting:
            self._commenting.cancel()
            await asyncio.wait([self._commenting])

    def _wait(self) -> None:
        self._timer = self._loop.call_at(self._last + self._interval, self._look)

    def _look(self) -> None:
        if self._loop.time() - self._last >= self._interval:
            self._last = self._loop.time()
            if not self._writing:  # else the client reads slowly, which is no silence of ours
                self._commenting = self._loop.create_task(self._break_silence())
        self._wait()

    async def _break_silence(self) -> None:
        with suppress(ClientDisconnected):
            await self._write(self._comment, more=True)
