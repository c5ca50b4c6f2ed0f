"""Tools, and whether they must be called: `tools` and the older `functions` come out as Anthropic's."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from claude_code_api.conversation import Tool, ToolChoice
from claude_code_api.dialects.openai_chat import ChatRequest
from claude_code_api.errors import InvalidRequest

Ask = Callable[..., ChatRequest]

SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
WEATHER = {"name": "weather", "description": "Tells the weather.", "parameters": SCHEMA}


def tool(**function: Any) -> dict[str, Any]:
    return {"type": "function", "function": function}


def named(name: str) -> dict[str, Any]:
    return {"type": "function", "function": {"name": name}}


def refusal(call: Callable[[], object]) -> InvalidRequest:
    with pytest.raises(InvalidRequest) as raised:
        call()
    return raised.value


def choice_of(request: ChatRequest) -> ToolChoice | None:
    return request.conversation.sampling.tool_choice


def test_tools_arrive_in_their_order(ask: Ask) -> None:
    request = ask(tools=[tool(**WEATHER, strict=True), tool(name="now")])
    assert request.conversation.tools == (
        Tool(name="weather", description="Tells the weather.", input_schema=SCHEMA),
        Tool(name="now", input_schema={"type": "object", "properties": {}}),
    )
    assert choice_of(request) is None
    assert not request.legacy_functions


def test_functions_are_tools_of_which_one_is_called_at_most(ask: Ask) -> None:
    request = ask(functions=[WEATHER, {"name": "now"}])
    assert request.conversation.tools == ask(tools=[tool(**WEATHER), tool(name="now")]).conversation.tools
    assert choice_of(request) == ToolChoice(disable_parallel_tool_use=True)
    assert request.legacy_functions


@pytest.mark.parametrize("nothing", [None, []])
def test_no_tools_are_nothing(ask: Ask, nothing: Any) -> None:
    for choice in (None, "none", "auto"):
        request = ask(tools=nothing, functions=nothing, tool_choice=choice, function_call=choice)
        assert request == ask()
    assert ask(parallel_tool_calls=False) == ask()


@pytest.mark.parametrize("parameters", [None, {"type": "object"}, {"type": "object", "properties": {}}])
def test_a_tool_may_have_no_parameters(ask: Ask, parameters: Any) -> None:
    (found,) = ask(tools=[tool(name="now", description=None, parameters=parameters, strict=None)]).conversation.tools
    assert found == Tool(name="now", input_schema=parameters or {"type": "object", "properties": {}})


@pytest.mark.parametrize("name", ["a", "_", "-9", "x" * 64, "Get_Weather-2"])
def test_every_name_that_openai_allows_is_taken(ask: Ask, name: str) -> None:
    assert ask(tools=[tool(name=name)]).conversation.tools[0].name == name


def test_up_to_128_tools_are_taken(ask: Ask) -> None:
    functions = [{"name": f"tool_{number}"} for number in range(129)]
    assert len(ask(tools=[tool(**function) for function in functions[:128]]).conversation.tools) == 128
    assert len(ask(functions=functions[:128]).conversation.tools) == 128
    assert refusal(lambda: ask(tools=[tool(**function) for function in functions])).param == "tools"
    assert refusal(lambda: ask(functions=functions)).param == "functions"


@pytest.mark.policy("V1")
@pytest.mark.parametrize(
    ("function", "field", "code"),
    [
        ({}, "name", "invalid_value"),
        ({"name": ""}, "name", "invalid_value"),
        ({"name": "x" * 65}, "name", "invalid_value"),
        ({"name": "get weather"}, "name", "invalid_value"),
        ({"name": "weather\n"}, "name", "invalid_value"),
        ({"name": "wetter_für"}, "name", "invalid_value"),
        ({"name": "now", "description": 1}, "description", "invalid_value"),
        ({"name": "now", "strict": "yes"}, "strict", "invalid_value"),
        ({"name": "now", "parameters": []}, "parameters", "invalid_value"),
        ({"name": "now", "parameters": {}}, "parameters", "invalid_function_parameters"),
        ({"name": "now", "parameters": {"type": "string"}}, "parameters", "invalid_function_parameters"),
        ({"name": "now", "parameters": {"type": ["object"]}}, "parameters", "invalid_function_parameters"),
        *(
            (
                {"name": "now", "parameters": {"type": "object", **wrong}},
                f"parameters{at}",
                "invalid_function_parameters",
            )
            for wrong, at in (
                ({"properties": {"a b": {}}}, ".properties"),
                ({"properties": {"$top": {}}}, ".properties"),
                ({"properties": {"x" * 65: {}}}, ".properties"),
                ({"properties": []}, ".properties"),
                ({"properties": {"x": "number"}}, ".properties[...]"),
                ({"properties": {"x": {"type": "wrong"}}}, ".properties[...].type"),
                ({"properties": {"x": {"type": "array", "items": [{}]}}}, ".properties[...].items"),
                ({"properties": {"x": {"exclusiveMinimum": True}}}, ".properties[...].exclusiveMinimum"),
                ({"properties": {"x": {"required": True}}}, ".properties[...].required"),
                ({"properties": {"x": {"anyOf": []}}}, ".properties[...].anyOf"),
                ({"properties": {"x": {"minLength": -1}}}, ".properties[...].minLength"),
                ({"required": ["a", "a"]}, ""),
                ({"$id": "##"}, ".$id"),
            )
        ),
        ({"name": "weather"}, "name", "invalid_value"),
    ],
)
def test_a_wrong_tool_is_named_with_its_fault(ask: Ask, function: Any, field: str, code: str) -> None:
    fault = refusal(lambda: ask(tools=[tool(**WEATHER), tool(**function)]))
    assert (fault.status, fault.code, fault.param) == (400, code, f"tools.1.function.{field}")
    fault = refusal(lambda: ask(functions=[WEATHER, function]))
    assert (fault.status, fault.code, fault.param) == (400, code, f"functions.1.{field}")


@pytest.mark.parametrize(
    ("kind", "code"), [("custom", "unsupported_parameter"), ("web_search", "invalid_value"), (1, "invalid_value")]
)
def test_tools_of_other_types_are_refused(ask: Ask, kind: Any, code: str) -> None:
    fault = refusal(lambda: ask(tools=[{"type": kind, "custom": {"name": "x"}}]))
    assert (fault.status, fault.code, fault.param) == (400, code, "tools.0.type")


def test_both_forms_together_are_refused(ask: Ask) -> None:
    assert refusal(lambda: ask(tools=[tool(**WEATHER)], functions=[WEATHER])).param == "functions"


@pytest.mark.parametrize(
    ("choice", "parallel", "expected"),
    [
        (None, None, None),
        ("auto", True, None),
        ("auto", False, ToolChoice(disable_parallel_tool_use=True)),
        (None, False, ToolChoice(disable_parallel_tool_use=True)),
        ("none", None, ToolChoice(type="none")),
        ("none", False, ToolChoice(type="none")),
        ("required", None, ToolChoice(type="any")),
        ("required", False, ToolChoice(type="any", disable_parallel_tool_use=True)),
        (named("now"), None, ToolChoice(type="tool", name="now")),
        (named("now"), False, ToolChoice(type="tool", name="now", disable_parallel_tool_use=True)),
    ],
)
def test_the_choice_arrives_and_the_tools_stay(ask: Ask, choice: Any, parallel: Any, expected: Any) -> None:
    request = ask(tools=[tool(name="now")], tool_choice=choice, parallel_tool_calls=parallel)
    assert choice_of(request) == expected
    assert [found.name for found in request.conversation.tools] == ["now"]


@pytest.mark.parametrize(
    ("choice", "expected"),
    [
        ("auto", ToolChoice(disable_parallel_tool_use=True)),
        ("none", ToolChoice(type="none")),
        ({"name": "now"}, ToolChoice(type="tool", name="now", disable_parallel_tool_use=True)),
    ],
)
def test_the_older_choice_is_the_same(ask: Ask, choice: Any, expected: ToolChoice) -> None:
    assert choice_of(ask(functions=[{"name": "now"}], function_call=choice)) == expected


@pytest.mark.parametrize(
    ("fields", "param", "code"),
    [
        ({"tools": [tool(name="now")], "tool_choice": named("then")}, "tool_choice.function.name", "invalid_value"),
        ({"functions": [{"name": "now"}], "function_call": {"name": "x"}}, "function_call.name", "invalid_value"),
        ({"tool_choice": "required"}, "tool_choice", "invalid_value"),
        ({"tool_choice": named("now")}, "tool_choice", "invalid_value"),
        ({"function_call": {"name": "now"}}, "function_call", "invalid_value"),
        ({"functions": [{"name": "now"}], "tool_choice": "required"}, "tool_choice", "invalid_value"),
        ({"tools": [tool(name="now")], "function_call": {"name": "now"}}, "function_call", "invalid_value"),
        ({"tools": [tool(name="now")], "tool_choice": "always"}, "tool_choice", "invalid_value"),
        ({"tools": [tool(name="now")], "tool_choice": {"type": "custom"}}, "tool_choice.type", "unsupported_parameter"),
        (
            {"tools": [tool(name="now")], "tool_choice": {"type": "allowed_tools"}},
            "tool_choice.type",
            "unsupported_parameter",
        ),
        ({"tools": [tool(name="now")], "parallel_tool_calls": "no"}, "parallel_tool_calls", "invalid_value"),
    ],
)
def test_a_wrong_choice_is_named(ask: Ask, fields: Any, param: str, code: str) -> None:
    fault = refusal(lambda: ask(**fields))
    assert (fault.status, fault.code, fault.param) == (400, code, param)


def test_schemas_that_claude_takes_arrive_as_they_are(ask: Ask) -> None:
    schema = {
        "type": "object",
        "$schema": "http://json-schema.org/draft-07/schema#",
        "properties": {
            "z": {"type": ["string", "null"], "default": None, "enum": ["a", None], "nullable": True, "format": "any"},
            "a": {"$ref": "#/$defs/node"},
            "free": True,
            "n": {"type": "integer", "minimum": 1, "maximum": 2.5, "maxLength": 5.0, "x-own": {"type": 1}},
        },
        "$defs": {"node": {"type": "object", "properties": {"$next": {"$ref": "#/$defs/node"}}}},
        "anyOf": [{"required": ["z"]}, {"required": ["a"]}],
        "additionalProperties": False,
    }
    (found,) = ask(tools=[tool(name="f", parameters=schema)]).conversation.tools
    assert found.input_schema == schema
