"""What was used, by key, model, credential or day; of a time, a key, a model or a credential."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator

import msgspec
from sqlalchemy import func, literal, select, tuple_
from sqlalchemy.ext.asyncio import AsyncConnection

from claude_code_api.spreadsheet import csv_line
from claude_code_api.storage.database import Database
from claude_code_api.storage.pages import MOST, Page, checked_limit, cursor_of, place_of
from claude_code_api.storage.tables import api_keys, credentials
from claude_code_api.usage.figures import Figures, figures_of, summed, told
from claude_code_api.usage.sources import By, Filter, by_key_and_day, sources


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

    Fast for any number of keys, unless a model is given. InvalidRequest (`invalid_cursor`) for a wrong `after`.
    """
    source = by_key_and_day(asked)
    key = source.table.c.key_id
    sums = [func.sum(source.table.c[name]).label(name) for name in ("cost", "requests")]
    total = func.count().over().label("total")  # of the groups; another statement would add all up once more
    every = select(key, *sums, total).where(*source.wanted).group_by(key).subquery()
    place = (every.c.cost, every.c.requests, every.c.key_id)
    chosen = select(every).order_by(*(column.desc() for column in place)).limit(checked_limit(limit) + 1)
    if after is not None:
        reached = place_of(after, tuple[int, int, str])
        chosen = chosen.where(tuple_(*place) < tuple_(*(literal(part) for part in reached)))
    async with database.read() as connection:
        found = (await connection.execute(chosen)).all()
        shown = [row.key_id for row in found[:limit]]
        query = select(key, *summed(source.table)).where(*source.wanted, key.in_(shown)).group_by(key)
        figures = {row["key_id"]: figures_of(row) for row in (await connection.execute(query)).mappings()}
        names = await _names(connection, "key", shown)
    last = found[limit - 1] if len(found) > limit else None
    return Page(
        items=tuple(Line(id=each, name=names.get(each, each), figures=figures[each]) for each in shown),
        total=found[0].total if found else 0,
        next=cursor_of(int(last.cost), int(last.requests), last.key_id) if last else None,
    )


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
