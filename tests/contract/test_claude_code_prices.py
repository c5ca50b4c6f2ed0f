"""The prices that we count with are those that the program has for the models that it knows."""

from __future__ import annotations

from datetime import UTC, datetime
from itertools import pairwise
from typing import Any

import pytest
from making import chat, oauth

from claude_code_api.conversation import Finished, Usage
from claude_code_api.engines.claude_code import ClaudeCode
from claude_code_api.engines.claude_code.answer import AnswerReader
from claude_code_api.stand_in import StandIn, script
from claude_code_api.stand_in.models import MODELS
from claude_code_api.usage.prices import Prices

pytestmark = pytest.mark.contract

# Every kind of token, in a short prompt and in one past the mark for long ones.
USED = tuple(
    Usage(
        input_tokens=20_000 * n,
        cache_read_input_tokens=10_000,
        cache_creation_input_tokens=30_000,
        cache_creation_1h_input_tokens=13_000,
        output_tokens=3000,
    )
    for n in (1, 4)
)


def told(usage: Usage) -> dict[str, Any]:
    """As the API tells it."""
    long_lived = usage.cache_creation_1h_input_tokens
    short_lived = usage.cache_creation_input_tokens - long_lived
    return {
        "input_tokens": usage.input_tokens,
        "output_tokens": usage.output_tokens,
        "cache_read_input_tokens": usage.cache_read_input_tokens,
        "cache_creation_input_tokens": usage.cache_creation_input_tokens,
        "cache_creation": {"ephemeral_5m_input_tokens": short_lived, "ephemeral_1h_input_tokens": long_lived},
    }


async def test_an_answer_costs_what_the_program_says_that_it_costs(
    engine: ClaudeCode, stand_in: StandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    totals: list[float] = []
    read = AnswerReader.read

    def noting(self: AnswerReader, message: dict[str, Any]) -> Any:
        if message["type"] == "result":
            totals.append(message["total_cost_usd"])  # of all turns of this process
        return read(self, message)

    monkeypatch.setattr(AnswerReader, "read", noting)
    prices, asked = Prices.load(), []
    for model in MODELS:
        for used in USED:
            conversation = chat(script(text="Hi", usage=told(used)), model=model.id)
            *_, end = [event async for event in engine.answer(conversation, oauth("anna"), "tenant")]
            assert isinstance(end, Finished)
            assert end.usage == used  # what we read is what was told
            asked.append(prices.cost(model.id, used, datetime.now(UTC)))
    # The process of before has had too many turns where the total is smaller.
    theirs = [after - before if after > before else after for before, after in pairwise([0.0, *totals])]
    assert [round(dollars * 10**9) for dollars in theirs] == asked
