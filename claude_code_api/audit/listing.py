"""Reading the log: newest first and page by page, or all that fit, for a file."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Sequence
from datetime import datetime
from typing import Any

import msgspec
from sqlalchemy import ColumnElement, func, or_, select
from sqlalchemy.ext.asyncio import AsyncConnection

from claude_code_api.audit.chain import Entry
from claude_code_api.spreadsheet import csv_line
from claude_code_api.storage.database import Database
from claude_code_api.storage.pages import Part, checked_limit, cursor_of, place_of
from claude_code_api.storage.tables import audit_entries

AT_ONCE = 1000
COLUMNS = ("number", "at", "actor", "action", "target", "details", "code")


class EntryFilter(msgspec.Struct, frozen=True, kw_only=True):
    """What is looked for. `action` is a whole one, or its first word (`key`); `until` itself does not belong to it."""

    actor: str | None = None
    action: str | None = None
    target: str | None = None
    since: datetime | None = None
    until: datetime | None = None

    @property
    def conditions(self) -> list[ColumnElement[bool]]:
        row, given = audit_entries.c, self.action
        every = (
            *(() if self.since is None else _times(row.at >= self.since)),
            *(() if self.until is None else _times(row.at < self.until)),
            None if self.actor is None else row.actor == self.actor,
            None if self.target is None else row.target == self.target,
            None if given is None else _action(given),
        )
        return [condition for condition in every if condition is not None]


def _action(given: str) -> ColumnElement[bool]:
    action = audit_entries.c.action
    if "." in given:
        return action == given
    return or_(action == given, action.startswith(f"{given}.", autoescape=True))


def _times(which: ColumnElement[bool]) -> list[ColumnElement[bool]]:
    """Entries of a time, and between which numbers these lie: found in the index, they spare a walk to there."""
    number = audit_entries.c.number
    # With `+ 0`, for a database would look for the smallest number by going through all of them in their order.
    bounds = (select(bound(number + 0)).where(which).correlate(None) for bound in (func.min, func.max))
    first, last = (query.scalar_subquery() for query in bounds)
    return [which, number >= first, number <= last]


async def newest(
    connection: AsyncConnection, wanted: EntryFilter, limit: int, before: int | None = None
) -> Sequence[Entry]:
    """Newest first."""
    query = select(audit_entries).where(*wanted.conditions)
    if before is not None:
        query = query.where(audit_entries.c.number < before)
    rows = await connection.execute(query.order_by(audit_entries.c.number.desc()).limit(limit))
    return [Entry(**row) for row in rows.mappings()]


async def page(connection: AsyncConnection, wanted: EntryFilter, after: str | None, limit: int) -> Part[Entry]:
    before = None if after is None else place_of(after, tuple[int])[0]
    found = await newest(connection, wanted, checked_limit(limit) + 1, before)
    shown = tuple(found[:limit])
    return Part(items=shown, next=cursor_of(shown[-1].number) if len(found) > limit else None)


async def every(database: Database, wanted: EntryFilter) -> AsyncGenerator[Entry, None]:
    """Oldest first. What is written meanwhile may come with it."""
    last = -1
    query = select(audit_entries).where(*wanted.conditions).order_by(audit_entries.c.number).limit(AT_ONCE)
    while True:
        async with database.read() as connection:
            rows = (await connection.execute(query.where(audit_entries.c.number > last))).mappings().all()
        for row in rows:
            yield Entry(**row)
        if len(rows) < AT_ONCE:
            return
        last = rows[-1]["number"]


def told(entry: Entry) -> dict[str, Any]:
    """An entry as JSON has it."""
    return {
        "number": entry.number, "at": entry.at, "actor": entry.actor, "action": entry.action, "target": entry.target,
        "details": entry.said, "code": entry.code.hex(),
    }  # fmt: skip


async def as_json_lines(entries: AsyncIterable[Entry]) -> AsyncIterator[bytes]:
    async for entry in entries:
        yield msgspec.json.encode(told(entry)) + b"\n"


async def as_csv(entries: AsyncIterable[Entry]) -> AsyncIterator[str]:
    """Lines of comma-separated values, the head first; `details` as JSON."""
    yield csv_line(COLUMNS)
    async for entry in entries:
        at = entry.at.isoformat(timespec="microseconds")
        row = (entry.number, at, entry.actor, entry.action, entry.target or "", entry.details, entry.code.hex())
        yield csv_line(row)
