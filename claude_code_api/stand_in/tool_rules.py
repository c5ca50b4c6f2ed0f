"""What the API demands of tools, and of their calls and results in a conversation."""

from __future__ import annotations

import re
from typing import Any

from claude_code_api.stand_in import shape
from claude_code_api.stand_in.errors import invalid
from claude_code_api.stand_in.shape import Json

_NAME = re.compile(r"[a-zA-Z0-9_-]{1,128}")
_ID = re.compile(r"[a-zA-Z0-9_-]+")
_CUSTOM = frozenset({
    "type", "description", "cache_control", "allowed_callers", "defer_loading", "eager_input_streaming",
    "input_examples", "strict",
})  # fmt: skip


def check_tools(request: Json) -> None:
    tools = shape.array(request.get("tools") or [], "tools")
    names: set[str] = set()
    for number, tool in enumerate(tools):
        path = f"tools.{number}"
        kind = shape.mapping(tool, path).get("type") or "custom"
        if kind == "custom":
            _custom(tool, f"{path}.custom")
        name = tool.get("name", kind)
        if name in names:
            raise invalid("tools: Tool names must be unique.")
        names.add(name)
    _choice(request.get("tool_choice"), names)


def _custom(tool: Json, path: str) -> None:
    shape.fields(tool, path, ("name", "input_schema"), _CUSTOM)
    if not _NAME.fullmatch(shape.text(tool["name"], f"{path}.name")):
        raise invalid(f"{path}.name: String should match pattern '^[a-zA-Z0-9_-]{{1,128}}$'")
    schema = shape.mapping(tool["input_schema"], f"{path}.input_schema")
    if "type" not in schema:
        raise invalid(f"{path}.input_schema.type: Field required")
    shape.one_of(schema["type"], ("object",), f"{path}.input_schema.type")
    if tool.get("description") is not None:
        shape.text(tool["description"], f"{path}.description")


def _choice(choice: Any, names: set[str]) -> None:
    if choice is None:
        return
    kind = shape.mapping(choice, "tool_choice").get("type")
    shape.one_of(kind, ("auto", "any", "tool", "none"), "tool_choice.type")
    required = ("type", "name") if kind == "tool" else ("type",)
    shape.fields(choice, f"tool_choice.{kind}", required, ("disable_parallel_tool_use",))
    if not names and kind != "none":
        raise invalid("tool_choice: tool_choice may only be specified while providing tools")
    if kind == "tool" and choice["name"] not in names:
        raise invalid(f"Tool '{choice['name']}' not found in provided tools")


def check_results(messages: list[Json]) -> None:
    """Each `tool_use` has its `tool_result` at the head of the next turn, each result its call in the one before."""
    if not any(isinstance(message["content"], list) for message in messages):
        return
    seen: set[str] = set()
    asked: dict[str, None] = {}
    asked_in = 0
    for numbers, role, blocks in _turns(messages):
        if asked and role == "user":
            answered = _results_at_head(blocks)
            missing = [call for call in asked if call not in answered]
            if missing:
                raise _unanswered(asked_in, missing)
        _check_known(numbers, blocks, asked if role == "user" else {})
        asked = {}
        for number, block in zip(numbers, blocks, strict=True):
            if block["type"] != "tool_use":
                continue
            call = shape.text(block["id"], f"messages.{number}.content.tool_use.id")
            if not _ID.fullmatch(call):
                raise invalid(f"messages.{number}.content.tool_use.id: String should match pattern '^[a-zA-Z0-9_-]+$'")
            if call in seen:
                raise invalid("messages: `tool_use` ids must be unique")
            seen.add(call)
            asked[call] = None
            asked_in = number
    if asked:
        raise _unanswered(asked_in, list(asked))


def _turns(messages: list[Json]) -> list[tuple[list[int], str, list[Json]]]:
    """Turns with their blocks and, for each block, the number of its message; system messages are left out."""
    turns: list[tuple[list[int], str, list[Json]]] = []
    for number, message in enumerate(messages):
        if message["role"] == "system":
            continue
        if not turns or turns[-1][1] != message["role"]:
            turns.append(([], message["role"], []))
        content = message["content"]
        blocks = content if isinstance(content, list) else [{"type": "text", "text": content}]
        turns[-1][0].extend([number] * len(blocks))
        turns[-1][2].extend(blocks)
    return turns


def _results_at_head(blocks: list[Json]) -> set[str]:
    results = set()
    for block in blocks:
        if block["type"] != "tool_result":
            break
        results.add(block["tool_use_id"])
    return results


def _check_known(numbers: list[int], blocks: list[Json], asked: dict[str, None]) -> None:
    results: set[str] = set()
    position = 0
    for at, (number, block) in enumerate(zip(numbers, blocks, strict=True)):
        position = position + 1 if at and numbers[at - 1] == number else 0
        if block["type"] != "tool_result":
            continue
        call = block["tool_use_id"]
        if call not in asked:
            raise invalid(
                f"messages.{number}.content.{position}: unexpected `tool_use_id` found in `tool_result` blocks: "
                f"{call}. Each `tool_result` block must have a corresponding `tool_use` block in the previous message."
            )
        if call in results:
            raise invalid(
                f"messages.{number}.content.{position}: each tool_use must have a single result. "
                f"Found multiple `tool_result` blocks with id: {call}"
            )
        results.add(call)


def _unanswered(number: int, calls: list[str]) -> Exception:
    return invalid(
        f"messages.{number}: `tool_use` ids were found without `tool_result` blocks immediately after: "
        f"{', '.join(calls)}. Each `tool_use` block must have a corresponding `tool_result` block in the next message."
    )
