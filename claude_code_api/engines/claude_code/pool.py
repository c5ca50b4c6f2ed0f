"""Which process serves a request, and what becomes of it afterwards.

A request that has a place (`places.py`) is served by the live process that holds most of its conversation, else by one
of its owner's that nobody is likely to come back to, else by a spare (`spares.py`), else by a new process. Afterwards
the process waits for its owner's next request, unless it is worn. What waits makes way for what is needed more.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import msgspec
import structlog

from claude_code_api.credential import Credential
from claude_code_api.engines.claude_code.capacity import private_memory
from claude_code_api.engines.claude_code.faults import Faults
from claude_code_api.engines.claude_code.places import Places, QueueFull
from claude_code_api.engines.claude_code.program import Program
from claude_code_api.engines.claude_code.session import Owner, Session
from claude_code_api.engines.claude_code.spares import Spares
from claude_code_api.engines.claude_code.turns import Digested

log = structlog.get_logger(__name__)

LIVE_KEPT = 600.0  # seconds that a live conversation waits for its next turn
LIKELY_TO_GO_ON = 30.0  # seconds in which a conversation is rather not taken for another one
SPARE_DELAY = 0.5  # seconds
TIDY_INTERVAL = 30.0  # seconds
PAUSE_AFTER_FAILURE = 5.0  # seconds without new spares
RETRY_AFTER_STOP = 5  # seconds

Worth = tuple[bool, bool, float]
"""How much is lost with a process that waits, the least first: whether it waits for a tool of the client, whether its
conversation is likely to go on, and when it was last of use."""


class Load(msgspec.Struct, frozen=True, kw_only=True):
    """How many processes are `busy` with a request or being started for it, `idle` and kept for a further turn,
    `parked` until the client has run a tool, or `spare`; how many may run, have been started, and how many requests
    wait for one.
    """

    busy: int
    idle: int
    parked: int
    spare: int
    limit: int
    started: int
    waiting: int


class Pool:
    """Owns every process: busy ones, live ones that wait, and spares. Together they are never more than `places.limit`.

    `max_memory` is in bytes, `parked_timeout` in seconds. Without `reuse` no process serves twice.
    """

    def __init__(
        self,
        program: Program,
        places: Places,
        *,
        spares: int,
        parked_timeout: float,
        max_memory: int,
        reuse: bool,
        faults: Faults,
    ) -> None:
        self.places = places
        self.spares = Spares(program, spares, faults)
        self._parked_timeout = parked_timeout
        self._max_memory = max_memory
        self._reuse = reuse
        self._busy: set[Session] = set()
        self._live: dict[Owner, list[Session]] = {}
        self._changed = asyncio.Event()
        self._keeper: asyncio.Task[None] | None = None
        self._closed = False

    def open(self) -> None:
        self._keeper = asyncio.create_task(self._keep())

    @asynccontextmanager
    async def place(self, tenant: str) -> AsyncIterator[None]:
        """See `Places.place`; whoever has one may ask for a session."""
        try:
            async with self.places.place(tenant):
                yield
        finally:
            self._changed.set()

    @asynccontextmanager
    async def session(self, owner: Owner, conversation: Digested, credential: Credential) -> AsyncIterator[Session]:
        """A process for one request that has a place: a live one of this owner's, stepped back to what it shares
        with the conversation, or one that was not opened yet.
        """
        session = await self._take(owner, conversation, credential)
        self._busy.add(session)
        # The next spare gets ready while this answer runs, but does not slow down its first token.
        asyncio.get_running_loop().call_later(SPARE_DELAY, self._changed.set)
        try:
            self._refuse_if_closed()
            yield session
        finally:
            try:
                await self._give_back(session)
            finally:
                self._busy.discard(session)

    @property
    def load(self) -> Load:
        live = [session for line in self._live.values() for session in line]
        parked = sum(session.parked for session in live)
        return Load(
            busy=self.places.taken,  # one that is just being started too
            idle=len(live) - parked,
            parked=parked,
            spare=self.spares.ready,
            limit=self.places.limit,
            started=self.spares.starts,
            waiting=self.places.waiting,
        )

    def keep_ready(self, credential_id: str) -> None:
        """Has spares of this credential started, as if it had just been used."""
        self.spares.use(credential_id)
        self._changed.set()

    async def close(self) -> None:
        """Ends every process, and starts none any more."""
        self._closed = True
        if self._keeper is not None:
            self._keeper.cancel()
            with suppress(asyncio.CancelledError):
                await self._keeper
        self._live.clear()
        await self.spares.end_all()

    # --- a request's process ----------------------------------------------------------------------------

    async def _take(self, owner: Owner, conversation: Digested, credential: Credential) -> Session:
        self.spares.use(credential.id)
        while (live := self._fitting(owner, conversation)) is not None:
            self._forget(live)
            if await _resumed(live, conversation, credential):
                return live
        while True:
            if spare := await self.spares.take(credential.id):
                return spare
            self._refuse_if_closed()
            if self._room >= 0:  # this request's place counts
                return await self.spares.start(credential.id)
            if least := self._least_needed():
                self._remove(least[1])
                if least[1].owner == owner and await _resumed(least[1], conversation, credential):
                    return least[1]  # it waits for a tool, perhaps in vain
                await least[1].end()
            else:
                await self.spares.added()

    def _fitting(self, owner: Owner, conversation: Digested) -> Session | None:
        """The owner's live process that holds this conversation; else one that is worth less than a spare.

        A conversation that may go on is worth more than a process for a one-shot: while there is a spare, those of
        late are left alone. Of those that answered only once, which one-shots leave behind, only the last one is.
        """
        shared = {session: session.shared(conversation) for session in self._live.get(owner, [])}
        same = [session for session, count in shared.items() if session.is_about(conversation, count)]
        if same:
            return max(same, key=lambda session: (shared[session], -len(session.turns)))
        free = [session for session in shared if not session.parked]
        if self.spares.has(owner.credential_id):
            before = time.monotonic() - LIKELY_TO_GO_ON
            once = [session for session in free if session.answers <= 1]
            free = [session for session in free if session.idle_since < before] or once[:-1]
        return min(free, key=lambda session: (-shared[session], _worth(session)), default=None)

    async def _give_back(self, session: Session) -> None:
        """Keeps the process for its owner's next request, or ends it."""
        try:
            keep = self._reuse and session.owner is not None and session.alive and await session.settle()
            worn = keep and private_memory(session.process.pid) > self._max_memory
        except BaseException:
            await session.end()
            raise
        if keep and not worn and not self._closed and session.owner is not None:
            self._live.setdefault(session.owner, []).append(session)
        else:
            await session.end()

    def _refuse_if_closed(self) -> None:
        if self._closed:
            raise QueueFull("The gateway is being stopped.", retry_after=RETRY_AFTER_STOP)

    # --- what waits -------------------------------------------------------------------------------------

    @property
    def _room(self) -> int:
        """How many more processes may run beside those of all requests that have a place."""
        return self.places.limit - self.places.taken - len(self.spares) - sum(map(len, self._live.values()))

    def _least_needed(self) -> tuple[Worth, Session] | None:
        """Of all that wait, live or spare, the one that was of use longest ago; rather not one that is likely to be."""
        waiting = [(_worth(session), session) for line in self._live.values() for session in line]
        if oldest := self.spares.oldest():
            waiting.append(((False, False, oldest[1]), oldest[0]))
        return min(waiting, key=lambda each: each[0], default=None)

    def _remove(self, session: Session) -> None:
        if session.owner is None:
            self.spares.remove(session)
        else:
            self._forget(session)

    def _forget(self, session: Session) -> None:
        if session.owner is not None:
            self._live[session.owner].remove(session)
            if not self._live[session.owner]:
                del self._live[session.owner]

    async def _keep(self) -> None:
        """Starts the spares that are wanted, one after another, and ends what nobody is likely to need."""
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(TIDY_INTERVAL):
                    await self._changed.wait()
            self._changed.clear()
            try:
                await self._end_unneeded()
                while (lacking := self.spares.lacking()) and await self._make_way(lacking[1]):
                    await self.spares.add(lacking[0])
            except Exception:  # whatever it was: requests go on, and later spares may
                log.warning("no spare process could be started", exc_info=True)
                await asyncio.sleep(PAUSE_AFTER_FAILURE)

    async def _make_way(self, used: float) -> bool:
        """Whether there is room for a spare of a credential used then: what was of no use for longer makes way."""
        before = min(used, time.monotonic() - LIKELY_TO_GO_ON)
        if self._room == 0 and (least := self._least_needed()) and least[0] < (False, False, before):
            self._remove(least[1])
            await least[1].end()
        return self._room > 0

    async def _end_unneeded(self) -> None:
        now = time.monotonic()
        left = [session for line in self._live.values() for session in line if self._is_left(session, now)]
        for session in left:
            self._forget(session)
        await _end(*self.spares.remove_unneeded(), *left)

    def _is_left(self, session: Session, now: float) -> bool:
        kept = self._parked_timeout if session.parked else LIVE_KEPT
        return not session.alive or now - session.idle_since > kept


def _worth(session: Session) -> Worth:
    goes_on = session.answers > 1 and time.monotonic() - session.idle_since < LIKELY_TO_GO_ON
    return session.parked, goes_on, session.idle_since


async def _end(*sessions: Session) -> None:
    await asyncio.gather(*(session.end() for session in sessions))


async def _resumed(session: Session, conversation: Digested, credential: Credential) -> bool:
    """Whether a live process is ready for this conversation; it is ended where it is not, or nobody waits any more."""
    resumed = False
    try:
        resumed = session.alive and await session.resume(conversation, credential)
    finally:
        if not resumed:
            await session.end()
    return resumed
