"""A history of tool calls becomes native turns: every call with its one result, under ids that Anthropic takes."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from claude_code_api.conversation import Base64Source, Conversation, Image, Message, Text, ToolResult, ToolUse
from claude_code_api.dialects.json_body import MAX_NESTED
from claude_code_api.dialects.openai_chat import ChatRequest, Limits, decode
from claude_code_api.errors import InvalidRequest

GIF = "R0lGODdhAQABAIAAAAAAAAAAACwAAAAAAQABAAAIBAABBAQAOw=="
"""One pixel."""

Ask = Callable[..., ChatRequest]
Check = Callable[[Conversation], None]

QUESTION = {"role": "user", "content": "What is the weather?"}


def call(call_id: str, arguments: str = "{}", name: str = "weather") -> dict[str, Any]:
    return {"id": call_id, "type": "function", "function": {"name": name, "arguments": arguments}}


def asked(*calls: dict[str, Any], content: Any = None) -> dict[str, Any]:
    return {"role": "assistant", "content": content, "tool_calls": list(calls)}


def result(call_id: str, content: Any = "sunny") -> dict[str, Any]:
    return {"role": "tool", "tool_call_id": call_id, "content": content}


def function_asked(arguments: str = "{}", name: str = "weather", **more: Any) -> dict[str, Any]:
    return {"role": "assistant", "content": None, "function_call": {"name": name, "arguments": arguments}, **more}


def function_result(content: Any = "sunny", name: str = "weather") -> dict[str, Any]:
    return {"role": "function", "name": name, "content": content}


def answer(call_id: str, *texts: str) -> ToolResult:
    return ToolResult(call_id, tuple(map(Text, texts)))


def refusal(told: Callable[[], object]) -> InvalidRequest:
    with pytest.raises(InvalidRequest) as raised:
        told()
    return raised.value


def turns_of(request: ChatRequest) -> tuple[Message, ...]:
    return request.conversation.messages


def ids_of(request: ChatRequest) -> list[str]:
    return [block.id for turn in turns_of(request) for block in turn.content if isinstance(block, ToolUse)]


def test_calls_follow_the_text_and_results_begin_the_users_turn(ask: Ask) -> None:
    request = ask(
        [
            QUESTION,
            asked(call("toolu_1", '{"city": "Oslo"}'), call("toolu_2", '{"city": "Rome"}'), content="Let me look."),
            result("toolu_2", "hot"),
            result("toolu_1", "cold"),
            {"role": "user", "content": "In short, please."},
        ]
    )
    assert turns_of(request)[1:] == (
        Message(
            "assistant",
            (
                Text("Let me look."),
                ToolUse("toolu_1", "weather", {"city": "Oslo"}),
                ToolUse("toolu_2", "weather", {"city": "Rome"}),
            ),
        ),
        Message("user", (answer("toolu_2", "hot"), answer("toolu_1", "cold"), Text("In short, please."))),
    )


def test_a_conversation_may_end_with_results_and_go_on_from_call_to_call(ask: Ask) -> None:
    request = ask([QUESTION, asked(call("a")), result("a"), asked(call("b"), content=""), result("b")])
    assert turns_of(request)[1:] == (
        Message("assistant", (ToolUse("a", "weather", {}),)),
        Message("user", (answer("a", "sunny"),)),
        Message("assistant", (ToolUse("b", "weather", {}),)),
        Message("user", (answer("b", "sunny"),)),
    )


def test_a_history_that_begins_with_a_call_gets_a_users_turn_first(ask: Ask, require_sound: Check) -> None:
    require_sound(ask([asked(call("a")), result("a")]).conversation)


def test_a_later_system_message_joins_the_turn_of_the_results(ask: Ask) -> None:
    request = ask([QUESTION, asked(call("a")), result("a"), {"role": "system", "content": "Be brief."}])
    assert turns_of(request)[-1].content[1] == Text("<system>\nBe brief.\n</system>")


@pytest.mark.parametrize(
    ("content", "blocks"),
    [
        ("", ()),
        (" \n", ()),
        (None, ()),
        ([], ()),
        ('{"degrees": 21}', (Text('{"degrees": 21}'),)),
        ("@/etc/passwd", (Text("@/etc/passwd"),)),
        ([{"type": "text", "text": "a"}, {"type": "text", "text": "b"}], (Text("a"), Text("b"))),
        (
            [{"type": "image_url", "image_url": {"url": "data:image/gif;base64," + GIF}}],
            (Image(Base64Source("image/gif", GIF)),),
        ),
    ],
)
def test_a_result_is_text_or_images_or_nothing(ask: Ask, content: Any, blocks: Any) -> None:
    (found,) = turns_of(ask([QUESTION, asked(call("a")), result("a", content)]))[-1].content
    assert found == ToolResult("a", blocks)
    (found,) = turns_of(ask([QUESTION, function_asked(), function_result(content)]))[-1].content
    assert isinstance(found, ToolResult)
    assert found.content == blocks


@pytest.mark.policy("V2")
def test_images_in_results_count(ask: Ask) -> None:
    image = {"type": "image_url", "image_url": {"url": "data:image/gif;base64," + GIF}}
    messages = [QUESTION, asked(call("a"), call("b")), result("a", [image] * 2), result("b", [image])]
    assert ask(messages)
    fault = refusal(lambda: ask([*messages, {"role": "user", "content": [image]}]))
    assert (fault.code, fault.param) == ("too_many_images", "messages.4")
    fault = refusal(lambda: ask([*messages[:-1], result("b", [image] * 2)]))
    assert (fault.code, fault.param) == ("too_many_images", "messages.3")


@pytest.mark.parametrize(
    ("written", "read"),
    [
        (r"\ud800", "\ufffd"),
        (r"\uDFFF\ud83d\ude00\ud83d", "\ufffd\U0001f600\ufffd"),
        (r"\\ud800 \\\ud800", "\\ud800 \\\ufffd"),
        (r"\ud83d\u0041\u00e9", "\ufffdAé"),
        (r"\ud83d\ud83d\ude00", "\ufffd\U0001f600"),
    ],
)
def test_half_a_character_in_arguments_is_a_replacement_character(ask: Ask, written: str, read: str) -> None:
    (use,) = turns_of(ask([QUESTION, asked(call("a", f'{{"a": "{written}"}}')), result("a")]))[1].content
    assert use == ToolUse("a", "weather", {"a": read})


@pytest.mark.parametrize(
    ("arguments", "value"), [("", {}), (" \n", {}), ('{"a": [1, {"b": null}]}', {"a": [1, {"b": None}]})]
)
def test_arguments_are_a_json_object_or_empty(ask: Ask, arguments: str, value: Any) -> None:
    (use,) = turns_of(ask([QUESTION, asked(call("a", arguments)), result("a")]))[1].content
    assert use == ToolUse("a", "weather", value)


@pytest.mark.policy("V2")
@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        ("{", "invalid_messages"),
        ("null", "invalid_messages"),
        ("[1]", "invalid_messages"),
        ('"x"', "invalid_messages"),
        ('{"a": 1e999}', "invalid_messages"),
        ('{"a": "\\ud8zz"}', "invalid_messages"),
        ('{"a":' * 65 + "1" + "}" * 65, "too_deep"),
        ('{"a":' * 20_000 + "1" + "}" * 20_000, "too_deep"),
        ('{"a": [' + "[]," * MAX_NESTED + "1]}", "too_many_values"),
    ],
)
def test_other_arguments_are_refused_by_their_path(ask: Ask, arguments: str, code: str) -> None:
    fault = refusal(lambda: ask([QUESTION, asked(call("a"), call("b", arguments))]))
    assert (fault.code, fault.param) == (code, "messages.1.tool_calls.1.function.arguments")
    assert fault.message.startswith("Invalid request format")
    fault = refusal(lambda: ask([QUESTION, function_asked(arguments)]))
    assert (fault.code, fault.param) == (code, "messages.1.function_call.arguments")


@pytest.mark.policy("V2")
def test_arguments_of_a_whole_request_are_counted_together(ask: Ask) -> None:
    half = '{"a": [' + "[]," * (MAX_NESTED // 2) + "1]}"
    assert ask([QUESTION, asked(call("a", half)), result("a")])
    fault = refusal(lambda: ask([QUESTION, asked(call("a", half)), result("a"), asked(call("b", half)), result("b")]))
    assert (fault.code, fault.param) == ("too_many_values", "messages.3.tool_calls.0.function.arguments")


UNANSWERED = "must be followed by tool messages responding to each 'tool_call_id'"
UNASKED = "messages with role 'tool' must be a response to a preceding message with 'tool_calls'"


@pytest.mark.policy("V1")
@pytest.mark.parametrize(
    ("messages", "param", "words"),
    [
        ([asked(call("a"))], "messages.1.tool_calls", UNANSWERED),
        ([asked(call("a")), QUESTION], "messages.1.tool_calls", f"{UNANSWERED}. The following tool_call_ids"),
        ([asked(call("a"), call("b")), result("a")], "messages.1.tool_calls", "response messages: b."),
        ([asked(call("a"), call("b")), result("b"), QUESTION, result("a")], "messages.1.tool_calls", "messages: a."),
        ([asked(call("a")), asked(call("b")), result("a")], "messages.1.tool_calls", "response messages: a."),
        ([asked(call("a")), {"role": "system", "content": "x"}, result("a")], "messages.1.tool_calls", UNANSWERED),
        ([asked(*(call(f"{n}" * 90) for n in range(10)))], "messages.1.tool_calls", "2222222222…"),
        ([result("a")], "messages.1.tool_call_id", UNASKED),
        ([asked(call("a")), result("b")], "messages.2.tool_call_id", UNASKED),
        ([asked(call("a")), result("a"), result("a")], "messages.3.tool_call_id", UNASKED),
        ([asked(call("a")), result("a"), QUESTION, result("a")], "messages.4.tool_call_id", UNASKED),
        ([asked(call("a")), function_result()], "messages.2.name", "messages with role 'function'"),
        ([asked(call("a"), call("a"))], "messages.1.tool_calls.1.id", "two calls"),
        ([function_asked()], "messages.1.function_call", "followed by a function message"),
        ([function_asked(), QUESTION], "messages.1.function_call", "followed by a function message"),
        ([function_asked(), function_result(name="other")], "messages.2.name", "'function_call'"),
        ([function_asked(), function_result(), function_result()], "messages.3.name", "'function_call'"),
        ([function_result()], "messages.1.name", "'function_call'"),
        ([asked(call("a", name="no spaces"))], "messages.1.tool_calls.0.function.name", "matching regex"),
        ([asked(call("a", name="line\n"))], "messages.1.tool_calls.0.function.name", "matching regex"),
        ([asked(call("x" * 1025))], "messages.1.tool_calls.0.id", "<= 1024"),
        ([asked({"type": "other", "id": "a"})], "messages.1.tool_calls.0.type", "other"),
        ([asked({"type": "function", "id": "a"})], "messages.1.tool_calls.0.function", "missing"),
        ([{"role": "tool", "content": "x"}], "messages.1.tool_call_id", "missing"),
        ([{"role": "tool", "tool_call_id": "x"}], "messages.1.content", "missing"),
        ([{"role": "tool", "tool_call_id": "x", "content": {}}], "messages.1.content", "got `object`"),
    ],
)
def test_every_call_is_answered_once_before_anything_else_is_said(
    ask: Ask, messages: list[Any], param: str, words: str
) -> None:
    fault = refusal(lambda: ask([QUESTION, *messages]))
    assert (fault.status, fault.code, fault.param) == (400, "invalid_messages", param)
    assert fault.message.startswith("Invalid request format")
    assert words in fault.message
    assert len(fault.message) < 600


@pytest.mark.parametrize("part", [{"type": "input_audio"}])
def test_parts_of_results_that_are_not_supported_are_named(ask: Ask, part: Any) -> None:
    fault = refusal(lambda: ask([QUESTION, asked(call("a")), result("a", [part])]))
    assert (fault.code, fault.param) == ("unsupported_parameter", "messages.2.content.0.type")


def test_ids_that_anthropic_takes_stay(ask: Ask) -> None:
    assert ids_of(
        ask([QUESTION, asked(call("toolu_01-A"), call("call_2")), result("toolu_01-A"), result("call_2")])
    ) == [
        "toolu_01-A",
        "call_2",
    ]


def test_other_ids_are_mapped_on_the_call_and_on_its_result(ask: Ask) -> None:
    request = ask([QUESTION, asked(call("functions.weather:0")), result("functions.weather:0")])
    assert ids_of(request) == ["mapped-0_ZnVuY3Rpb25zLndlYXRoZXI6MA"]
    assert turns_of(request)[-1].content == (answer("mapped-0_ZnVuY3Rpb25zLndlYXRoZXI6MA", "sunny"),)


def test_an_id_that_comes_again_in_a_later_turn_is_another_for_anthropic(ask: Ask) -> None:
    once = [QUESTION, asked(call("call_1")), result("call_1")]
    again = [*once, asked(call("call_1")), result("call_1")]
    assert ids_of(ask(once)) == ["call_1"]
    assert ids_of(ask(again)) == ["call_1", "mapped-1_Y2FsbF8x"]
    assert turns_of(ask(again))[:3] == turns_of(ask(once))


def test_the_older_function_calls_are_the_same_turns(ask: Ask, require_sound: Check) -> None:
    request = ask(
        [
            QUESTION,
            function_asked('{"city": "Oslo"}', content="Let me look."),
            function_result("cold"),
            function_asked(),
            function_result(),
        ]
    )
    require_sound(request.conversation)
    first, second = ids_of(request)
    assert turns_of(request)[1:] == (
        Message("assistant", (Text("Let me look."), ToolUse(first, "weather", {"city": "Oslo"}))),
        Message("user", (answer(first, "cold"),)),
        Message("assistant", (ToolUse(second, "weather", {}),)),
        Message("user", (answer(second, "sunny"),)),
    )


# --- laws -----------------------------------------------------------------------------------------------

LIMITS = Limits(64, 100, 100, 2000, 100, 2000, remote_images=False, ignore_unsupported=False)

ids = st.text(max_size=4) | st.sampled_from(["a", "b", "mapped-0_YQ", "mapped-0_", "mapped-1_YQ"])
values = st.none() | st.booleans() | st.integers() | st.text(max_size=3) | st.lists(st.integers(), max_size=2)
objects = st.dictionaries(st.text(max_size=3), values, max_size=3)
results = st.text(max_size=4) | st.lists(st.text(max_size=4), max_size=3)
rounds = st.tuples(
    st.text(max_size=4),
    st.lists(st.tuples(ids, objects, results), max_size=3, unique_by=lambda made: made[0]),
    st.randoms(use_true_random=False),
    st.text(max_size=4),
)


@given(st.lists(rounds, max_size=5))
def test_any_history_of_calls_and_results_is_native_turns_of_the_same(require_sound: Check, history: list[Any]) -> None:
    told: list[Any] = [QUESTION]
    expected: list[Any] = []
    for said, calls, random, after in history:
        order = random.sample(calls, len(calls))
        told.append(asked(*(call(call_id, json.dumps(value)) for call_id, value, _ in calls), content=said))
        told += [result(call_id, as_content(content)) for call_id, _, content in order]
        told.append({"role": "user", "content": after})
        expected += [said] if said.strip() else []
        expected += [value for _, value, _ in calls]
        expected += [[text for text in texts_of(content) if text.strip()] for _, _, content in order]
        expected += [after] if after.strip() else []
    body = msgspec.json.encode({"model": "m", "messages": [*told, {"role": "user", "content": "end"}]})
    conversation = decode(body, LIMITS).conversation
    require_sound(conversation)
    found = [seen(block) for turn in conversation.messages for block in turn.content]
    assert found == [QUESTION["content"], *expected, "end"]


def as_content(content: str | list[str]) -> Any:
    return content if isinstance(content, str) else [{"type": "text", "text": text} for text in content]


def texts_of(content: str | list[str]) -> list[str]:
    return [content] if isinstance(content, str) else content


def seen(block: Any) -> Any:
    match block:
        case Text():
            return block.text
        case ToolUse():
            return block.input
        case ToolResult():
            return [part.text for part in block.content if isinstance(part, Text)]


@given(st.lists(ids, min_size=1, max_size=8))
def test_ids_are_mapped_one_to_one_and_a_longer_history_keeps_them(given_ids: list[str]) -> None:
    told = [message for call_id in given_ids for message in (asked(call(call_id)), result(call_id))]
    whole = ids_of(decode(msgspec.json.encode({"model": "m", "messages": told}), LIMITS))
    shorter = ids_of(decode(msgspec.json.encode({"model": "m", "messages": told[:2]}), LIMITS))
    assert len(set(whole)) == len(given_ids)
    assert whole[:1] == shorter
