"""What was used, by key, model, credential or day; of a time, a key, a model or a credential."""

from __future__ import annotations

import asyncio
import heapq
from collections.abc import Collection, Iterable, Iterator, Sequence
from itertools import chain
from typing import Any

import msgspec
from sqlalchemy import ColumnElement, Row, func, literal, select, tuple_
from sqlalchemy.ext.asyncio import AsyncConnection

from claude_code_api.spreadsheet import csv_line
from claude_code_api.storage.database import Database
from claude_code_api.storage.pages import MOST, Page, checked_limit, cursor_of, place_of
from claude_code_api.storage.tables import api_keys, credentials
from claude_code_api.usage.figures import Figures, figures_of, summed, told
from claude_code_api.usage.sources import By, Filter, Source, by_key_and_day, sources


class Line(msgspec.Struct, frozen=True, kw_only=True):
    """One line of a report: `id` is a key's or credential's id, a model (empty: none answered) or a day
    (`2026-03-04`, in UTC).
    """

    id: str
    name: str
    figures: Figures


async def report(database: Database, by: By, asked: Filter) -> list[Line]:
    """Days in their order, all else by cost, dearest first."""
    groups: dict[str, list[Figures]] = {}
    async with database.read() as connection:
        for source in sources(by, asked):
            grouped = source.time if by == "day" else source.table.c["model" if by == "model" else f"{by}_id"]
            query = select(grouped.label("group"), *summed(source.table)).where(*source.wanted).group_by(grouped)
            for row in (await connection.execute(query)).mappings():
                group = f"{row['group']:%Y-%m-%d}" if by == "day" else row["group"]
                groups.setdefault(group, []).append(figures_of(row))
        names = await _names(connection, by, groups)
    lines = [
        Line(id=group, name=names.get(group, group), figures=Figures.sum(figures)) for group, figures in groups.items()
    ]
    if by == "day":
        return sorted(lines, key=lambda line: line.id)
    return sorted(lines, key=lambda line: (-line.figures.cost, -line.figures.requests, line.name))


async def spenders(database: Database, asked: Filter, *, after: str | None = None, limit: int = 50) -> Page[Line]:
    """The keys that cost most, page by page. Days (UTC) of which the time asked for holds any part count whole.

    Fast for any number of keys. InvalidRequest (`invalid_cursor`) for a wrong `after`.
    """
    source = by_key_and_day(asked)
    wanted = checked_limit(limit) + 1
    reached = None if after is None else place_of(after, tuple[int, int, str])
    # Half of the keys on each of two cores: to add up a month of ten thousand takes longer than all else of a page.
    halves = await asyncio.gather(*(_dearest(database, source, half, reached, wanted) for half in _halves(source)))
    places = (row for row in chain.from_iterable(halves) if reached is None or _place(row) < reached)
    found = heapq.nlargest(wanted, places, key=_place)
    shown = [row.key_id for row in found[:limit]]
    async with database.read() as connection:
        key = source.table.c.key_id
        query = select(key, *summed(source.table)).where(*source.wanted, key.in_(shown)).group_by(key)
        figures = {row["key_id"]: figures_of(row) for row in (await connection.execute(query)).mappings()}
        names = await _names(connection, "key", shown)
    return Page(
        items=tuple(Line(id=each, name=names.get(each, each), figures=figures[each]) for each in shown),
        total=sum(half[0].total for half in halves if half),
        next=cursor_of(*_place(found[limit - 1])) if len(found) > limit else None,
    )


def _halves(source: Source) -> tuple[ColumnElement[bool], ColumnElement[bool]]:
    """Ids of keys are random, so that as many come before this as after it."""
    middle = "key_8"
    return source.table.c.key_id < middle, source.table.c.key_id >= middle


async def _dearest(
    database: Database, source: Source, part: ColumnElement[bool], after: tuple[int, int, str] | None, limit: int
) -> Sequence[Row[Any]]:
    """Of one part of the keys, those that come first after a place, then others; each says in `total` how many the
    part has.
    """
    key = source.table.c.key_id
    sums = [func.sum(source.table.c[name]).label(name) for name in ("cost", "requests")]
    total = func.count().over().label("total")  # of the groups; another statement would add all up once more
    every = select(key, *sums, total).where(*source.wanted, part).group_by(key).subquery()
    place = (every.c.cost, every.c.requests, every.c.key_id)
    order = [column.desc() for column in place]
    if after is not None:
        order.insert(0, (tuple_(*place) < tuple_(*(literal(part) for part in after))).desc())
    async with database.read() as connection:
        return (await connection.execute(select(every).order_by(*order).limit(limit))).all()


def _place(row: Row[Any]) -> tuple[int, int, str]:
    """Sums come as decimals from some databases."""
    return int(row.cost), int(row.requests), row.key_id


def as_csv(by: By, lines: Iterable[Line]) -> Iterator[str]:
    """Lines of comma-separated values, the head first."""
    yield csv_line([by, "name", *told(Figures())])
    for line in lines:
        yield csv_line([line.id, line.name, *told(line.figures).values()])


async def _names(connection: AsyncConnection, by: By, ids: Collection[str]) -> dict[str, str]:
    """Names of keys or credentials; nothing for what has none."""
    if by not in ("key", "credential"):
        return {}
    table = api_keys if by == "key" else credentials
    query = select(table.c.id, table.c.name)
    if len(ids) <= MOST:
        query = query.where(table.c.id.in_(ids))
    return {row.id: row.name for row in await connection.execute(query)}
