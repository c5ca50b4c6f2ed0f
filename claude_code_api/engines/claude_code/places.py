"""Places: who may have a process now, who waits, and in which order they are served.

As many requests have a place as processes may run. The others wait: those of one tenant in the order in which they
came, the tenants in turns, so that a thousand requests of one hold up another one's by one answer. Nobody waits longer
than `patience`, and no more than `longest` wait at all: whoever is told to come back is told when.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections import OrderedDict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from claude_code_api.errors import Overloaded

FIRST_GUESS = 5.0  # seconds that an answer takes, as long as none has been given
LONGEST_RETRY = 60  # seconds; the official clients wait no longer
TELLING = 0.05  # of the time to wait: a crowd that gives up at once is told so one after the other
WEIGHT = 0.1  # of the latest answer in the mean

Line = OrderedDict[asyncio.Future[None], None]
"""Those of one tenant who wait, in the order of coming. Taking one out anywhere costs the same."""


class QueueFull(Overloaded):
    """There was no place in time. Ours, not Anthropic's: trying again here would only wait once more."""


class Places:
    """`limit` requests at once; `patience` is in seconds."""

    def __init__(self, limit: int, *, patience: float, longest: int) -> None:
        self.limit = limit
        self.taken = 0
        self.waiting = 0
        self._patience = patience
        self._longest = longest
        self._lines: OrderedDict[str, Line] = OrderedDict()  # the next one to be served first
        self._mean = FIRST_GUESS

    @asynccontextmanager
    async def place(self, tenant: str) -> AsyncIterator[None]:
        """One place for a request of this tenant. QueueFull where there is none in time, or too many wait."""
        await self._take(tenant)
        began = time.monotonic()
        try:
            yield
        finally:
            self._mean += WEIGHT * (time.monotonic() - began - self._mean)
            self._release()

    async def _take(self, tenant: str) -> None:
        if self.taken < self.limit:  # then nobody waits
            self.taken += 1
            return
        if self.waiting >= self._longest:
            self._make_room(tenant)
        called: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._lines.setdefault(tenant, OrderedDict())[called] = None
        self.waiting += 1
        try:
            async with asyncio.timeout(self._patience * (1 - TELLING)):
                await called
        except TimeoutError:
            self._leave(tenant, called)
            raise self._refusal(f"All {self.limit} Claude Code processes are busy; try again later.") from None
        except BaseException:
            self._leave(tenant, called)
            raise

    def _release(self) -> None:
        """Gives the place to the next tenant in turn, who then waits behind the others; or to nobody."""
        while self._lines:
            tenant, line = next(iter(self._lines.items()))
            called = next(iter(line))
            self._strike(tenant, called)
            if called.done():  # it gave up in this very moment
                continue
            if tenant in self._lines:
                self._lines.move_to_end(tenant)
            called.set_result(None)
            return
        self.taken -= 1

    def _leave(self, tenant: str, called: asyncio.Future[None]) -> None:
        """For one who gave up: it is in its line still, or was turned away, or has just been given a place."""
        if called in self._lines.get(tenant, ()):
            self._strike(tenant, called)
        elif called.done() and not called.cancelled() and called.exception() is None:
            self._release()

    def _strike(self, tenant: str, called: asyncio.Future[None]) -> None:
        line = self._lines[tenant]
        del line[called]
        self.waiting -= 1
        if not line:
            del self._lines[tenant]

    def _make_room(self, tenant: str) -> None:
        """Turns away the last of the longest line, so that a tenant who fills the queue keeps nobody out of it."""
        longest = max(self._lines, key=lambda other: len(self._lines[other]), default=tenant)
        refusal = self._refusal("Too many requests are waiting for a Claude Code process; try again later.")
        if len(self._lines.get(longest, ())) <= len(self._lines.get(tenant, ())) + 1:
            raise refusal
        last = next(reversed(self._lines[longest]))
        self._strike(longest, last)
        if not last.done():
            last.set_exception(refusal)

    def _refusal(self, message: str) -> QueueFull:
        """With the time in which those who wait now will have been served, as far as one can tell."""
        seconds = math.ceil(self._mean * (self.waiting + 1) / self.limit)
        return QueueFull(message, retry_after=max(1, min(LONGEST_RETRY, seconds)))
