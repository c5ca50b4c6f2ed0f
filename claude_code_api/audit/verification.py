"""Proving the log: all of it, or what has come since it was last proved."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, asynccontextmanager, suppress
from datetime import UTC, datetime
from typing import Any

import msgspec
import structlog
from sqlalchemy import Select, select
from sqlalchemy.ext.asyncio import AsyncConnection

from claude_code_api.audit.anchor import Anchor
from claude_code_api.audit.chain import SHORTENED, Chain, Entry, Examination, Fault, Head
from claude_code_api.errors import StorageFailure
from claude_code_api.operations.alerts import Alerts
from claude_code_api.storage.database import Database
from claude_code_api.storage.tables import audit_entries

log = structlog.get_logger(__name__)

AT_ONCE = 100
"""Entries that are proved before others may run: a millisecond or two."""
ANCHOR_TRIES, ANCHOR_PAUSE = 20, 0.05  # seconds
INTERVAL = 86_400.0
"""Seconds between two looks through the whole."""


class Verified(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of the log. `entries` were looked through up to number `through`, all of them at `whole_at` and
    those that came since at `at`; `faults` is what was found wrong.
    """

    entries: int
    through: int
    whole_at: datetime
    at: datetime
    faults: tuple[Fault, ...]

    @property
    def intact(self) -> bool:
        return not self.faults


class Verification:
    """Remembers in this process how far the log is proved. One look at a time."""

    def __init__(self, database: Database, chain: Chain, anchor: Anchor) -> None:
        self._database = database
        self._chain = chain
        self._anchor = anchor
        self._looking = asyncio.Lock()
        self._head = Head()
        self._known: Verified | None = None

    async def whole(self) -> Verified:
        """Looks through all entries: some seconds for a hundred thousand."""
        async with self._looking:
            now = datetime.now(UTC)
            entries, faults, head = await self._look(None)
            return self._keep(
                Verified(entries=entries, through=head.number, whole_at=now, at=now, faults=tuple(faults)), head
            )

    async def onward(self) -> Verified | None:
        """Looks through what has come since the last look; None where the whole was never looked through.

        A fault, once found, stays until the whole is looked through again.
        """
        async with self._looking:
            known = self._known
            if known is None:
                return None
            entries, faults, head = await self._look(self._head)
            new = [fault for fault in faults if fault not in known.faults]
            return self._keep(
                msgspec.structs.replace(
                    known, entries=known.entries + entries, through=head.number, at=datetime.now(UTC),
                    faults=(*known.faults, *new),
                ), head,
            )  # fmt: skip

    @asynccontextmanager
    async def kept_up(self, alerts: Alerts) -> AsyncIterator[None]:
        """While the block runs, the whole is looked through, at the start and once a day; a fault is an alert."""
        proving = asyncio.create_task(self._prove(alerts))
        try:
            yield
        finally:
            proving.cancel()
            with suppress(asyncio.CancelledError):
                await proving

    async def _prove(self, alerts: Alerts) -> None:
        while True:
            try:
                verified = await self.whole()
            except StorageFailure as failure:
                log.warning("the audit log was not looked through", reason=failure.message)
            else:
                if not verified.intact:
                    fault = verified.faults[0].message
                    alerts.tell("audit_broken", f"the audit log is broken: {fault}", level="error")
            await asyncio.sleep(INTERVAL)

    def _keep(self, verified: Verified, head: Head) -> Verified:
        self._known, self._head = verified, head
        return verified

    async def _look(self, known: Head | None) -> tuple[int, list[Fault], Head]:
        # The anchor first: entries that come meanwhile are no fault.
        try:
            anchor = await asyncio.to_thread(self._anchor.read)
            faults = []
        except StorageFailure as failure:
            anchor, faults = Head(), [Fault(0, failure.message)]
        count = 0
        async with self._database.read() as connection:
            found = (await connection.execute(_newest_shortening())).mappings().one_or_none()
            examination = Examination(self._chain, found and Entry(**found), anchor or Head(), known)
            if known is not None and known.number > examination.removed.number:
                faults += await _still_there(connection, known)
            async with aclosing(_parts(connection, known)) as parts:
                async for part in parts:
                    count += len(part)
                    for entry in part:
                        faults.extend(examination.take(entry))
                    await asyncio.sleep(0)  # others may want to run
        faults.extend(examination.end())
        if anchor is None and examination.head.number and not await self._anchor_comes():
            faults.append(Fault(0, "The anchor, which is kept outside the database, is missing."))
        return count, faults, examination.head

    async def _anchor_comes(self) -> bool:
        """Whether it is only that the log's first entry was just written, which its anchor follows at once."""
        for _ in range(ANCHOR_TRIES):
            if await asyncio.to_thread(self._anchor.read) is not None:
                return True
            await asyncio.sleep(ANCHOR_PAUSE)
        return False


async def _still_there(connection: AsyncConnection, known: Head) -> list[Fault]:
    """Of what was proved before, its newest entry."""
    code = await connection.scalar(select(audit_entries.c.code).where(audit_entries.c.number == known.number))
    if code == known.code:
        return []
    what = "is missing" if code is None else "was changed"
    return [Fault(known.number, f"Entry {known.number}, which was proved before, {what}.")]


async def _parts(connection: AsyncConnection, known: Head | None) -> AsyncGenerator[list[Entry], None]:
    query = select(audit_entries).order_by(audit_entries.c.number)
    if known is not None:
        query = query.where(audit_entries.c.number > known.number)
    rows = await connection.stream(query)
    async for part in rows.mappings().partitions(AT_ONCE):
        yield [Entry(**row) for row in part]


def _newest_shortening() -> Select[Any]:
    kind = audit_entries.c.action == SHORTENED
    return select(audit_entries).where(kind).order_by(audit_entries.c.number.desc()).limit(1)
