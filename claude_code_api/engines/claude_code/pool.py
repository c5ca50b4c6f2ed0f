"""Processes: as many as may run, live conversations, spares started ahead, and a wait for the rest.

A request is served, in this order, by the live process that holds most of its conversation, by one of its owner's
that nobody is likely to come back to, by a spare, by a new process.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections import defaultdict, deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import structlog

from claude_code_api.conversation import Conversation
from claude_code_api.credential import Credential
from claude_code_api.engines.claude_code.process import Process, has_identity
from claude_code_api.engines.claude_code.program import Program
from claude_code_api.engines.claude_code.session import Owner, Session
from claude_code_api.errors import Overloaded

log = structlog.get_logger(__name__)

PROCESS_MEMORY = 200 * 1024 * 1024  # bytes; measured: 115 MB in use, with room for a long history
PROCESSES_A_CORE = 8
LIVE_KEPT = 600.0  # seconds that a live conversation waits for its next turn
LIKELY_TO_GO_ON = 30.0  # seconds in which a conversation is rather not taken for another one
SPARE_DELAY = 0.5  # seconds
SPARES_KEPT = 600.0  # seconds after a credential's last request
TIDY_INTERVAL = 30.0  # seconds
PAUSE_AFTER_FAILURE = 5.0  # seconds without new spares
RETRY_AFTER = 5  # seconds, for a client that waited in vain


def affordable() -> int:
    """How many processes this machine bears: half of its memory, eight a core, at most 32."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2
    return max(2, min(32, memory // PROCESS_MEMORY, PROCESSES_A_CORE * (os.cpu_count() or 1)))


class QueueFull(Overloaded):
    """There was no place in time. Ours, not Anthropic's: trying again here would only wait once more."""


class Pool:
    """Owns every process. `limit` counts busy ones, live ones and spares; those that wait make way for requests."""

    def __init__(
        self,
        program: Program,
        *,
        limit: int | None,
        spares: int,
        queue_timeout: float,
        parked_timeout: float = 600.0,
        reuse: bool = True,
    ) -> None:
        self.limit = limit or affordable()
        self._program = program
        self._wanted = spares
        self._reuse = reuse
        self._parked_timeout = parked_timeout
        self._closed = False
        self._queue_timeout = queue_timeout
        self._places = asyncio.Semaphore(self.limit)
        self._admitted = 0
        self._busy: set[Session] = set()
        self._live: dict[Owner, list[Session]] = {}
        self._spares: dict[str, deque[Session]] = defaultdict(deque)
        self._last_used: dict[str, float] = {}
        self._first_start: dict[str, asyncio.Lock] = defaultdict(asyncio.Lock)
        self._changed = asyncio.Event()
        self._keeper: asyncio.Task[None] | None = None

    def open(self) -> None:
        self._keeper = asyncio.create_task(self._keep_spares())

    @asynccontextmanager
    async def place(self) -> AsyncIterator[None]:
        """One of the places for requests, in the order of coming. QueueFull after `queue_timeout` seconds."""
        try:
            async with asyncio.timeout(self._queue_timeout):
                await self._places.acquire()
        except TimeoutError:
            raise QueueFull(
                f"All {self.limit} Claude Code processes are busy; try again later.", retry_after=RETRY_AFTER
            ) from None
        self._admitted += 1
        try:
            yield
        finally:
            self._admitted -= 1
            self._places.release()
            self._changed.set()

    @asynccontextmanager
    async def session(self, owner: Owner, conversation: Conversation, credential: Credential) -> AsyncIterator[Session]:
        """A process for one request that has a place: a live one of this owner's, stepped back to what it shares
        with the conversation, or one that was not opened yet.
        """
        self._last_used[owner.credential_id] = time.monotonic()
        session = await self._take(owner, conversation, credential)
        self._busy.add(session)
        # The next spare gets ready while this answer runs, but does not slow down its first token.
        asyncio.get_running_loop().call_later(SPARE_DELAY, self._changed.set)
        try:
            yield session
        finally:
            self._busy.discard(session)
            await self._give_back(session)

    def keep_ready(self, credential_id: str) -> None:
        """Has spares of this credential started, as if it had just been used."""
        self._last_used[credential_id] = time.monotonic()
        self._changed.set()

    async def close(self) -> None:
        """Ends every process, and starts none any more."""
        self._closed = True
        if self._keeper is not None:
            self._keeper.cancel()
            with suppress(asyncio.CancelledError):
                await self._keeper
        waiting = [session for line in (*self._spares.values(), *self._live.values()) for session in line]
        self._spares.clear()
        self._live.clear()
        await asyncio.gather(*(session.end() for session in (*waiting, *self._busy)))

    @property
    def spares(self) -> int:
        return sum(spare.alive for line in self._spares.values() for spare in line)

    # --- a request's process ----------------------------------------------------------------------------

    async def _take(self, owner: Owner, conversation: Conversation, credential: Credential) -> Session:
        while (live := self._likeliest(owner, conversation)) is not None:
            self._forget(live)
            if await _resumed(live, conversation, credential):
                return live
        spares = self._spares[owner.credential_id]
        while spares:
            spare = spares.popleft()
            if spare.alive:
                return spare
            await spare.end()
        while self._room < 0 and (other := self._least_needed()):
            await other.end()
        return await self._start(owner.credential_id)

    def _likeliest(self, owner: Owner, conversation: Conversation) -> Session | None:
        """The owner's live process that holds most of the conversation; else one that is worth less than a spare.

        A conversation that may go on is worth more than a process for a one-shot: of those that were asked only
        once, one is left alone; the others wait for their next turn for a while, and longer where there is a spare.
        """
        live = self._live.get(owner, [])
        best = max(live, key=lambda session: session.shared(conversation), default=None)
        if best is not None and best.shared(conversation):
            return best
        now = time.monotonic()
        spare = bool(self._spares[owner.credential_id])
        free = [session for session in live if not session.parked]
        idle = [session for session in free if not spare or now - session.idle_since > LIKELY_TO_GO_ON]
        asked_once = [session for session in free if len(session.turns) <= 1]
        return min(idle or asked_once[1:], key=lambda session: session.idle_since, default=None)

    async def _give_back(self, session: Session) -> None:
        """Keeps the process for its owner's next request, or ends it."""
        try:
            keep = self._reuse and not self._closed and session.owner is not None and session.alive
            usable = keep and await session.settle()
        except BaseException:
            await session.end()
            raise
        if not usable or session.owner is None or self._closed:
            await session.end()
            return
        self._live.setdefault(session.owner, []).append(session)
        while self._room + 1 < 0 and (other := self._least_needed()):
            await other.end()

    def _forget(self, session: Session) -> None:
        if session.owner is not None:
            self._live[session.owner].remove(session)
            if not self._live[session.owner]:
                del self._live[session.owner]

    @property
    def _room(self) -> int:
        waiting = sum(map(len, self._spares.values())) + sum(map(len, self._live.values()))
        return self.limit - self._admitted - waiting

    def _least_needed(self) -> Session | None:
        """Takes out the live process that was idle for longest; else a spare of the credential that was."""
        live = [session for line in self._live.values() for session in line]
        if live:
            longest = min(live, key=lambda session: session.idle_since)
            self._forget(longest)
            return longest
        line = min(
            (line for line in self._spares.values() if line),
            key=lambda line: self._last_used.get(line[0].process.credential_id, 0.0),
            default=None,
        )
        return line.popleft() if line else None

    async def _start(self, credential_id: str) -> Session:
        """Starts a process; the first one of a credential alone, until it has made the credential's identity."""
        if self._closed:
            raise QueueFull("The gateway is being stopped.", retry_after=RETRY_AFTER)
        process = Process(self._program, credential_id)
        if await has_identity(process.home):
            return Session(await _started(process))
        async with self._first_start[credential_id]:
            await _started(process)
            try:
                await process.identity()
            except BaseException:
                await process.end()
                raise
            return Session(process)

    # --- spares -----------------------------------------------------------------------------------------

    async def _keep_spares(self) -> None:
        """Starts the spares that are wanted, one after another, and ends what nobody is likely to need."""
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
            needless = [spare for spare in line if unused or not spare.alive]
            self._spares[credential_id] = deque(spare for spare in line if spare not in needless)
            for spare in needless:
                await spare.end()
        left = [session for line in self._live.values() for session in line if self._is_left(session, now)]
        for session in left:
            self._forget(session)
        for session in left:
            await session.end()

    def _is_left(self, session: Session, now: float) -> bool:
        kept = self._parked_timeout if session.parked else LIVE_KEPT
        return not session.alive or now - session.idle_since > kept


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


async def _resumed(session: Session, conversation: Conversation, credential: Credential) -> bool:
    """Whether a live process is ready for this conversation; it is ended where it is not, or nobody waits any more."""
    resumed = False
    try:
        resumed = session.alive and await session.resume(conversation, credential)
    finally:
        if not resumed:
            await session.end()
    return resumed
