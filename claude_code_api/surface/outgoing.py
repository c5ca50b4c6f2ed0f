"""What goes out on a connection: gathered within one step of the event loop, and written at once.

uvloop sends each write with a system call of its own, 30 to 150 µs. An answer's head comes with its first data, several
deltas come in one read, and the figures come with the end.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

MOST_GATHERED = 64 * 1024
"""Bytes; then they go at once, and a client that reads slowly is noticed as soon as without gathering."""


class Outgoing:
    """A connection's transport as the answering side uses it."""

    __slots__ = ("_close", "_gathered", "_loop", "_size", "_transport", "is_closing")

    def __init__(self, transport: asyncio.Transport, close: Callable[[], None]) -> None:
        self.is_closing = transport.is_closing
        self._transport = transport
        self._close = close
        self._loop = asyncio.get_running_loop()
        self._gathered: list[bytes] = []
        self._size = 0

    def write(self, data: bytes) -> None:
        """Sent in the loop's next step at the latest, behind all that was written before."""
        if not self._gathered:
            self._loop.call_soon(self.flush)
        self._gathered.append(data)
        self._size += len(data)
        if self._size >= MOST_GATHERED:
            self.flush()

    def flush(self) -> None:
        """Sends what was gathered; nothing where the connection is lost."""
        if not self._gathered:
            return
        data = b"".join(self._gathered)
        self._gathered.clear()
        self._size = 0
        if not self.is_closing():
            self._transport.write(data)

    def close(self) -> None:
        self.flush()
        self._close()
