"""The tools that a client offers, and whether they must be called."""

from __future__ import annotations

import re
from typing import Any

from claude_code_api.conversation import Tool, ToolChoice
from claude_code_api.dialects.openai_chat.faults import invalid_value, unsupported
from claude_code_api.dialects.openai_chat.json_schema import fault_of
from claude_code_api.dialects.openai_chat.schema import (
    AllowedToolsChoice,
    CustomChoice,
    CustomTool,
    Function,
    FunctionChoice,
    NamedFunction,
    Request,
)

_PROPERTY = re.compile(r"[a-zA-Z0-9_.-]{1,64}")
"""Anthropic's rule for the names of a tool's own parameters; those within them are free."""


def read_tools(request: Request) -> tuple[Tool, ...]:
    """`tools`, or `functions`, their older form."""
    if request.tools and request.functions:
        raise invalid_value("this is the older form of `tools`; give one of the two", "functions")
    tools: dict[str, Tool] = {}
    for function, path in _functions(request):
        if function.name in tools:
            raise invalid_value("two tools have this name", f"{path}.name")
        tools[function.name] = Tool(
            name=function.name,
            description=function.description or "",
            input_schema=_input_schema(function.parameters, f"{path}.parameters"),
        )
    return tuple(tools.values())


def read_tool_choice(request: Request, tools: tuple[Tool, ...]) -> ToolChoice | None:
    """None where the model may call what it likes. An answer to `functions` holds one call at most."""
    choice: str | FunctionChoice | CustomChoice | AllowedToolsChoice | NamedFunction | None
    for choice, path, offered in (
        (request.tool_choice, "tool_choice", request.tools),
        (request.function_call, "function_call", request.functions),
    ):
        if isinstance(choice, CustomChoice | AllowedToolsChoice):
            raise unsupported(f"{path}.type", choice)
        if not offered and choice not in (None, "none", "auto"):
            offer = "tools" if path == "tool_choice" else "functions"
            raise invalid_value(f"only allowed where `{offer}` are given", path)
    if not tools:
        return None
    one_call = bool(request.functions) or request.parallel_tool_calls is False
    match request.function_call if request.functions else request.tool_choice:
        case "none":
            return ToolChoice(type="none")
        case "required":
            return ToolChoice(type="any", disable_parallel_tool_use=one_call)
        case FunctionChoice(function=NamedFunction(name=name)):
            return _named(name, tools, "tool_choice.function.name", one_call)
        case NamedFunction(name=name):
            return _named(name, tools, "function_call.name", one_call)
        case _:
            return ToolChoice(disable_parallel_tool_use=True) if one_call else None


def _functions(request: Request) -> list[tuple[Function, str]]:
    functions = [(function, f"functions.{index}") for index, function in enumerate(request.functions or ())]
    for index, tool in enumerate(request.tools or ()):
        if isinstance(tool, CustomTool):
            raise unsupported(f"tools.{index}.type", tool)
        functions.append((tool.function, f"tools.{index}.function"))
    return functions


def _input_schema(parameters: dict[str, Any] | None, path: str) -> dict[str, Any]:
    if parameters is None:
        return {"type": "object", "properties": {}}
    if parameters.get("type") != "object":
        reason = "a tool's parameters are a JSON schema of the type `object`"
        raise invalid_value(reason, path, code="invalid_function_parameters")
    if fault := fault_of(parameters):
        reason, at = fault
        raise invalid_value(
            f"no JSON schema of the draft 2020-12: {reason}", f"{path}{at}", code="invalid_function_parameters"
        )
    for name in parameters.get("properties", ()):
        if not _PROPERTY.fullmatch(name):
            reason = f"Claude takes parameters whose names match {_PROPERTY.pattern}, and this one is {name[:80]!r}"
            raise invalid_value(reason, f"{path}.properties", code="invalid_function_parameters")
    return parameters


def _named(name: str, tools: tuple[Tool, ...], path: str, one_call: bool) -> ToolChoice:
    if all(tool.name != name for tool in tools):
        raise invalid_value("none of the tools has this name", path)
    return ToolChoice(type="tool", name=name, disable_parallel_tool_use=one_call)
