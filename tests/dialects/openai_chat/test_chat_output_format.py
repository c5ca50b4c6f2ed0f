"""Structured outputs: a schema binds the answer in the form that Anthropic takes, or is put in words, or refused."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any, Literal

import jsonschema  # type: ignore[import-untyped]  # its stubs are a package of their own
import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from inline_snapshot import snapshot
from openai.lib._parsing._completions import type_to_response_format_param
from pydantic import BaseModel, Field

from claude_code_api.dialects.openai_chat import ChatRequest, Limits, decode
from claude_code_api.dialects.openai_chat.output_format import JSON_OBJECT, JSON_OF_SCHEMA
from claude_code_api.errors import InvalidRequest

Ask = Callable[..., ChatRequest]
SCHEMA = "response_format.json_schema.schema"


def bound_by(schema: Any, **more: Any) -> dict[str, Any]:
    return {"type": "json_schema", "json_schema": {"name": "answer", "schema": schema, **more}}


def an_object(**properties: Any) -> dict[str, Any]:
    return {"type": "object", "properties": properties, "required": list(properties), "additionalProperties": False}


def refusal(call: Callable[[], object]) -> InvalidRequest:
    with pytest.raises(InvalidRequest) as raised:
        call()
    return raised.value


@pytest.mark.parametrize("response_format", [None, {"type": "text"}])
def test_text_is_what_an_answer_is_anyway(ask: Ask, response_format: Any) -> None:
    assert ask(response_format=response_format) == ask()


def test_any_json_object_is_asked_for_in_the_system_prompt(ask: Ask) -> None:
    conversation = ask(response_format={"type": "json_object"}).conversation
    assert (conversation.system, conversation.sampling.output_schema) == (JSON_OBJECT, None)
    told = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "hello"}]
    conversation = ask(told, response_format={"type": "json_object"}).conversation
    assert conversation.system == f"Be brief.\n\n{JSON_OBJECT}"


@pytest.mark.parametrize("strict", [None, False, True])
def test_a_schema_that_anthropic_takes_stays_as_it_is(ask: Ask, strict: bool | None) -> None:
    schema = an_object(
        name={"type": "string", "title": "Name", "pattern": "^a", "format": "email", "default": "a"},
        tags={"type": "array", "minItems": 1, "items": {"enum": ["x", 1, None]}},
        place={"anyOf": [{"$ref": "#/$defs/place"}, {"type": "null"}]},
    )
    schema["$defs"] = {"place": an_object(city={"const": "Oslo"})}
    conversation = ask(response_format=bound_by(schema, strict=strict)).conversation
    assert (conversation.system, conversation.sampling.output_schema) == ("", schema)


@pytest.mark.parametrize("strict", [None, False, True])
def test_what_anthropic_does_not_know_is_said_in_the_description(ask: Ask, strict: bool | None) -> None:
    schema = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "type": "object",
        "properties": {
            "age": {"type": "integer", "minimum": 0, "maximum": 150, "description": "In years."},
            "tags": {"type": "array", "items": {"type": "string", "maxLength": 9}, "minItems": 2, "uniqueItems": True},
            "phone": {"type": "string", "format": "phone"},
            "pet": {
                "oneOf": [{"type": ["object", "null"], "properties": {}}, {"$ref": "#/definitions/dog", "title": "d"}],
                "discriminator": {"propertyName": "kind"},
            },
        },
        "definitions": {"dog": {"properties": {"name": {"type": "string"}}}},
    }
    conversation = ask(response_format=bound_by(schema, strict=strict, description="A person.")).conversation
    assert conversation.system == ""
    assert conversation.sampling.output_schema == snapshot(
        {
            "type": "object",
            "properties": {
                "age": {"type": "integer", "description": "In years. (minimum: 0, maximum: 150)"},
                "tags": {
                    "type": "array",
                    "items": {"type": "string", "description": "(maxLength: 9)"},
                    "description": "(minItems: 2, uniqueItems: true)",
                },
                "phone": {"type": "string", "description": '(format: "phone")'},
                "pet": {
                    "anyOf": [
                        {"type": ["object", "null"], "properties": {}, "additionalProperties": False},
                        {"$ref": "#/definitions/dog"},
                    ]
                },
            },
            "definitions": {"dog": {"properties": {"name": {"type": "string"}}, "additionalProperties": False}},
            "description": "A person.",
            "additionalProperties": False,
        }
    )


class Pet(BaseModel):
    name: str
    age: int = Field(ge=0)


class Person(BaseModel):
    pets: list[Pet]
    home: Pet | None
    mood: Literal["good", "bad"]


def test_the_official_clients_schemas_bind(ask: Ask) -> None:
    response_format = type_to_response_format_param(Person)
    conversation = ask(response_format=response_format).conversation
    assert conversation.system == ""
    assert conversation.sampling.output_schema == snapshot(
        {
            "$defs": {
                "Pet": {
                    "properties": {
                        "name": {"title": "Name", "type": "string"},
                        "age": {"title": "Age", "type": "integer", "description": "(minimum: 0)"},
                    },
                    "required": ["name", "age"],
                    "title": "Pet",
                    "type": "object",
                    "additionalProperties": False,
                }
            },
            "properties": {
                "pets": {"items": {"$ref": "#/$defs/Pet"}, "title": "Pets", "type": "array"},
                "home": {"anyOf": [{"$ref": "#/$defs/Pet"}, {"type": "null"}]},
                "mood": {"enum": ["good", "bad"], "title": "Mood", "type": "string"},
            },
            "required": ["pets", "home", "mood"],
            "title": "Person",
            "type": "object",
            "additionalProperties": False,
        }
    )


OPEN = [
    ({"type": "object"}, SCHEMA),
    ({"type": "object", "additionalProperties": True, "properties": {}}, SCHEMA),
    ({"type": "object", "additionalProperties": {"type": "string"}}, SCHEMA),
    ({**an_object(), "patternProperties": {"^a": {}}}, SCHEMA),
    ({"type": "object", "properties": {}, "patternProperties": {"^a": {}}}, SCHEMA),
    (an_object(a={"type": ["object", "null"]}), f"{SCHEMA}.properties.a"),
    (an_object(a={"type": "array", "items": {"type": "object"}}), f"{SCHEMA}.properties.a.items"),
    (an_object(a={"anyOf": [{"type": "null"}, {"type": "object"}]}), f"{SCHEMA}.properties.a.anyOf.1"),
    ({**an_object(), "$defs": {"a": {"type": "object"}}}, f"{SCHEMA}.$defs.a"),
]


@pytest.mark.parametrize(("schema", "path"), OPEN)
def test_a_strict_schema_with_fields_that_it_does_not_name_is_refused(ask: Ask, schema: Any, path: str) -> None:
    fault = refusal(lambda: ask(response_format=bound_by(schema, strict=True)))
    assert (fault.status, fault.code, fault.param) == (400, "invalid_json_schema", path)


@pytest.mark.parametrize(("schema", "_path"), OPEN)
@pytest.mark.parametrize("strict", [None, False])
def test_one_that_is_not_strict_is_put_in_words(ask: Ask, schema: Any, _path: str, strict: bool | None) -> None:
    conversation = ask(response_format=bound_by(schema, strict=strict)).conversation
    assert conversation.sampling.output_schema is None
    assert conversation.system.startswith(JSON_OF_SCHEMA)
    assert msgspec.json.decode(conversation.system.removeprefix(JSON_OF_SCHEMA)) == schema


@pytest.mark.policy("V1")
@pytest.mark.parametrize(
    ("schema", "path"),
    [
        (an_object(part={"$ref": "#"}), ".properties.part"),
        (an_object(a={"$ref": "#/$defs/a"}) | {"$defs": {"a": an_object(b={"$ref": "#/$defs/a"})}}, ""),
        (
            an_object(a={"type": "array", "items": {"$ref": "#/definitions/a~1b"}})
            | {"definitions": {"a/b": {"anyOf": [{"$ref": "#/definitions/c"}]}, "c": {"$ref": "#/definitions/a~1b"}}},
            "",
        ),
        (an_object(a=an_object(b={"$ref": "#/properties/a"})), ".properties.a.properties.b"),
    ],
)
def test_no_grammar_is_made_of_a_schema_that_holds_itself(ask: Ask, schema: Any, path: str) -> None:
    fault = refusal(lambda: ask(response_format=bound_by(copy.deepcopy(schema), strict=True)))
    assert (fault.status, fault.code) == (400, "invalid_json_schema")
    assert str(fault.param).startswith(SCHEMA + path)
    assert "recursive" in fault.message
    conversation = ask(response_format=bound_by(copy.deepcopy(schema))).conversation
    assert conversation.system == JSON_OF_SCHEMA + msgspec.json.encode(schema).decode()
    assert conversation.sampling.output_schema is None


def test_a_schema_may_refer_to_one_place_many_times_and_in_a_long_line(ask: Ask) -> None:
    line = {f"d{number}": an_object(a={"$ref": f"#/$defs/d{number + 1}"}) for number in range(5000)}
    schema = an_object(a={"$ref": "#/$defs/d0"}, b={"$ref": "#/$defs/d0"}, c={"$ref": "#/nowhere/0"})
    schema["$defs"] = line | {"d5000": an_object(x={"type": "string"})}
    assert ask(response_format=bound_by(schema, strict=True)).conversation.sampling.output_schema


@pytest.mark.parametrize(
    ("response_format", "param", "code"),
    [
        ("json_object", "response_format", "invalid_value"),
        ({}, "response_format.type", "invalid_value"),
        ({"type": "grammar"}, "response_format.type", "invalid_value"),
        ({"type": "json_schema"}, "response_format.json_schema", "invalid_value"),
        ({"type": "json_schema", "json_schema": {"name": "x"}}, SCHEMA, "invalid_value"),
        ({"type": "json_schema", "json_schema": {"schema": {}}}, "response_format.json_schema.name", "invalid_value"),
        (bound_by([]), SCHEMA, "invalid_value"),
        (bound_by({}), SCHEMA, "invalid_json_schema"),
        (bound_by({"type": "array", "items": {}}), SCHEMA, "invalid_json_schema"),
        (bound_by({"type": ["object"]}), SCHEMA, "invalid_json_schema"),
        (bound_by(an_object(), strict="yes"), "response_format.json_schema.strict", "invalid_value"),
        (bound_by(an_object(), name="two words"), "response_format.json_schema.name", "invalid_value"),
    ],
)
def test_a_wrong_format_is_named(ask: Ask, response_format: Any, param: str, code: str) -> None:
    fault = refusal(lambda: ask(response_format=response_format))
    assert (fault.status, fault.code, fault.param) == (400, code, param)


# --- laws -----------------------------------------------------------------------------------------------

LIMITS = Limits(64, 5, 2, 2000, 2, 2000, remote_images=False, ignore_unsupported=False)

leaves = st.sampled_from(
    [
        {"type": "string"},
        {"type": "string", "minLength": 2},
        {"type": "integer", "minimum": 1},
        {"enum": ["a", 1]},
        {"type": "object"},
        {},
    ]
)


def objects_of(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.fixed_dictionaries(
        {"type": st.just("object"), "properties": st.dictionaries(st.sampled_from("ab"), inner, max_size=2)},
        optional={
            "required": st.just(["a"]),
            "additionalProperties": st.booleans(),
            "description": st.text(max_size=2),
            "minProperties": st.just(1),
        },
    )


schemas = st.recursive(
    leaves,
    lambda inner: (
        objects_of(inner)
        | inner.map(lambda items: {"type": "array", "items": items, "maxItems": 2})
        | st.lists(inner, min_size=1, max_size=2).map(lambda variants: {"anyOf": variants})
    ),
    max_leaves=6,
)
values = st.recursive(
    st.sampled_from(["a", "bc", 0, 1, None]),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from("abc"), inner, max_size=2),
    max_leaves=5,
)


def without_bounds(schema: Any) -> Any:
    """The schema without what the grammar can only be told of."""
    bounds = ("minLength", "minimum", "maxItems", "minProperties")
    if isinstance(schema, list):
        return [without_bounds(inner) for inner in schema]
    if not isinstance(schema, dict):
        return schema
    return {key: without_bounds(inner) for key, inner in schema.items() if key not in bounds}


@given(objects_of(schemas), values)
def test_what_a_bound_answer_may_be_the_clients_schema_allows(schema: Any, value: Any) -> None:
    body = {"model": "m", "messages": [{"role": "user", "content": "x"}], "response_format": bound_by(schema)}
    bound = decode(msgspec.json.encode(body), LIMITS).conversation.sampling.output_schema
    if bound is None:
        return
    jsonschema.Draft202012Validator.check_schema(bound)
    if jsonschema.Draft202012Validator(bound).is_valid(value):
        assert jsonschema.Draft202012Validator(without_bounds(schema)).is_valid(value)


@given(schemas)
def test_fitting_twice_is_fitting_once(schema: Any) -> None:
    def fitted(told: Any) -> Any:
        body = {"model": "m", "messages": [{"role": "user", "content": "x"}], "response_format": bound_by(told)}
        return decode(msgspec.json.encode(body), LIMITS).conversation.sampling.output_schema

    once = fitted({"type": "object", "properties": {"x": schema}})
    assert once is None or fitted(copy.deepcopy(once)) == once
