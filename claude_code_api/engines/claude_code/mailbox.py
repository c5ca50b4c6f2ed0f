"""What a process has said and its turn has not taken yet: for one reader, in order, bounded by whoever fills it."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Any

Message = dict[str, Any]
"""A line that the program wrote, decoded."""


class Mailbox:
    """An `asyncio.Queue` that is told its end, and costs a waiting reader one future and one timer."""

    def __init__(self) -> None:
        self._messages: deque[Message] = deque()
        self._arrival: asyncio.Future[None] | None = None
        self._closed = False

    def __len__(self) -> int:
        return len(self._messages)

    def put(self, message: Message) -> None:
        self._messages.append(message)
        self._wake()

    def close(self) -> None:
        """No more will come; what is there may still be taken."""
        self._closed = True
        self._wake()

    def clear(self) -> None:
        self._messages.clear()

    async def take(self, patience: float) -> Message | None:
        """The next message, None at the end. TimeoutError after `patience` seconds of nothing."""
        if not self._messages and not self._closed:
            loop = asyncio.get_running_loop()
            self._arrival = loop.create_future()
            deadline = loop.call_later(patience, self._wake)
            try:
                await self._arrival
            finally:
                deadline.cancel()
        if self._messages:
            return self._messages.popleft()
        if self._closed:
            return None
        raise TimeoutError

    def _wake(self) -> None:
        if self._arrival is not None and not self._arrival.done():
            self._arrival.set_result(None)
