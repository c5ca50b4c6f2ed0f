"""What a script, or none, makes the stand-in say."""

from __future__ import annotations

import base64
import io
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from claude_code_api.stand_in import script, turns, wire
from claude_code_api.stand_in.answer import answer
from claude_code_api.stand_in.errors import Refused
from claude_code_api.stand_in.script import NO_SCRIPT, Script, script_in

USAGE = {"input_tokens": 1, "output_tokens": 1}
STOP = {"type": "message_stop"}


def request(*contents: Any, **fields: Any) -> dict[str, Any]:
    """A request whose turns are the user's, the assistant's, the user's, …"""
    messages = [{"role": ("user", "assistant")[number % 2], "content": text} for number, text in enumerate(contents)]
    return {"model": "claude-sonnet-5", "max_tokens": 10_000, "messages": messages} | fields


def reply(asked: dict[str, Any]) -> dict[str, Any]:
    whole: dict[str, Any] = msgspec.json.decode(wire.whole(answer(asked, turns.script_of(asked), USAGE)))
    return whole


def said(asked: dict[str, Any]) -> str:
    return "".join(block["text"] for block in reply(asked)["content"] if block["type"] == "text")


def events(asked: dict[str, Any]) -> list[dict[str, Any]]:
    head, deltas, end = wire.pieces(answer(asked, turns.script_of(asked), USAGE))
    blocks = b"".join([head, *deltas, end]).decode().removesuffix("\n\n").split("\n\n")
    named = [block.split("\n") for block in blocks]
    decoded = [msgspec.json.decode(data.removeprefix("data: ")) for _, data in named]
    assert [name.removeprefix("event: ") for name, _ in named] == [event["type"] for event in decoded]
    return decoded


