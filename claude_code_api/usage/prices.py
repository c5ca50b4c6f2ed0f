"""What tokens cost: a table of prices by model and date, ours or the operator's.

The cost of an answer is computed here and not taken from Claude Code's `total_cost_usd`: that adds up over all turns
of a process, comes only after the answer's end and not at all where an answer is cut off or waits for a tool, and no
other engine tells one. Its prices are the same: a contract test compares them.
"""

from __future__ import annotations

import re
import tomllib
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Annotated, Self

import msgspec

from claude_code_api.conversation import Usage
from claude_code_api.errors import WrongSetting

BUILT_IN = Path(__file__).with_name("prices.toml")
NANO = 1000
"""A dollar for a million tokens is a thousand billionths of a dollar for one."""

Dollars = Annotated[float, msgspec.Meta(ge=0, le=1_000_000)]
_DATED = re.compile(r"(.+?)(?:-20\d{6})?(?:\[1m\])?")


class Price(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One entry of the table: US dollars for a million tokens of `models`.

    It holds from the day `since` on, for prompts of more than `prompt_above` tokens, cached ones included.
    What is left out of the cache's prices follows Anthropic's rule: a tenth of `input` to read, 1.25 times to write
    for five minutes, twice to write for an hour.
    """

    models: Annotated[tuple[str, ...], msgspec.Meta(min_length=1)]
    input: Dollars
    output: Dollars
    cache_read: Dollars | None = None
    cache_write: Dollars | None = None
    cache_write_1h: Dollars | None = None
    since: date = date.min
    prompt_above: Annotated[int, msgspec.Meta(ge=0)] = -1

    def cost(self, usage: Usage) -> int:
        """In billionths of a dollar."""
        long_lived = min(usage.cache_creation_1h_input_tokens, usage.cache_creation_input_tokens)
        dollars = (
            (usage.input_tokens, self.input),
            (usage.output_tokens, self.output),
            (usage.cache_read_input_tokens, _or(self.cache_read, self.input / 10)),
            (usage.cache_creation_input_tokens - long_lived, _or(self.cache_write, self.input * 1.25)),
            (long_lived, _or(self.cache_write_1h, self.input * 2)),
        )
        return round(sum(tokens * price for tokens, price in dollars) * NANO)


class _Table(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    price: tuple[Price, ...] = ()


class Prices:
    """The entries of one or more tables; an earlier table counts before a later one."""

    def __init__(self, *tables: tuple[Price, ...]) -> None:
        self._tables = [_by_model(table) for table in tables]

    @classmethod
    def load(cls, own: Path | None = None) -> Self:
        """The built-in table, behind the operator's own where there is one. WrongSetting says what is wrong with it."""
        return cls(*(read(path) for path in (own, BUILT_IN) if path))

    def knows(self, model: str) -> bool:
        return any(_family(model) in table for table in self._tables)

    def cost(self, model: str, usage: Usage, moment: datetime) -> int | None:
        """What an answer cost, in billionths of a dollar: None for a model without a price, 0 where no token was used.

        For an answer under an OAuth token this is what the API would have charged.
        """
        prompt = usage.prompt_tokens
        if not prompt and not usage.output_tokens:
            return 0
        day = moment.astimezone(UTC).date()
        for table in self._tables:
            for price in table.get(_family(model), ()):
                if price.since <= day and price.prompt_above < prompt:
                    return price.cost(usage)
        return None


def read(path: Path) -> tuple[Price, ...]:
    """The entries of a file; WrongSetting names the fault."""
    try:
        table = msgspec.convert(tomllib.loads(path.read_text(encoding="utf-8")), _Table)
    except (OSError, ValueError) as error:  # TOML's, msgspec's and a wrong encoding are ValueErrors
        raise WrongSetting(f"The setting prices_file: {path} cannot be used: {error}") from None
    return table.price


def _by_model(table: tuple[Price, ...]) -> dict[str, list[Price]]:
    """For each model its entries, the one that counts first if it holds: the newest, then the one for long prompts."""
    found: dict[str, list[Price]] = {}
    for price in sorted(table, key=lambda price: (price.since, price.prompt_above), reverse=True):
        for model in price.models:
            found.setdefault(_family(model), []).append(price)
    return found


def _family(model: str) -> str:
    """The model without its date (`-20250929`) and without the mark of a long context."""
    found = _DATED.fullmatch(model)
    return found[1] if found else model


def _or(price: float | None, otherwise: float) -> float:
    return otherwise if price is None else price
