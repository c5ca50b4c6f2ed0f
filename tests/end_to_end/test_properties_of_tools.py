"""A law of histories with tools: every call and every result reaches Claude natively, as it was."""

from __future__ import annotations

import json
from typing import Any

import openai
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from claude_code_api.stand_in import StandIn

few = settings(
    max_examples=15, deadline=None, derandomize=True, database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)  # fmt: skip
text = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
said = text.filter(str.strip)
inputs = st.dictionaries(text, text | st.integers(-9, 9) | st.none() | st.lists(text, max_size=2), max_size=3)
# What was asked, the model's words, each call's arguments, its result, and where that comes among the results.
rounds = st.lists(
    st.tuples(said, text, st.lists(st.tuples(inputs, text, st.floats(0, 1)), min_size=1, max_size=3)), max_size=3
)


@few
@given(rounds, said)
def test_the_calls_and_results_of_any_history_reach_claude_natively_as_they_were(
    client: openai.OpenAI, stand_in: StandIn, history: list[Any], question: str
) -> None:
    messages: list[Any] = []
    uses, results = [], {}
    for number, (asked, words, calls) in enumerate(history):
        named = [(f"call_{number}_{index}", *call) for index, call in enumerate(calls)]
        made = [
            {"id": name, "type": "function", "function": {"name": "note", "arguments": json.dumps(arguments)}}
            for name, arguments, _, _ in named
        ]
        uses += [(name, arguments) for name, arguments, _, _ in named]
        results |= {name: brought for name, _, brought, _ in named}
        messages += [
            {"role": "user", "content": asked},
            {"role": "assistant", "content": words or None, "tool_calls": made},
        ]
        ordered = sorted(named, key=lambda call: call[3])
        messages += [{"role": "tool", "tool_call_id": name, "content": brought} for name, _, brought, _ in ordered]
    tool: Any = {"type": "function", "function": {"name": "note"}}
    client.chat.completions.create(
        model="haiku", messages=[*messages, {"role": "user", "content": question}], tools=[tool]
    )
    blocks = [
        block
        for turn in stand_in.requests[-1].body["messages"]
        for block in turn["content"]
        if isinstance(turn["content"], list)
    ]
    assert [(b["id"], b["input"]) for b in blocks if b["type"] == "tool_use"] == uses
    arrived = {b["tool_use_id"]: b.get("content") or "" for b in blocks if b["type"] == "tool_result"}
    told = {
        name: given if isinstance(given, str) else "".join(part["text"] for part in given)
        for name, given in arrived.items()
    }
    assert told.keys() == results.keys()
    assert all(told[name] == brought for name, brought in results.items() if brought.strip())
