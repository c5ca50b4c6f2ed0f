"""A request's fields: what shapes the answer arrives, what cannot be honoured is refused by name, nothing crashes."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from claude_code_api.conversation import Conversation, Message, Sampling, Text
from claude_code_api.dialects.openai_chat import ChatRequest, Limits, decode
from claude_code_api.dialects.openai_chat.schema import Request
from claude_code_api.dialects.openai_chat.treatment import Row, rows
from claude_code_api.errors import InvalidRequest, RequestFailure
from claude_code_api.settings import Settings

Ask = Callable[..., ChatRequest]
Check = Callable[[Conversation], None]

REFUSED = [row for row in rows(Request) if row.treatment == "refused"]
NO_EFFECT = [row.name for row in rows(Request) if row.treatment == "no effect"]


def refusal(call: Callable[[], object]) -> InvalidRequest:
    with pytest.raises(InvalidRequest) as raised:
        call()
    return raised.value


def test_the_smallest_request_is_a_conversation_of_one_turn(ask: Ask) -> None:
    assert ask("hello") == ChatRequest(
        Conversation(model="sonnet", messages=(Message("user", (Text("hello"),)),)), stream=False, include_usage=False
    )


def test_everything_that_shapes_the_answer_arrives(ask: Ask) -> None:
    request = ask(
        "hello",
        model="opus",
        max_completion_tokens=7,
        temperature=0.5,
        top_p=0.25,
        stop=["\nEnd", "###"],
        user="someone",
        stream=True,
        stream_options={"include_usage": True},
    )
    assert request.stream
    assert request.include_usage
    assert request.conversation.model == "opus"
    assert request.conversation.end_user == "someone"
    assert request.conversation.sampling == Sampling(
        max_tokens=7, temperature=0.5, top_p=0.25, stop_sequences=("\nEnd", "###")
    )


def test_null_is_the_same_as_nothing(ask: Ask) -> None:
    fields = {row.name: None for row in rows(Request) if row.name not in ("messages", "model")}
    assert ask(**fields) == ask()


def test_unknown_fields_are_ignored(ask: Ask) -> None:
    message = {"role": "user", "content": [{"type": "text", "text": "hello", "cache_control": {}}], "name": "Ann"}
    assert ask([message], think_harder=True, chat_template_kwargs={"a": [1]}) == ask()


@pytest.mark.parametrize("field", NO_EFFECT)
@pytest.mark.parametrize("value", ["x", 1, True, {"a": "b"}, ["x"]])
def test_fields_that_do_not_shape_the_answer_change_nothing(ask: Ask, field: str, value: Any) -> None:
    assert ask(**{field: value}) == ask()


def test_max_completion_tokens_beats_max_tokens(ask: Ask) -> None:
    assert ask(max_tokens=5).conversation.sampling.max_tokens == 5
    assert ask(max_tokens=5, max_completion_tokens=9).conversation.sampling.max_tokens == 9


def test_temperatures_above_claudes_highest_count_as_it(ask: Ask) -> None:
    assert ask(temperature=1.7).conversation.sampling.temperature == 1.0
    assert ask(temperature=0).conversation.sampling.temperature == 0.0


def test_an_empty_user_is_nobody(ask: Ask) -> None:
    assert ask(user="").conversation.end_user is None


def test_one_stop_sequence_may_stand_alone(ask: Ask) -> None:
    assert ask(stop="END").conversation.sampling.stop_sequences == ("END",)


@pytest.mark.parametrize(("stop", "param"), [("\n", "stop"), (["a", " \n"], "stop.1")])
def test_stop_sequences_of_whitespace_are_refused_or_left_out(ask: Ask, stop: Any, param: str) -> None:
    fault = refusal(lambda: ask(stop=stop))
    assert (fault.code, fault.param) == ("unsupported_parameter", param)
    sequences = ask(stop=stop, changed={"ignore_unsupported": True}).conversation.sampling.stop_sequences
    assert sequences == (() if param == "stop" else ("a",))


@pytest.mark.policy("V1")
@pytest.mark.parametrize(
    "body",
    [
        b'{"model": "sonnet"}',
        b'{"model": "sonnet", "messages": null}',
        b'{"model": "sonnet", "messages": []}',
        b'{"model": "sonnet", "messages": {}}',
        b'{"model": "sonnet", "messages": "hello"}',
        b"[]",
        b'"hello"',
        b"null",
    ],
)
def test_messages_missing_empty_or_no_array_are_an_invalid_request_format(body: bytes, limits: Limits) -> None:
    fault = refusal(lambda: decode(body, limits))
    assert (fault.status, fault.type) == (400, "invalid_request_error")
    assert (fault.code, fault.param) == ("invalid_messages", "messages")
    assert fault.message.startswith("Invalid request format")


@pytest.mark.policy("V1")
@pytest.mark.parametrize(
    ("messages", "param"),
    [
        ([1], "messages.0"),
        ([{}], "messages.0.role"),
        ([{"role": "robot", "content": "x"}], "messages.0.role"),
        ([{"role": 1, "content": "x"}], "messages.0.role"),
        ([{"role": "user"}], "messages.0.content"),
        ([{"role": "user", "content": None}], "messages.0.content"),
        ([{"role": "user", "content": 1}], "messages.0.content"),
        ([{"role": "user", "content": [{}]}], "messages.0.content.0.type"),
        ([{"role": "user", "content": ["x"]}], "messages.0.content.0"),
        ([{"role": "user", "content": [{"type": "text"}]}], "messages.0.content.0.text"),
        ([{"role": "user", "content": [{"type": "text", "text": 1}]}], "messages.0.content.0.text"),
        ([{"role": "user", "content": [{"type": "image_url", "image_url": "x"}]}], "messages.0.content.0.image_url"),
        ([{"role": "user", "content": [{"type": "image_url", "image_url": {}}]}], "messages.0.content.0.image_url.url"),
        ([{"role": "system", "content": [{"type": "image_url"}]}], "messages.0.content.0.type"),
        ([{"role": "assistant", "content": 1}], "messages.0.content"),
    ],
)
def test_faults_within_messages_are_named_by_their_path(ask: Ask, messages: Any, param: str) -> None:
    fault = refusal(lambda: ask(messages))
    assert (fault.code, fault.param) == ("invalid_messages", param)
    assert fault.message.startswith("Invalid request format")


@pytest.mark.policy("V1")
@pytest.mark.parametrize(
    ("field", "value", "param"),
    [
        ("model", None, "model"),
        ("model", "", "model"),
        ("model", "x" * 300, "model"),
        ("max_tokens", 0, "max_tokens"),
        ("max_tokens", "5", "max_tokens"),
        ("max_tokens", True, "max_tokens"),
        ("max_completion_tokens", 2**31, "max_completion_tokens"),
        ("max_completion_tokens", 1.5, "max_completion_tokens"),
        ("temperature", -0.1, "temperature"),
        ("temperature", 2.1, "temperature"),
        ("top_p", 1.1, "top_p"),
        ("stop", 5, "stop"),
        ("stop", "", "stop"),
        ("stop", ["a", ""], "stop.1"),
        ("stop", list("abcde"), "stop"),
        ("stream", "yes", "stream"),
        ("stream_options", [], "stream_options"),
        ("stream_options", {"include_usage": 1}, "stream_options.include_usage"),
        ("user", 5, "user"),
        ("user", "x" * 2000, "user"),
    ],
)
def test_a_wrong_type_range_or_size_names_the_field(ask: Ask, field: str, value: Any, param: str) -> None:
    fault = refusal(lambda: ask(**{field: value}))
    assert (fault.code, fault.param) == ("invalid_value", param)
    assert f"`{param}`" in fault.message


def test_the_model_is_required(limits: Limits) -> None:
    fault = refusal(lambda: decode(b'{"messages": [{"role": "user", "content": "x"}]}', limits))
    assert (fault.code, fault.param) == ("invalid_value", "model")


def test_stream_options_without_a_stream_are_refused(ask: Ask) -> None:
    fault = refusal(lambda: ask(stream_options={"include_usage": True}))
    assert (fault.code, fault.param) == ("invalid_value", "stream_options")


def test_no_json_is_an_invalid_request_format(limits: Limits) -> None:
    fault = refusal(lambda: decode(b"{", limits))
    assert (fault.code, fault.param) == ("invalid_json", None)
    assert fault.message.startswith("Invalid request format")


@pytest.mark.parametrize("text", [rb"\ud800", rb"\udc00x", rb"\ud83d\ud83d", b"\xed\xa0\x80", b"\xff"])
def test_half_a_character_is_refused(text: bytes, limits: Limits) -> None:
    body = b'{"model": "m", "messages": [{"role": "user", "content": "' + text + b'"}]}'
    assert refusal(lambda: decode(body, limits)).code == "invalid_json"


@pytest.mark.policy("V2")
def test_nesting_beyond_the_limit_is_refused_wherever_it_is(ask: Ask) -> None:
    nested: Any = []
    for _ in range(80):
        nested = [nested]
    fault = refusal(lambda: ask(metadata=nested))
    assert fault.code == "too_deep"


@pytest.mark.policy("V2")
def test_the_number_of_messages_is_limited(ask: Ask) -> None:
    messages = [{"role": "user", "content": "x"}] * 51
    assert ask(messages[:50])
    assert refusal(lambda: ask(messages)).code == "too_many_messages"


@pytest.mark.parametrize("row", REFUSED, ids=lambda row: row.name)
def test_what_cannot_be_honoured_is_refused_by_name_unless_ignored(ask: Ask, row: Row) -> None:
    for neutral in (*map(json.loads, row.neutral), None):
        assert ask(**{row.name: neutral}) == ask()
    for value in (5, "something", [{"a": 1}], {"type": "other"}, True, ["x" * 100]):
        fault = refusal(lambda value=value: ask(**{row.name: value}))  # type: ignore[misc]
        assert (fault.status, fault.code, fault.param) == (400, "unsupported_parameter", row.name)
        assert f"`{row.name}` is not supported" in fault.message
        assert ask(**{row.name: value}, changed={"ignore_unsupported": True}) == ask()


def test_zero_is_not_false(ask: Ask) -> None:
    assert refusal(lambda: ask(logprobs=0)).param == "logprobs"
    assert refusal(lambda: ask(presence_penalty=False)).param == "presence_penalty"
    assert refusal(lambda: ask(n=True)).param == "n"
    assert ask(n=1.0, frequency_penalty=0.0) == ask()


@pytest.mark.policy("V2")
@pytest.mark.parametrize(
    "value", [b'"\xff"', b"1e999", rb'"\ud800"', b"9" * 5000, b"-" + b"9" * 30, b"1." + b"0" * 500]
)
@pytest.mark.parametrize("field", ["n", "tools", "max_tokens", "temperature", "user", "model", "stop", "messages"])
def test_values_that_no_type_holds_are_refused(limits: Limits, field: str, value: bytes) -> None:
    fields = {"messages": b'[{"role": "user", "content": "x"}]', "model": b'"m"', field: value}
    body = b"{" + b",".join(b'"%s": %s' % (name.encode(), given) for name, given in fields.items()) + b"}"
    outcome = outcome_of(body, limits)
    if isinstance(outcome, ChatRequest):
        assert (field, value[:2]) == ("temperature", b"1.")
    else:
        assert outcome.status == 400


def test_limits_come_from_the_settings() -> None:
    settings = Settings(
        max_depth=9,
        max_messages=8,
        max_images=7,
        max_image_bytes=6000,
        max_files=5,
        max_file_bytes=4000,
        remote_images=True,
    )
    assert Limits.of(settings) == Limits(9, 8, 7, 6000, 5, 4000, remote_images=True, ignore_unsupported=False)
    assert Limits.of(Settings(unsupported_parameters="ignore")).ignore_unsupported


# --- laws -----------------------------------------------------------------------------------------------

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
urls = st.sampled_from(["data:image/gif;base64,R0lGODlh", "data:image/png;base64,R0lGODlh", "http://[", "https://x/"])
parts = st.one_of(
    json_values,
    st.fixed_dictionaries({"type": st.just("text"), "text": st.text(max_size=5) | json_values}),
    st.fixed_dictionaries({"type": st.just("image_url"), "image_url": st.fixed_dictionaries({"url": urls})}),
    st.fixed_dictionaries({"type": st.sampled_from(["refusal", "input_audio"]), "refusal": st.text(max_size=3)}),
)
roles = st.sampled_from(["system", "developer", "user", "assistant", "user", "assistant", "tool", "function"])
contents = st.text(max_size=5) | st.lists(parts, max_size=3) | json_values
ids = st.sampled_from(["a", "b", "c.1", ""])
functions = st.fixed_dictionaries({"name": ids, "arguments": st.sampled_from(["", "{}", '{"x": [{}]}', "[]", "{"])})
calls = st.fixed_dictionaries({"type": st.just("function"), "id": ids, "function": functions})
chat_messages = st.fixed_dictionaries(
    {"role": roles, "content": contents},
    optional={
        "refusal": st.text(max_size=3),
        "tool_calls": st.lists(calls | json_values, max_size=2),
        "function_call": functions,
        "tool_call_id": ids,
        "name": ids,
    },
)
schemas = st.fixed_dictionaries(
    {"type": st.sampled_from(["object", "string"])}, optional={"properties": json_values, "anyOf": json_values}
)
tools = st.fixed_dictionaries(
    {"type": st.just("function"), "function": st.fixed_dictionaries({"name": ids}, optional={"parameters": schemas})}
)
choices = st.sampled_from(["none", "auto", "required", {"type": "function", "function": {"name": "a"}}, {"name": "a"}])
formats = st.fixed_dictionaries(
    {"type": st.just("json_schema"), "json_schema": st.fixed_dictionaries({"name": st.just("x"), "schema": schemas})}
)
fields = st.dictionaries(st.sampled_from([row.name for row in rows(Request)]), json_values, max_size=2) | (
    st.fixed_dictionaries(
        {},
        optional={
            "tools": st.lists(tools, max_size=2),
            "functions": st.lists(tools.map(lambda tool: tool["function"]), max_size=2),
            "tool_choice": choices,
            "function_call": choices,
            "response_format": formats | json_values,
        },
    )
)


def outcome_of(body: bytes, limits: Limits) -> ChatRequest | RequestFailure:
    try:
        return decode(body, limits)
    except RequestFailure as failure:
        return failure


def check_outcome(body: bytes, limits: Limits, require_sound: Check) -> None:
    outcome = outcome_of(body, limits)
    if isinstance(outcome, RequestFailure):
        assert outcome.status == 400
        assert outcome.param is not None or outcome.code == "invalid_json"
    else:
        require_sound(outcome.conversation)
        msgspec.json.encode(outcome)  # and nothing in it stops it from being sent on


@pytest.mark.policy("V2")
@given(st.lists(chat_messages, max_size=6), fields, st.booleans(), st.booleans())
def test_any_json_is_a_sound_conversation_or_a_failure_that_names_the_field(
    require_sound: Check, messages: list[Any], more: dict[str, Any], ignore: bool, remote: bool
) -> None:
    limits = Limits(64, 5, 2, 2000, 2, 2000, remote_images=remote, ignore_unsupported=ignore)
    body = json.dumps({"model": "sonnet", "messages": messages, **more}).encode()
    check_outcome(body, limits, require_sound)


@pytest.mark.policy("V2")
@given(st.binary(max_size=200) | json_values.map(lambda value: json.dumps(value).encode()))
def test_any_bytes_are_decoded_or_refused(body: bytes) -> None:
    with pytest.raises(RequestFailure) as refused:
        decode(body, Limits(64, 5, 2, 2000, 2, 2000, remote_images=True, ignore_unsupported=True))
    assert refused.value.status == 400


@given(st.data())
def test_a_sound_request_with_a_few_bytes_changed_never_crashes(require_sound: Check, data: st.DataObject) -> None:
    part = {"type": "text", "text": "é\u0000\\"}
    call = {"type": "function", "id": "a.b", "function": {"name": "f", "arguments": '{"a": [1]}'}}
    messages = [
        {"role": "user", "content": [part]},
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "content": "x", "tool_call_id": "a.b"},
    ]
    schema = {"type": "object", "properties": {"a": {"type": "integer", "minimum": 1}}}
    tools = [{"type": "function", "function": {"name": "f", "parameters": schema}}]
    body = bytearray(json.dumps({"model": "m", "messages": messages, "tools": tools}).encode())
    for _ in range(data.draw(st.integers(1, 3))):
        body[data.draw(st.integers(0, len(body) - 1))] = data.draw(st.integers(0, 255))
    check_outcome(
        bytes(body), Limits(64, 5, 2, 2000, 2, 2000, remote_images=False, ignore_unsupported=False), require_sound
    )
