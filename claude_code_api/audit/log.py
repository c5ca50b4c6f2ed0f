"""The audit log in the database: entries are part of the change that they tell of, and hold with it or not at all."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import structlog
from sqlalchemy import delete, select
from sqlalchemy.ext.asyncio import AsyncConnection

from claude_code_api.audit import listing
from claude_code_api.audit.anchor import Anchor
from claude_code_api.audit.chain import SHORTENED, Chain, Entry, Fault, Head
from claude_code_api.audit.listing import EntryFilter
from claude_code_api.audit.verification import Verification
from claude_code_api.errors import StorageFailure
from claude_code_api.storage.database import Database
from claude_code_api.storage.pages import Part
from claude_code_api.storage.tables import audit_entries

log = structlog.get_logger(__name__)

TIDY_INTERVAL = 86_400.0  # seconds; each time leaves an entry of its own
KEY = "audit"
"""The chain's key among the vault's records."""


class Change:
    """A writing transaction that is told of. `by` is who makes it."""

    def __init__(self, connection: AsyncConnection, chain: Chain, by: str) -> None:
        self.connection = connection
        self.by = by
        self._head: Head | None = None
        self._chain = chain
        self._noted: list[Entry] = []

    async def note(self, action: str, target: str | None = None, *, number: int | None = None, **details: Any) -> None:
        """Appends an entry. `details` are JSON's types and moments, and hold nothing secret; `number` leaves a gap."""
        head = self._head or await _newest(self.connection)
        entry = Entry(
            number=number or head.number + 1,
            at=datetime.now(UTC),
            actor=self.by,
            action=action,
            target=target,
            details=msgspec.json.encode(details, order="sorted").decode(),
        )
        entry = self._chain.sealed(entry, head.code)
        await self.connection.execute(audit_entries.insert().values(msgspec.structs.asdict(entry)))
        self._head = Head(entry.number, entry.code)
        self._noted.append(entry)

    def tell(self) -> Head | None:
        """What was noted, to the log too: whoever collects it has a second anchor. Gives the newest entry of it."""
        for entry in self._noted:
            log.info("audit", number=entry.number, actor=entry.actor, action=entry.action, target=entry.target,
                     code=entry.code.hex()[:16])  # fmt: skip
        return self._head if self._noted else None


class AuditLog:
    """One for each process; any number of them may append at once."""

    def __init__(self, database: Database, chain: Chain, anchor: Anchor) -> None:
        self._database = database
        self._chain = chain
        self._anchor = anchor
        self.verification = Verification(database, chain, anchor)
        self._ending = asyncio.Event()

    @asynccontextmanager
    async def change(self, by: str, *, announced: bool = False) -> AsyncIterator[Change]:
        """A writing transaction with its entries; `announced` as in `Database.write`."""
        async with self._database.write(announced=announced) as connection:
            change = Change(connection, self._chain, by)
            yield change
        if (head := change.tell()) is not None:
            try:
                await asyncio.to_thread(self._anchor.advance, head)
            except (
                OSError,
                StorageFailure,
            ) as fault:  # the change holds, and `verify` tells of an anchor that is wrong
                log.error("the audit log's anchor stays behind", reason=str(fault))

    async def note(self, by: str, action: str, target: str | None = None, **details: Any) -> None:
        """An entry that tells of no change in the database."""
        async with self.change(by) as change:
            await change.note(action, target, **details)

    def anchor_text(self) -> bytes | None:
        """The anchor's content, for a backup; None where it is missing or was not written by us."""
        try:
            head = self._anchor.read()
        except StorageFailure:
            head = None
        return self._anchor.text(head) if head else None

    async def entries(
        self,
        *,
        since: datetime | None = None,
        actor: str | None = None,
        action: str | None = None,
        target: str | None = None,
        limit: int = 100,
    ) -> Sequence[Entry]:
        """The newest `limit` entries that fit, oldest first."""
        wanted = EntryFilter(since=since, actor=actor, action=action, target=target)
        async with self._database.read() as connection:
            return (await listing.newest(connection, wanted, limit))[::-1]

    async def page(self, wanted: EntryFilter, *, after: str | None = None, limit: int = 50) -> Part[Entry]:
        """One page of those that fit, newest first; `after` is the `next` of the page before."""
        async with self._database.read() as connection:
            return await listing.page(connection, wanted, after, limit)

    def every(self, wanted: EntryFilter) -> AsyncGenerator[Entry, None]:
        """All that fit, oldest first, without holding many at once."""
        return listing.every(self._database, wanted)

    async def verify(self) -> tuple[int, list[Fault]]:
        """How many entries there are, and everything that is wrong with them."""
        verified = await self.verification.whole()
        return verified.entries, list(verified.faults)

    @asynccontextmanager
    async def kept(self, days: int, by: str) -> AsyncIterator[None]:
        """While the block runs, entries older than so many days are removed, at the start and once a day."""
        tidying = asyncio.create_task(self._tidy(timedelta(days=days), by))
        try:
            yield
        finally:
            self._ending.set()
            await tidying

    async def _tidy(self, age: timedelta, by: str) -> None:
        while not self._ending.is_set():
            try:
                await self.shorten(datetime.now(UTC) - age, by)
            except StorageFailure as failure:
                log.warning("old entries of the audit log stay", reason=failure.message)
            with suppress(TimeoutError):
                async with asyncio.timeout(TIDY_INTERVAL):
                    await self._ending.wait()

    async def shorten(self, until: datetime, by: str) -> int:
        """Removes the entries from before a moment, and says so in the chain. Gives how many they were."""
        async with self.change(by) as change:
            connection = change.connection
            older = await connection.execute(
                select(audit_entries.c.number, audit_entries.c.code)
                .where(audit_entries.c.at < until)
                .order_by(audit_entries.c.number.desc())
                .limit(1)
            )
            if (last := older.one_or_none()) is None:
                return 0
            await change.note(SHORTENED, through=last.number, code=last.code.hex())
            removed = await connection.execute(delete(audit_entries).where(audit_entries.c.number <= last.number))
            return removed.rowcount


async def _newest(connection: AsyncConnection) -> Head:
    columns = audit_entries.c.number, audit_entries.c.code
    row = (await connection.execute(select(*columns).order_by(audit_entries.c.number.desc()).limit(1))).one_or_none()
    return Head() if row is None else Head(row.number, row.code)
