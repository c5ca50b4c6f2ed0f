"""How much Claude is asked to think: by effort, by model, within `max_tokens`."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from claude_code_api.conversation import Effort, Sampling, ToolChoice
from claude_code_api.engines.claude_code.thinking import (
    BUDGETS,
    LEAST_BUDGET,
    Thinking,
    always_thinking,
    thinking_of,
)

OLD = ("claude-3-7-sonnet-20250219", "claude-opus-4-20250514", "claude-opus-4-0", "claude-opus-4-1-20250805",
       "claude-haiku-4-5", "claude-sonnet-4-5-20250929", "claude-sonnet-4-5[1m]", "claude-opus-4-5")  # fmt: skip
NEW = (
    "claude-opus-4-6",
    "claude-sonnet-4-6",
    "claude-opus-4-7",
    "claude-opus-4-8",
    "claude-opus-5",
    "haiku",
    "default",
)


def thinking(model: str = "haiku", *, unthought: bool = False, always: Any = (), **fields: Any) -> Thinking:
    return thinking_of(model, Sampling(**fields), resumes_unthought=unthought, always_thinking=always)


@pytest.mark.parametrize("model", OLD + NEW)
def test_nothing_is_asked_for_where_the_request_asks_for_nothing(model: str) -> None:
    assert thinking(model) == Thinking(budget=0, effort=None, shown=False)


def test_none_is_the_least_that_a_model_can() -> None:
    assert thinking(effort="none") == Thinking()
    assert thinking(effort="none", always=("haiku",)) == Thinking(budget=0, effort="low")


@pytest.mark.parametrize("model", OLD + NEW)
@pytest.mark.parametrize("effort", BUDGETS)
def test_an_effort_is_asked_for_and_shown(model: str, effort: Effort) -> None:
    assert thinking(model, effort=effort) == Thinking(BUDGETS[effort], effort, shown=True)


@given(st.sampled_from(OLD), st.sampled_from(list(BUDGETS)), st.integers(1, 200_000))
def test_a_budget_leaves_room_for_the_answer(model: str, effort: Effort, max_tokens: int) -> None:
    asked = thinking(model, effort=effort, max_tokens=max_tokens)
    assert asked.budget == 0 or LEAST_BUDGET <= asked.budget <= max_tokens // 2
    assert asked.shown == bool(asked.budget)


def test_models_that_think_by_themselves_need_no_room() -> None:
    assert thinking("claude-opus-5", effort="high", max_tokens=10).shown
    assert thinking("haiku", effort="high", unthought=True).shown


@pytest.mark.parametrize("model", OLD)
def test_results_of_calls_whose_thinking_is_gone_are_answered_without(model: str) -> None:
    assert thinking(model, effort="high", unthought=True) == Thinking(0, "high")


def test_a_forced_call_comes_without_thinking() -> None:
    forced = ToolChoice(type="tool", name="look")
    assert thinking("claude-opus-5", effort="high", tool_choice=forced) == Thinking(0, "high")
    assert thinking("claude-opus-5", effort="high", tool_choice=ToolChoice()).shown


def test_models_that_cannot_stop_are_known_by_all_their_names() -> None:
    listed = [
        {"value": "sonnet", "resolvedModel": "claude-sonnet-5-5", "supportsThinkingOff": False},
        {"value": "old", "resolvedModel": "claude-opus-4-8", "supportsThinkingOff": True},
        {"value": "unknown"},
    ]
    assert always_thinking(listed) == {"sonnet", "claude-sonnet-5-5"}
