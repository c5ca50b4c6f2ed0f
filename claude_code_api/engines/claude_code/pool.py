"""Processes: as many as may run, spares started ahead, and a wait in the order of coming for the rest.

Here a process serves one request and ends with it. Live conversations have their place in `Pool.process`: what
is kept there instead of ended is looked for before a spare is taken.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections import defaultdict, deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import structlog

from claude_code_api.credential import Credential
from claude_code_api.engines.claude_code.process import Process, has_identity
from claude_code_api.engines.claude_code.program import Program
from claude_code_api.errors import Overloaded

log = structlog.get_logger(__name__)

PROCESS_MEMORY = 200 * 1024 * 1024  # bytes; measured: 115 MB in use, with room for a long history
PROCESSES_A_CORE = 8
SPARES_KEPT = 600.0  # seconds after a credential's last request
TIDY_INTERVAL = 30.0  # seconds
PAUSE_AFTER_FAILURE = 5.0  # seconds without new spares
RETRY_AFTER = 5  # seconds, for a client that waited in vain


def affordable() -> int:
    """How many processes this machine bears: half of its memory, eight a core, at most 32."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2
    return max(2, min(32, memory // PROCESS_MEMORY, PROCESSES_A_CORE * (os.cpu_count() or 1)))


class Pool:
    """Owns every process. `limit` counts busy ones and spares; a spare makes way for another credential."""

    def __init__(self, program: Program, *, limit: int | None, spares: int, queue_timeout: float) -> None:
        self.limit = limit or affordable()
        self._program = program
        self._wanted = spares
        self._queue_timeout = queue_timeout
        self._places = asyncio.Semaphore(self.limit)
        self._admitted = 0
        self._busy: set[Process] = set()
        self._spares: dict[str, deque[Process]] = defaultdict(deque)
        self._last_used: dict[str, float] = {}
        self._first_start: dict[str, asyncio.Lock] = defaultdict(asyncio.Lock)
        self._changed = asyncio.Event()
        self._keeper: asyncio.Task[None] | None = None

    def open(self) -> None:
        self._keeper = asyncio.create_task(self._keep_spares())

    @asynccontextmanager
    async def process(self, credential: Credential) -> AsyncIterator[Process]:
        """A process of this credential for one request. Overloaded after `queue_timeout` seconds of waiting."""
        await self._admit()
        try:
            self._last_used[credential.id] = time.monotonic()
            process = await self._take(credential.id)
            self._busy.add(process)
            try:
                yield process
            finally:
                self._busy.discard(process)
                await process.end()
        finally:
            self._admitted -= 1
            self._places.release()
            self._changed.set()

    def keep_ready(self, credential_id: str) -> None:
        """Has spares of this credential started, as if it had just been used."""
        self._last_used[credential_id] = time.monotonic()
        self._changed.set()

    async def close(self) -> None:
        """Ends every process."""
        if self._keeper is not None:
            self._keeper.cancel()
            with suppress(asyncio.CancelledError):
                await self._keeper
        spares = [spare for line in self._spares.values() for spare in line]
        self._spares.clear()
        await asyncio.gather(*(process.end() for process in (*spares, *self._busy)))

    @property
    def spares(self) -> int:
        return sum(spare.alive for line in self._spares.values() for spare in line)

    # --- a request's process ----------------------------------------------------------------------------

    async def _admit(self) -> None:
        try:
            async with asyncio.timeout(self._queue_timeout):
                await self._places.acquire()
        except TimeoutError:
            raise Overloaded(
                f"All {self.limit} Claude Code processes are busy; try again later.", retry_after=RETRY_AFTER
            ) from None
        self._admitted += 1

    async def _take(self, credential_id: str) -> Process:
        spares = self._spares[credential_id]
        while spares:
            spare = spares.popleft()
            if spare.alive:
                return spare
            await spare.end()
        while self._room < 0 and (others := self._longest_unused()):
            await others.popleft().end()
        return await self._start(credential_id)

    @property
    def _room(self) -> int:
        return self.limit - self._admitted - sum(map(len, self._spares.values()))

    def _longest_unused(self) -> deque[Process] | None:
        return min(
            (line for line in self._spares.values() if line),
            key=lambda line: self._last_used.get(line[0].credential_id, 0.0),
            default=None,
        )

    async def _start(self, credential_id: str) -> Process:
        """Starts a process; the first one of a credential alone, until it has made the credential's identity."""
        process = Process(self._program, credential_id)
        if await has_identity(process.home):
            return await _started(process)
        async with self._first_start[credential_id]:
            await _started(process)
            try:
                await process.identity()
            except BaseException:
                await process.end()
                raise
            return process

    # --- spares -----------------------------------------------------------------------------------------

    async def _keep_spares(self) -> None:
        """Starts the spares that are wanted, one after another, and ends those that nobody is likely to need."""
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(TIDY_INTERVAL):
                    await self._changed.wait()
            self._changed.clear()
            try:
                await self._end_unneeded()
                while (credential_id := self._lacking()) is not None:
                    await self._add_spare(credential_id)
            except Exception:  # whatever it was: requests go on, and later spares may
                log.warning("no spare process could be started", exc_info=True)
                await asyncio.sleep(PAUSE_AFTER_FAILURE)

    def _lacking(self) -> str | None:
        """The most recently used credential that has too few spares, while there is room for one."""
        in_use = sorted(self._last_used, key=self._last_used.__getitem__, reverse=True)
        if self._room <= 0:
            return None
        return next((used for used in in_use if len(self._spares[used]) < self._wanted), None)

    async def _add_spare(self, credential_id: str) -> None:
        spare = await self._start(credential_id)
        if self._room > 0:
            self._spares[credential_id].append(spare)
        else:  # requests came meanwhile
            await spare.end()

    async def _end_unneeded(self) -> None:
        now = time.monotonic()
        for credential_id, line in list(self._spares.items()):
            unused = now - self._last_used.get(credential_id, now) > SPARES_KEPT
            if unused:
                self._last_used.pop(credential_id, None)
            for spare in [spare for spare in line if unused or not spare.alive]:
                line.remove(spare)
                await spare.end()


async def _started(process: Process) -> Process:
    """Starts it whole or not at all: one that is given up halfway would have nobody to end it."""
    starting = asyncio.create_task(process.start())
    try:
        await asyncio.shield(starting)
    except BaseException:
        await asyncio.wait([starting])
        await process.end()
        raise
    return process
