"""JSON bodies: bounded before they are built, and every fault named by its path."""

from __future__ import annotations

import json
import time
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from claude_code_api.dialects.json_body import MAX_NESTED, check_structure, decode_json
from claude_code_api.errors import InvalidRequest

ANYTHING = msgspec.json.Decoder(object)


def depth_of(value: Any) -> int:
    if isinstance(value, list):
        return 1 + max(map(depth_of, value), default=0)
    if isinstance(value, dict):
        return 1 + max(map(depth_of, value.values()), default=0)
    return 0


def is_refused(body: bytes, max_depth: int) -> bool:
    try:
        check_structure(body, max_depth)
    except InvalidRequest as refusal:
        return refusal.code == "too_deep"
    return False


tricky_text = st.text(alphabet='[]{}"\\a,:\n', max_size=8)
documents = st.recursive(
    st.none() | st.integers() | tricky_text,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(tricky_text, inner, max_size=4),
    max_leaves=30,
)


@pytest.mark.policy("V2")
@given(documents, st.integers(0, 6), st.booleans())
def test_depth_is_told_exactly(document: Any, max_depth: int, spaced: bool) -> None:
    body = json.dumps(document, indent=1 if spaced else None).encode()
    assert is_refused(body, max_depth) == (depth_of(document) > max_depth)


@given(documents, st.data())
def test_a_body_that_was_cut_off_is_no_deeper_for_it(document: Any, data: st.DataObject) -> None:
    body = json.dumps(document).encode()
    cut = body[: data.draw(st.integers(0, len(body)))]
    assert not is_refused(cut, depth_of(document))


@pytest.mark.parametrize(
    "pattern",
    [b"[", b"[],", b'"', b'"[', b"\\", b"[[],", b"[" * 30 + b"]" * 30 + b"[", b'{"a":[', b'{"":"[",', b"a"],
    ids=repr,
)
def test_eight_hostile_mebibytes_cost_less_than_half_a_second(pattern: bytes) -> None:
    body = pattern * (8 * 2**20 // len(pattern))
    began = time.process_time()
    with pytest.raises(InvalidRequest):
        decode_json(body, ANYTHING, 64)
    assert time.process_time() - began < 0.5


def test_arrays_and_objects_are_counted() -> None:
    with pytest.raises(InvalidRequest, match=f"more than {MAX_NESTED} arrays and objects") as refusal:
        check_structure(b"[" + b"{}," * MAX_NESTED, 64)
    assert refusal.value.code == "too_many_values"


@pytest.mark.policy("V2")
def test_no_body_of_many_small_parts_holds_the_loop_for_long() -> None:
    """The type of a chat request's parts is a tagged union, which costs more than plain objects."""
    part = msgspec.defstruct("Part", [("text", str)], tag="text")
    decoder = msgspec.json.Decoder(list[part])  # type: ignore[valid-type]
    body = b"[" + b",".join([b'{"type":"text","text":"a"}'] * 400_000) + b"]"
    began = time.process_time()
    with pytest.raises(InvalidRequest) as refusal:
        decode_json(body, decoder, 64)
    assert refusal.value.code == "too_many_values"
    assert time.process_time() - began < 0.15


def test_ten_thousand_messages_with_tool_calls_are_not_too_many() -> None:
    message = {"role": "assistant", "tool_calls": [{"id": "a", "function": {"name": "b", "arguments": "{}"}}]}
    decode_json(json.dumps({"messages": [message] * 10_000}).encode(), ANYTHING, 64)


@pytest.mark.parametrize("body", [b"", b"{", b'{"a": 1,}', b'"\xff"', rb'"\ud800"', rb'"\udc00x"', b"NaN", b"1 2"])
def test_what_is_no_json_is_said_to_be_none(body: bytes) -> None:
    with pytest.raises(InvalidRequest, match=r"^Invalid request format: the body is no JSON") as refusal:
        decode_json(body, ANYTHING, 64)
    assert (refusal.value.code, refusal.value.param) == ("invalid_json", None)


class Inner(msgspec.Struct):
    count: int


class Outer(msgspec.Struct):
    name: str
    parts: list[Inner | None] = []
    kind: msgspec.UnsetType | str = msgspec.UNSET


@pytest.mark.policy("V1")
@pytest.mark.parametrize(
    ("body", "param"),
    [
        (b"[]", None),
        (b"{}", "name"),
        (b'{"name": 1}', "name"),
        (b'{"name": "", "parts": {}}', "parts"),
        (b'{"name": "", "parts": [null, 1]}', "parts.1"),
        (b'{"name": "", "parts": [null, {}]}', "parts.1.count"),
        (b'{"name": "", "parts": [{"count": 1}, {"count": 1.5}]}', "parts.1.count"),
        (b'{"name": "", "parts": [{"count": 1e999}]}', "parts.0.count"),
    ],
)
def test_a_wrong_value_is_named_by_its_path(body: bytes, param: str | None) -> None:
    with pytest.raises(InvalidRequest) as refusal:
        decode_json(body, msgspec.json.Decoder(Outer), 64)
    assert (refusal.value.code, refusal.value.param) == ("invalid_value", param)
    assert f"`{param}`" in refusal.value.message if param else "the body" in refusal.value.message


def test_a_long_wrong_value_is_not_repeated_whole() -> None:
    tagged = msgspec.defstruct("Tagged", [("a", int)], tag="known")
    with pytest.raises(InvalidRequest) as refusal:
        decode_json(b'{"type": "' + b"x" * 5000 + b'"}', msgspec.json.Decoder(tagged), 64)
    assert len(refusal.value.message) < 300