def put_together(stream: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The blocks that a client would make of a stream."""
    blocks: list[dict[str, Any]] = []
    for event in stream:
        if event["type"] == "content_block_start":
            assert event["index"] == len(blocks)
            blocks.append(event["content_block"] | {"arguments": ""})
        if event["type"] == "content_block_delta":
            match event["delta"]:
                case {"type": "text_delta", "text": text}:
                    blocks[-1]["text"] += text
                case {"type": "thinking_delta", "thinking": text}:
                    blocks[-1]["thinking"] += text
                case {"type": "signature_delta", "signature": text}:
                    blocks[-1]["signature"] += text
                case {"type": "input_json_delta", "partial_json": text}:
                    blocks[-1]["arguments"] += text
    for block in blocks:
        arguments = block.pop("arguments")
        if block["type"] == "tool_use":
            block["input"] = msgspec.json.decode(arguments)
    return blocks


texts = st.text(st.characters(codec="utf-8"), min_size=1)


@settings(deadline=None)
@given(chunks=st.lists(texts, min_size=1), thinking=st.none() | texts, arguments=st.dictionaries(texts, texts))
def test_a_stream_put_together_is_the_whole_answer_for_any_split(
    chunks: list[str], thinking: str | None, arguments: dict[str, str]
) -> None:
    tools = [{"name": "look", "input": arguments, "id": "toolu_1"}]
    prompt = script(chunks=chunks, thinking=thinking, tools=tools)
    whole = reply(request(prompt))
    stream = events(request(prompt))
    assert put_together(stream) == whole["content"]
    assert "".join(block.get("text", "") for block in whole["content"]) == "".join(chunks)
    assert stream[-2]["delta"] == {"stop_reason": whole["stop_reason"], "stop_sequence": None}
    assert stream[-2]["usage"] == whole["usage"]
    assert stream[-1] == STOP


@settings(deadline=None)
@given(text=texts, limit=st.integers(1, 5), stops=st.lists(texts, max_size=2))
def test_limits_hold_for_any_text_streamed_and_whole(text: str, limit: int, stops: list[str]) -> None:
    asked = request(script(text=text), max_tokens=limit, stop_sequences=stops)
    whole = reply(asked)
    told = said(asked)
    assert text.startswith(told)
    assert len(told.split()) <= limit
    assert not any(stop in told for stop in stops)
    assert whole["stop_reason"] == (
        "end_turn" if told == text else "stop_sequence" if whole["stop_sequence"] is not None else "max_tokens"
    )
    assert [block["type"] for block in put_together(events(asked))] == [block["type"] for block in whole["content"]]
    assert "".join(block["text"] for block in put_together(events(asked))) == told


def test_tokens_of_an_answer_are_its_words_and_those_of_its_arguments() -> None:
    whole = reply(
        request(script(thinking="one two", text="three four five", tools=[{"name": "a", "input": {"b": "c d"}}]))
    )
    assert whole["usage"]["output_tokens"] == 2 + 3 + 2


def test_a_prefill_does_not_lead_past_the_script() -> None:
    assert said(request(script(text="Hi"), "So")) == "Hi"


def test_chunks_are_split_exactly_as_the_script_says() -> None:
    stream = events(request(script(chunks=["a b", " ", "c"])))
    assert [event["delta"]["text"] for event in stream if event["type"] == "content_block_delta"] == ["a b", " ", "c"]


def test_a_ping_comes_before_the_first_delta() -> None:
    kinds = [event["type"] for event in events(request("Hello"))]
    assert kinds[:4] == ["message_start", "content_block_start", "ping", "content_block_delta"]
    assert kinds.count("ping") == 1


def test_an_answer_without_content_is_whole_too() -> None:
    asked = request(script(text="", stop_reason="refusal"))
    assert [event["type"] for event in events(asked)] == ["message_start", "ping", "message_delta", "message_stop"]
    assert (reply(asked)["content"], reply(asked)["stop_reason"]) == ([], "refusal")
    assert reply(request(script(stop_reason="refusal")))["content"] == []


def test_tokens_are_as_many_words_each_a_delta_of_its_own() -> None:
    asked = request(script(tokens=12))
    assert len(said(asked).split()) == reply(asked)["usage"]["output_tokens"] == 12
    assert sum(event["type"] == "content_block_delta" for event in events(asked)) == 12


def test_text_is_repeated() -> None:
    assert said(request(script(text="na ", repeat=3))) == "na na na "


def test_thinking_counts_against_the_limit_of_tokens() -> None:
    whole = reply(request(script(thinking="one two three", text="four five"), max_tokens=4))
    assert whole["content"][1]["text"] == "four"
    assert whole["stop_reason"] == "max_tokens"
    nothing = reply(request(script(thinking="one two three", text="four five"), max_tokens=2))
    assert [block["type"] for block in nothing["content"]] == ["thinking"]


def test_thinking_that_the_request_wants_omitted_is_only_signed() -> None:
    thinking = {"type": "adaptive", "display": "omitted"}
    (block, _) = reply(request(script(thinking="secret", text="Hi"), thinking=thinking))["content"]
    assert block["thinking"] == ""
    assert block["signature"]


def test_tools_are_not_called_when_the_text_was_cut_short() -> None:
    asked = request(script(text="one two three", tools=[{"name": "look"}]), stop_sequences=["two"])
    whole = reply(asked)
    assert [block["type"] for block in whole["content"]] == ["text"]
    assert (whole["stop_reason"], whole["stop_sequence"]) == ("stop_sequence", "two")


def test_arguments_of_a_tool_come_in_several_pieces() -> None:
    stream = events(request(script(tools=[{"name": "look", "input": {"at": "the river"}}])))
    pieces = [event["delta"]["partial_json"] for event in stream if event["type"] == "content_block_delta"]
    assert pieces[0] == ""
    assert len(pieces) > 3
    start = next(event["content_block"] for event in stream if event["type"] == "content_block_start")
    assert start["id"].startswith("toolu_")
    assert start["input"] == {}


def test_the_script_has_the_last_word_on_usage_and_stop() -> None:
    whole = reply(
        request(script(text="Hi", stop_reason="stop_sequence", stop_sequence="!", usage={"input_tokens": 77}))
    )
    assert (whole["stop_reason"], whole["stop_sequence"]) == ("stop_sequence", "!")
    assert whole["usage"] == {
        "input_tokens": 77,
        "output_tokens": 1,
        "output_tokens_details": {"thinking_tokens": 0},
    }


def test_tool_results_lead_the_script_one_step_further() -> None:
    calling = script(
        tools=[{"name": "look", "input": {}, "id": "toolu_1"}],
        then={"text": "It rains.", "tools": [{"name": "go", "input": {}}], "then": {"text": "Home."}},
    )
    call = [{"type": "tool_use", "id": "toolu_1", "name": "look", "input": {}}]
    result = [
        {"type": "tool_result", "tool_use_id": "toolu_1", "content": [{"type": "text", "text": "rain"}]},
        {"type": "text", "text": "<system-reminder>Be nice.</system-reminder>"},
    ]
    assert reply(request(calling))["stop_reason"] == "tool_use"
    assert said(request(calling, call, result)) == "It rains."
    assert said(request(calling, call, result, call, result)) == "Home."
    two = request(calling, call, result)
    two["messages"].append({"role": "user", "content": result[:1]})
    assert said(two) == "It rains."
    assert said(request(calling, call, result, call, result, call, result)) == (
        f'I see 7 turns: the first says "{turns.shortened(calling)}", and the last of yours '
        f'"{turns.shortened(calling)}". The tools answered "rain".'
    )


@pytest.mark.parametrize(
    ("what", "expected"),
    [
        ("system", "Be brief."),
        ("first", "Good morning"),
        ("all", "user: Good morning\nassistant: Hello\nuser: "),
    ],
)
def test_the_request_can_be_echoed(what: str, expected: str) -> None:
    system = [{"type": "text", "text": "Be brief."}]
    told = said(request("Good morning", "Hello", script(echo=what), system=system))
    assert told.startswith(expected)
    assert said(request("Hello")) != said(request(script(echo="last")))
    assert said(request(script(echo="last"))) == script(echo="last")


def test_nothing_is_echoed_where_there_is_nothing() -> None:
    assert said(request(script(echo="system"))) == ""


def test_the_default_answer_shows_what_arrived() -> None:
    assert said(request("Hello")) == 'I see 1 turn, which says "Hello".'
    assert said(request("My name is Ada.", "Hi", "What is my name?")) == (
        'I see 3 turns: the first says "My name is Ada.", and the last of yours "What is my name?".'
    )
    assert said(request("word " * 100)).endswith('…".')


def test_the_default_answer_leaves_out_what_the_program_adds() -> None:
    content = [
        {"type": "text", "text": "<system-reminder>\nWorking directory: /nowhere\n</system-reminder>\n"},
        {"type": "text", "text": "Hello"},
    ]
    asked = request(content)
    asked["messages"].append({"role": "system", "content": "Working directory: /nowhere"})
    assert said(asked) == 'I see 1 turn, which says "Hello".'


def test_consecutive_messages_of_one_role_are_one_turn() -> None:
    asked = request("Hello")
    asked["messages"].append({"role": "user", "content": "Again"})
    assert said(asked) == 'I see 1 turn, which says "Hello".'


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "GIF", "WEBP"])
def test_the_default_answer_names_an_image_with_its_size(kind: str) -> None:
    told = said(request([image(kind, (31, 17))]))
    size = "" if kind == "WEBP" else " of 31×17 pixels"
    assert told == f"I see 1 turn without text. With it came an image/{kind.lower()}{size}."


def test_the_default_answer_names_an_image_elsewhere() -> None:
    source = {"type": "url", "url": "https://example.com/a.png"}
    told = said(request([{"type": "text", "text": "Look"}, {"type": "image", "source": source}]))
    assert told == 'I see 1 turn, which says "Look". With it came an image at https://example.com/a.png.'


def image(kind: str, size: tuple[int, int]) -> dict[str, Any]:
    file = io.BytesIO()
    Image.new("RGB", size).save(file, kind)
    data = base64.b64encode(file.getvalue()).decode()
    return {"type": "image", "source": {"type": "base64", "media_type": f"image/{kind.lower()}", "data": data}}


def test_a_script_stands_anywhere_in_the_last_text_of_the_user() -> None:
    assert script_in(f"Please, {script(text='{Hi}')} and thanks.") == Script(text="{Hi}")
    assert script_in("no script") is None
    assert script_in("a stand-in: without one") is None
    newest = request([{"type": "text", "text": script(text="old")}, {"type": "text", "text": script(text="new")}])
    assert said(newest) == "new"
    assert turns.script_of(request(script(text="old"), "Hi", "Hello")) is NO_SCRIPT
    assert turns.script_of({"messages": [{"role": "assistant", "content": script(text="no")}]}) is NO_SCRIPT


@pytest.mark.parametrize("text", ["stand-in: {", 'stand-in: {"texts": 1}', 'stand-in: {"tokens": "many"}'])
def test_a_script_that_cannot_be_read_is_refused(text: str) -> None:
    with pytest.raises(Refused, match="the script cannot be read"):
        script_in(text)


def test_a_wrong_script_is_noticed_where_it_is_written() -> None:
    with pytest.raises(msgspec.ValidationError):
        script(texts="Hi")
