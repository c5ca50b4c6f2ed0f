"""How much Claude is to think in one turn, as Claude Code is told it. Pure.

Claude Code knows its models: it takes the nearest effort that a model has, lets those think by themselves that can, and
gives a budget to the older ones (`tests/contract/test_thinking_facts.py`).
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from typing import Any

import msgspec

from claude_code_api.conversation import Effort, Sampling

BUDGETS: Mapping[Effort, int] = {"low": 2_048, "medium": 8_192, "high": 16_384, "xhigh": 24_576, "max": 24_576}
"""Tokens, for models that need to be told a budget; Claude Code lets an answer of theirs have 32,000 in all."""

LEAST_BUDGET = 1_024
"""Anthropic's; it also wants a budget smaller than `max_tokens`."""

# The models before 4.6, a closed set: later ones decide by themselves how much to think.
_NEEDS_BUDGET = re.compile(r"claude-(3\S*|(opus|sonnet|haiku)-4(-[015])?(-\d{8})?(\[1m\])?)")


class Thinking(msgspec.Struct, frozen=True):
    """`budget` is in tokens, 0 for no thinking; `effort` None is the model's own default; `shown`: with its text."""

    budget: int = 0
    effort: Effort | None = None
    shown: bool = False

    def as_asked(self) -> dict[str, Any]:
        """The fields of `set_max_thinking_tokens`."""
        return {"max_thinking_tokens": self.budget, "thinking_display": "summarized" if self.shown else None}


def thinking_of(
    model: str, sampling: Sampling, *, resumes_unthought: bool, always_thinking: Collection[str]
) -> Thinking:
    """What to tell Claude Code.

    `resumes_unthought`: the turn brings the results of calls before which there is no thinking (any more).
    `always_thinking` are models that cannot do without.
    """
    effort = sampling.effort
    if effort is None:
        return Thinking()
    if effort == "none":
        return Thinking(effort="low" if model in always_thinking else None)
    forced = sampling.tool_choice is not None and sampling.tool_choice.type in ("any", "tool")
    budget = 0 if forced else BUDGETS[effort]
    if _NEEDS_BUDGET.fullmatch(model):
        # half of the answer at least is left to be said
        budget = min(budget, (sampling.max_tokens or 2 * budget) // 2)
        if budget < LEAST_BUDGET or resumes_unthought:
            budget = 0
    return Thinking(budget, effort, shown=budget > 0)


def always_thinking(listed: Iterable[Mapping[str, Any]]) -> frozenset[str]:
    """The models that cannot do without thinking, by all their names, as `initialize` lists them."""
    cannot = [entry for entry in listed if entry.get("supportsThinkingOff") is False]
    return frozenset(str(entry.get(name)) for entry in cannot for name in ("value", "resolvedModel"))
