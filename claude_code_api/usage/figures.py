"""Figures of some requests together, and how they are read from any table of sums."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Self

import msgspec
from sqlalchemy import ColumnElement, Table, func

from claude_code_api.storage.tables import FIRST_TOKEN_BOUNDS
from claude_code_api.usage.sums import failed_of

_SUMMED = ("requests", "input_tokens", "output_tokens", "cache_read_tokens", "cache_write_tokens", "reasoning_tokens",
           "cost", "unpriced")  # fmt: skip
_COUNTS = (*_SUMMED, "failed")
_BUCKETS = [f"first_token_{n}" for n in range(len(FIRST_TOKEN_BOUNDS) + 1)]


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
        total = dict.fromkeys(_COUNTS, 0)
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


def summed(table: Table) -> list[ColumnElement[Any]]:
    """The columns from which `figures_of` reads, of a group of rows."""
    sums = [func.sum(table.c[name]).label(name) for name in (*_SUMMED, *_BUCKETS)]
    return [*sums, func.sum(failed_of(table)).label("failed")]


def figures_of(row: Any) -> Figures:
    """Sums come as decimals from some databases."""
    counts = {name: int(row[name]) for name in _COUNTS}
    return Figures(**counts, first_tokens=tuple(int(row[name]) for name in _BUCKETS))


def told(figures: Figures) -> dict[str, Any]:
    """Figures under the names that they go by in JSON and in comma-separated values."""
    return {
        "requests": figures.requests,
        "failed_requests": figures.failed,
        "input_tokens": figures.input_tokens,
        "output_tokens": figures.output_tokens,
        "cache_read_tokens": figures.cache_read_tokens,
        "cache_write_tokens": figures.cache_write_tokens,
        "reasoning_tokens": figures.reasoning_tokens,
        "cost_usd": figures.cost_usd,
        "unpriced_requests": figures.unpriced,
        "first_token_ms_p50": figures.first_token_ms(0.5),
        "first_token_ms_p95": figures.first_token_ms(0.95),
    }
