"""Every field of OpenAI's request has its row, in the code and in the documentation."""

from __future__ import annotations

from pathlib import Path
from typing import get_type_hints

import msgspec
import pytest
from openai.types.chat.chat_completion_assistant_message_param import ChatCompletionAssistantMessageParam
from openai.types.chat.completion_create_params import CompletionCreateParamsStreaming

from claude_code_api.dialects.openai_chat.schema import AssistantMessage, Request
from claude_code_api.dialects.openai_chat.treatment import Row, rows

DOCUMENT = Path(__file__).parents[3] / "docs" / "openai-chat.md"


def as_documented(row: Row) -> str:
    effect: str = row.treatment
    if row.treatment == "refused":
        effect += ", but for " + ", ".join(f"`{value}`" for value in ("null", *row.neutral))
    return f"| `{row.name}` | {effect} | {row.note} |"


def test_every_field_of_the_official_client_has_its_row() -> None:
    assert set(get_type_hints(CompletionCreateParamsStreaming)) == {row.name for row in rows(Request)}


def test_every_field_of_an_assistants_message_is_known() -> None:
    known = {field.encode_name for field in msgspec.structs.fields(AssistantMessage)}
    assert set(get_type_hints(ChatCompletionAssistantMessageParam)) == known | {"role", "name"}


def test_the_documentation_holds_the_table() -> None:
    lines = DOCUMENT.read_text(encoding="utf-8").splitlines()
    first = lines.index("| field | | |") + 2
    table = lines[first : lines.index("", first)]
    assert table == [as_documented(row) for row in rows(Request)]


def test_the_wire_types_make_a_json_schema() -> None:
    schema = msgspec.json.schema(Request)["$defs"]["Request"]
    assert schema["required"] == ["messages", "model"]
    assert schema["properties"]["temperature"]["description"].startswith("0 to 2")


def test_only_a_struct_has_rows() -> None:
    with pytest.raises(TypeError, match="no struct"):
        rows(str)  # type: ignore[arg-type]
