"""Conversations that wait for a client's tool, and what clients do meanwhile, with the vendor's client."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import openai
import pytest
from asking import ask, said

from claude_code_api.stand_in import StandIn, script

TOOL: dict[str, Any] = {
    "type": "function",
    "function": {"name": "note", "parameters": {"type": "object", "properties": {"text": {"type": "string"}}}},
}


def question(text: str, mark: str) -> dict[str, Any]:
    call = {"name": "mcp__client__note", "input": {"text": text}}
    return {"role": "user", "content": f"{mark} {script(tools=[call], then={'text': f'Noted {mark}.'})}"}


def result(call: Any) -> dict[str, Any]:
    return {"role": "tool", "tool_call_id": call.id, "content": "done"}


def test_a_client_that_left_while_its_answer_came_sends_results_later(client: openai.OpenAI, stand_in: StandIn) -> None:
    asked = question("river " * 200, "left")
    chunks = client.chat.completions.create(model="haiku", messages=[asked], tools=[TOOL], stream=True)  # type: ignore[call-overload]
    for chunk in chunks:
        if chunk.choices and chunk.choices[0].delta.tool_calls:
            call = chunk.choices[0].delta.tool_calls[0]
            break
    chunks.close()
    turn = {
        "role": "assistant",
        "tool_calls": [{"id": call.id, "type": "function", "function": {"name": "note", "arguments": '{"text": "r"}'}}],
    }
    assert said(ask(client, [asked, turn, result(call)], tools=[TOOL])) == "Noted left."
    *_, called, brought = [turn for turn in stand_in.requests[-1].body["messages"] if turn["role"] != "system"]
    assert [(block["type"], block["input"]) for block in called["content"]] == [("tool_use", {"text": "r"})]
    assert brought["content"][0]["tool_use_id"] == call.id


def test_two_requests_at_once_for_one_waiting_conversation_are_both_answered(client: openai.OpenAI) -> None:
    asked = question("x", "twice")
    message = ask(client, [asked], tools=[TOOL]).choices[0].message
    (call,) = message.tool_calls
    with ThreadPoolExecutor(2) as threads:
        answers = list(threads.map(lambda _: ask(client, [asked, message, result(call)], tools=[TOOL]), range(2)))
    assert [said(answer) for answer in answers] == ["Noted twice."] * 2


@pytest.mark.parametrize("streamed", [False, True])
def test_arguments_of_a_megabyte_and_of_any_script_come_whole(
    client: openai.OpenAI, stand_in: StandIn, streamed: bool
) -> None:
    text = 'Zoë 😀 \u2028 \\ud800 "\\" \x00 日本 ' * 25_000
    given: Any = {"messages": [question(text, "long")], "model": "haiku", "tools": [TOOL]}
    if streamed:
        with client.chat.completions.stream(**given) as stream:
            message = stream.get_final_completion().choices[0].message
    else:
        message = client.chat.completions.create(**given).choices[0].message
    (call,) = message.tool_calls
    assert json.loads(call.function.arguments) == {"text": text}
    given["messages"] += [message, result(call)]
    assert said(client.chat.completions.create(**given)) == "Noted long."
    assert len({request.headers["x-claude-code-session-id"] for request in stand_in.requests}) == 1


@pytest.mark.parametrize(
    "written",
    [
        lambda message: message,
        lambda message: message.model_dump(),
        lambda message: message.model_dump(exclude_none=True),
        lambda message: message.to_dict(),
        lambda message: json.loads(message.model_dump_json(exclude_unset=True)),
    ],
    ids=["the object", "model_dump", "exclude_none", "to_dict", "exclude_unset"],
)
def test_however_a_client_writes_the_answer_its_process_is_found(
    client: openai.OpenAI, stand_in: StandIn, written: Any, request: pytest.FixtureRequest
) -> None:
    asked = question("é", request.node.callspec.id)
    message = ask(client, [asked], tools=[TOOL]).choices[0].message
    answer = ask(client, [asked, written(message), result(message.tool_calls[0])], tools=[TOOL])
    assert said(answer).startswith("Noted")
    assert len({request.headers["x-claude-code-session-id"] for request in stand_in.requests}) == 1
