"""Keys and sign-ins that were refused, counted by address and minute for the audit log (policy L1).

One entry for each attempt would let anybody fill the log; a count still shows who guesses, and for how long.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from contextlib import suppress

import structlog

from claude_code_api.audit.log import AuditLog
from claude_code_api.errors import StorageFailure

log = structlog.get_logger(__name__)

PERIOD = 60.0  # seconds
MOST_ADDRESSES = 100  # told of one by one in a minute; what is beyond is told as `others`
OTHERS = "others"


class Refusals:
    """`count` costs nothing but memory, and that is bounded; the entries are written at the end of each minute.

    They tell that `by` did `action` to an address, so many times.
    """

    def __init__(self, audit: AuditLog, by: str, action: str) -> None:
        self._audit = audit
        self._by = by
        self._action = action
        self._counted: Counter[str] = Counter()
        self._writing: asyncio.Task[None] | None = None
        self._ending = asyncio.Event()

    def count(self, address: str) -> None:
        """`address` is shortened already, as in the log."""
        known = address in self._counted or len(self._counted) < MOST_ADDRESSES
        self._counted[address if known else OTHERS] += 1
        if self._writing is None:
            self._writing = asyncio.create_task(self._write_later())

    async def close(self) -> None:
        """Writes what is still to be told."""
        self._ending.set()
        if self._writing is not None:
            await self._writing

    async def _write_later(self) -> None:
        while self._counted:
            with suppress(TimeoutError):
                async with asyncio.timeout(PERIOD - time.time() % PERIOD):
                    await self._ending.wait()
            await self._write()
            if self._ending.is_set():
                break
        self._writing = None

    async def _write(self) -> None:
        counted, self._counted = self._counted, Counter()
        try:
            async with self._audit.change(self._by) as change:
                for address, number in counted.items():
                    await change.note(self._action, address, times=number)
        except StorageFailure as failure:
            self._counted.update(counted)  # the next minute tells of both
            log.warning("refusals are not in the audit log yet", action=self._action, reason=failure.message)
