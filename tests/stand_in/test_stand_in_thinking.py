"""The stand-in thinks where it is let, signs what it thought, and knows its signatures when they come back."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from claude_code_api.stand_in import rules, script
from claude_code_api.stand_in.answer import answer
from claude_code_api.stand_in.errors import Refused
from claude_code_api.stand_in.script import script_in

BUDGET, ADAPTIVE, BOUND = "claude-sonnet-4-5", "claude-opus-4-8", "claude-opus-5-5"
ON = {
    BUDGET: {"type": "enabled", "budget_tokens": 1024},
    ADAPTIVE: {"type": "adaptive", "display": "summarized"},
    BOUND: {"type": "adaptive", "display": "summarized"},
}
TOOL = {"name": "look", "input_schema": {"type": "object"}}


def request(model: str, *messages: Any, **fields: Any) -> dict[str, Any]:
    turns = [{"role": ("user", "assistant")[n % 2], "content": content} for n, content in enumerate(messages)]
    return {"model": model, "max_tokens": 2000, "messages": turns, **fields}


def thought(model: str, **fields: Any) -> list[dict[str, Any]]:
    """The blocks of an answer to "Hi" that was thought about."""
    said = script_in(script(thinking="let me see", redacted_thinking="hidden", text="Hello"))
    assert said is not None
    fields = {"thinking": ON[model]} | fields
    return [block.whole for block in answer(request(model, "Hi", **fields), said, {}).blocks]


@pytest.mark.parametrize("model", ON)
def test_thinking_comes_back_as_it_was_given(model: str) -> None:
    blocks = thought(model)
    assert [block["type"] for block in blocks] == ["thinking", "redacted_thinking", "text"]
    assert blocks[0]["thinking"] == "let me see"
    rules.check(request(model, "Hi", blocks, "And?", thinking=ON[model]))


@pytest.mark.parametrize("model", ON)
def test_where_the_cache_is_marked_and_how_a_text_is_written_makes_no_other_place(model: str) -> None:
    written = [{"type": "text", "text": "Hi", "cache_control": {"type": "ephemeral"}}]
    rules.check(request(model, written, thought(model), "And?", thinking=ON[model]))


@pytest.mark.parametrize("model", ON)
@pytest.mark.parametrize(
    ("block", "field", "value"),
    [
        (0, "thinking", "let me sea"),
        (0, "signature", "abc"),
        (0, "signature", ""),
        (0, "signature", "é"),
        (1, "data", "x"),
    ],
)
def test_thinking_that_was_changed_is_refused(model: str, block: int, field: str, value: str) -> None:
    blocks = copy.deepcopy(thought(model))
    blocks[block][field] = value
    with pytest.raises(Refused, match=rf"messages\.1\.content\.{block}: Invalid `\w+` in `\w+` block"):
        rules.check(request(model, "Hi", blocks, "And?", thinking=ON[model]))


@pytest.mark.parametrize("changed", ["question", "system", "tools", "order"])
def test_newer_models_think_for_one_place_only(changed: str) -> None:
    for model in ON:
        blocks = thought(model)
        fields: dict[str, Any] = {"system": "Be brief."} if changed == "system" else {}
        fields |= {"tools": [TOOL]} if changed == "tools" else {}
        blocks = blocks[1:] if changed == "order" else blocks
        asked = request(model, "Ho" if changed == "question" else "Hi", blocks, "And?", thinking=ON[model], **fields)
        if model != BOUND:
            rules.check(asked)
            continue
        with pytest.raises(Refused, match="The block is bound to a different conversation"):
            rules.check(asked)


@pytest.mark.parametrize("model", ON)
def test_with_a_budget_the_calls_that_a_turn_answers_follow_their_thinking(model: str) -> None:
    call = {"type": "tool_use", "id": "t1", "name": "look", "input": {}}
    result = [{"type": "tool_result", "tool_use_id": "t1", "content": "rain"}]
    with_thinking, without = [*thought(model, tools=[TOOL])[:1], call], [call]
    rules.check(request(model, "Hi", with_thinking, result, thinking=ON[model], tools=[TOOL]))
    asked = request(model, "Hi", without, result, thinking=ON[model], tools=[TOOL])
    if model != BUDGET:
        rules.check(asked)
        return
    with pytest.raises(Refused, match=r"messages\.1\.content\.0\.type: Expected `thinking`"):
        rules.check(asked)
    rules.check(asked | {"thinking": {"type": "disabled"}})


OFF, BETWEEN = {"type": "disabled"}, {"type": "between_tools"}


@pytest.mark.parametrize(
    ("model", "thinking", "effort", "fault"),
    [
        ("claude-opus-4-8", OFF, "max", None),
        ("claude-opus-5", OFF, "high", None),
        ("claude-opus-5", OFF, "xhigh", "requires thinking"),
        ("claude-haiku-5-5", OFF, "low", None),
        ("claude-sonnet-5-5", BETWEEN, "low", None),
        ("claude-sonnet-5-5", OFF, "low", "between_tools"),
        ("claude-opus-5-5", OFF, "low", "thinking.type.disabled"),
        ("claude-opus-5-5", BETWEEN, "low", "thinking.type.between_tools"),
        ("claude-fable-5", OFF, "low", "thinking.type.disabled"),
        ("claude-sonnet-4-5", OFF, "low", "does not support the effort parameter"),
        ("claude-opus-4-6", None, "xhigh", "Supported levels: low, medium, high, max"),
        ("claude-opus-4-8", None, "most", r"output_config\.effort: Input should be"),
    ],
)
def test_each_model_takes_its_own_thinking_and_effort(
    model: str, thinking: dict[str, Any] | None, effort: str, fault: str | None
) -> None:
    fields = {"thinking": thinking, "output_config": {"effort": effort}}
    if fault is None:
        rules.check(request(model, "Hi", **fields))
        return
    with pytest.raises(Refused, match=fault):
        rules.check(request(model, "Hi", **fields))


def test_some_models_cannot_be_made_to_call() -> None:
    asked = request("claude-haiku-5-5", "Hi", tools=[TOOL], tool_choice={"type": "any"})
    rules.check(asked)
    with pytest.raises(Refused, match='type "tool" and "any" are not supported for this model'):
        rules.check(asked | {"model": "claude-opus-5-5"})


@pytest.mark.parametrize(
    ("model", "thinking", "thinks", "shows"),
    [
        ("claude-sonnet-4-5", None, False, False),
        ("claude-sonnet-4-5", ON[BUDGET], True, True),
        ("claude-opus-4-8", None, False, False),
        ("claude-opus-4-8", {"type": "adaptive"}, True, False),
        ("claude-opus-4-8", {"type": "adaptive", "display": "updates"}, True, False),
        ("claude-opus-4-8", ON[ADAPTIVE], True, True),
        ("claude-opus-5-5", None, True, False),
        ("claude-opus-5", OFF, False, False),
    ],
)
def test_thinking_comes_where_it_is_let_and_shows_where_that_is_asked(
    model: str, thinking: dict[str, Any] | None, thinks: bool, shows: bool
) -> None:
    told = answer(request(model, "Hi", thinking=thinking), script_in(script(thinking="let me see", text="Hi")), {})  # type: ignore[arg-type]
    block = told.blocks[0].whole
    assert (block["type"] == "thinking") is thinks
    assert bool(block.get("thinking")) is shows
    assert told.usage["output_tokens_details"] == {"thinking_tokens": 3 if thinks else 0}
