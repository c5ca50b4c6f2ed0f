"""Starting processes: a credential's very first one alone, and some ahead of the requests that will take them."""

from __future__ import annotations

import asyncio
import time
from collections import deque

from claude_code_api.engines.claude_code.faults import Faults
from claude_code_api.engines.claude_code.process import Process, has_identity
from claude_code_api.engines.claude_code.program import Program
from claude_code_api.engines.claude_code.session import Session

KEPT = 600.0  # seconds after a credential's last request


class _Credential:
    """What is remembered of a credential that was used lately."""

    def __init__(self) -> None:
        self.last_used = time.monotonic()
        self.ready: deque[Session] = deque()
        self.first_start = asyncio.Lock()


class Spares:
    """Started, and not opened yet: token, system prompt and all else are given to them later. A spare is its
    credential's, whose directory it uses. `wanted` are kept for each credential in use.
    """

    def __init__(self, program: Program, wanted: int, faults: Faults) -> None:
        self._program = program
        self._faults = faults
        self._wanted = wanted
        self._in_use: dict[str, _Credential] = {}
        self._adding = asyncio.Lock()
        self.starts = 0
        self._started: set[Process] = set()  # all that may still be there, whoever uses them

    def __len__(self) -> int:
        """With the one that is being started."""
        return sum(len(credential.ready) for credential in self._in_use.values()) + self._adding.locked()

    @property
    def ready(self) -> int:
        return sum(spare.alive for credential in self._in_use.values() for spare in credential.ready)

    def use(self, credential_id: str) -> None:
        """Notes that a credential is in use, so that spares of it are kept."""
        self._of(credential_id).last_used = time.monotonic()

    def has(self, credential_id: str) -> bool:
        return credential_id in self._in_use and bool(self._in_use[credential_id].ready)

    async def take(self, credential_id: str) -> Session | None:
        ready = self._of(credential_id).ready
        while ready:
            spare = ready.popleft()
            if spare.alive:
                return spare
            await spare.end()
        return None

    async def start(self, credential_id: str) -> Session:
        """A new process. A credential's very first one is waited for until it has made the credential's identity."""
        process = Process(self._program, credential_id, self._faults)
        self.starts += 1
        self._started.add(process)
        if await has_identity(process.home):
            return Session(await _started(process))
        async with self._of(credential_id).first_start:
            await _started(process)
            try:
                await process.identity()
            except BaseException:
                await process.end()
                raise
            return Session(process)

    # --- ahead ------------------------------------------------------------------------------------------

    def lacking(self) -> tuple[str, float] | None:
        """The credential used last of those that have too few spares, and when it was used."""
        lacking = [each for each in self._in_use.items() if len(each[1].ready) < self._wanted]
        latest = max(lacking, key=lambda each: each[1].last_used, default=None)
        return (latest[0], latest[1].last_used) if latest else None

    async def add(self, credential_id: str) -> None:
        async with self._adding:
            spare = await self.start(credential_id)
            self._of(credential_id).ready.append(spare)

    async def added(self) -> None:
        """Waits for the one that is being started."""
        async with self._adding:
            pass

    def oldest(self) -> tuple[Session, float] | None:
        """A spare of the credential that was not used for longest, and when it was."""
        some = [credential for credential in self._in_use.values() if credential.ready]
        oldest = min(some, key=lambda credential: credential.last_used, default=None)
        return (oldest.ready[0], oldest.last_used) if oldest else None

    def remove(self, spare: Session) -> None:
        self._in_use[spare.process.credential_id].ready.remove(spare)

    def remove_unneeded(self) -> list[Session]:
        """Those that died or whose credential is not used any more, which is forgotten; the caller ends them."""
        self._started = {process for process in self._started if not process.gone}
        now = time.monotonic()
        unneeded: list[Session] = []
        for credential_id, credential in list(self._in_use.items()):
            unused = now - credential.last_used > KEPT
            gone = [spare for spare in credential.ready if unused or not spare.alive]
            for spare in gone:
                credential.ready.remove(spare)
            unneeded += gone
            if unused and not credential.first_start.locked():
                del self._in_use[credential_id]
        return unneeded

    async def end_all(self) -> None:
        """Ends every process that was started here, those too that somebody else has begun to end and left."""
        for credential in self._in_use.values():
            credential.ready.clear()
        await asyncio.gather(*(process.end() for process in self._started))

    def _of(self, credential_id: str) -> _Credential:
        return self._in_use.setdefault(credential_id, _Credential())


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
