"""What was used, by key, model or day: sums of the hours."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any, Literal, Self

import msgspec
from sqlalchemy import ColumnElement, case, func, select

from claude_code_api.storage.database import Database
from claude_code_api.storage.tables import FIRST_TOKEN_BOUNDS, api_keys, usage_hours
from claude_code_api.usage.fold import hour_of

By = Literal["key", "model", "day"]

_BUCKETS = [column for column in usage_hours.c if column.name.startswith("first_token_")]
_SUMMED = ("requests", "input_tokens", "output_tokens", "cache_read_tokens", "cache_write_tokens", "reasoning_tokens",
           "cost", "unpriced")  # fmt: skip


class Figures(msgspec.Struct, frozen=True, kw_only=True):
    """Sums over requests. `failed` are those without a whole answer, `unpriced` those whose cost nobody knows.

    `cost` is that of all others, in billionths of a US dollar; `first_tokens` counts answers by the time to their
    first token, within `FIRST_TOKEN_BOUNDS` and above.
    """

    requests: int = 0
    failed: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    cache_read_tokens: int = 0
    cache_write_tokens: int = 0
    reasoning_tokens: int = 0
    cost: int = 0
    unpriced: int = 0
    first_tokens: tuple[int, ...] = (0,) * (len(FIRST_TOKEN_BOUNDS) + 1)

    @classmethod
    def sum(cls, figures: Iterable[Figures]) -> Self:
        total = dict.fromkeys((*_SUMMED, "failed"), 0)
        first_tokens = [0] * (len(FIRST_TOKEN_BOUNDS) + 1)
        for each in figures:
            for name in total:
                total[name] += getattr(each, name)
            first_tokens = [a + b for a, b in zip(first_tokens, each.first_tokens, strict=True)]
        return cls(**total, first_tokens=tuple(first_tokens))

    @property
    def cost_usd(self) -> float:
        return self.cost / 10**9

    def first_token_ms(self, share: float) -> int | None:
        """The time within which this share of the answers had begun, between its bounds as if evenly spread.

        Of those above the last bound, that bound. None where there is none.
        """
        left = share * sum(self.first_tokens)
        lower = 0
        for upper, count in zip(FIRST_TOKEN_BOUNDS, self.first_tokens, strict=False):
            if count and count >= left:
                return round(lower + (upper - lower) * left / count)
            left -= count
            lower = upper
        return lower if any(self.first_tokens) else None


class Line(msgspec.Struct, frozen=True, kw_only=True):
    """One line of a report: `id` is a key's id, a model (empty: none answered) or a day (`2026-03-04`, in UTC)."""

    id: str
    name: str
    figures: Figures


async def report(database: Database, by: By, since: datetime, key_id: str | None = None) -> list[Line]:
    """From the hour of `since` on; of one key only, if given. Days in their order, all else by cost, dearest first."""
    grouped = {"key": usage_hours.c.key_id, "model": usage_hours.c.model, "day": usage_hours.c.hour}[by]
    summed = [func.sum(usage_hours.c[name]).label(name) for name in _SUMMED]
    failed = func.sum(case((usage_hours.c.status == 200, 0), else_=usage_hours.c.requests)).label("failed")
    buckets = [func.sum(column).label(column.name) for column in _BUCKETS]
    wanted: list[ColumnElement[bool]] = [usage_hours.c.hour >= hour_of(since.astimezone(UTC))]
    if key_id is not None:
        wanted.append(usage_hours.c.key_id == key_id)
    async with database.read() as connection:
        query = select(grouped.label("group"), *summed, failed, *buckets).where(*wanted).group_by(grouped)
        rows = (await connection.execute(query)).mappings().all()
        names: dict[str, str] = {}
        if by == "key":
            found = await connection.execute(select(api_keys.c.id, api_keys.c.name))
            names = {key: name for key, name in found}  # noqa: C416 - rows, not pairs
    groups: dict[str, list[Figures]] = {}
    for row in rows:
        group = f"{row['group']:%Y-%m-%d}" if by == "day" else row["group"]
        groups.setdefault(group, []).append(_figures(row))
    lines = [
        Line(id=group, name=names.get(group, group), figures=Figures.sum(figures)) for group, figures in groups.items()
    ]
    if by == "day":
        return sorted(lines, key=lambda line: line.id)
    return sorted(lines, key=lambda line: (-line.figures.cost, -line.figures.requests, line.name))


def _figures(row: Any) -> Figures:
    """Sums come as decimals from some databases."""
    counts = {name: int(row[name]) for name in (*_SUMMED, "failed")}
    return Figures(**counts, first_tokens=tuple(int(row[column.name]) for column in _BUCKETS))
