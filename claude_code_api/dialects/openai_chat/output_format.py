"""The form that a client asks of the answer: a schema that binds the model, or words that ask it.

Anthropic binds an answer with a grammar made of the schema, and knows a part of JSON Schema for it
(https://docs.claude.com/en/docs/build-with-claude/structured-outputs): every object names all its fields, no schema
holds itself, bounds and most formats are unknown. What the grammar cannot hold is said in the description, where the
model reads it, as Anthropic's own clients do.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from graphlib import CycleError, TopologicalSorter
from typing import Any

import msgspec

from claude_code_api.dialects.openai_chat.faults import invalid_value
from claude_code_api.dialects.openai_chat.schema import JsonObjectFormat, JsonSchemaFormat, NamedSchema, Request

Schema = dict[str, Any]

JSON_OBJECT = "Answer with one JSON object and nothing else: no words before or after it, and no code fence around it."
JSON_OF_SCHEMA = JSON_OBJECT + " It is valid under this JSON schema:\n\n"

_PATH = "response_format.json_schema.schema"
_KNOWN = frozenset({
    "type", "enum", "const", "default", "title", "description", "properties", "required", "additionalProperties",
    "items", "minItems", "anyOf", "allOf", "$ref", "$defs", "definitions", "format", "pattern",
})  # fmt: skip
_SAYS_NOTHING = frozenset({"$schema", "$id", "$comment", "discriminator"})
_FORMATS = ("date-time", "time", "date", "duration", "email", "hostname", "uri", "ipv4", "ipv6", "uuid")


def read_output_format(request: Request) -> tuple[Schema | None, str]:
    """The schema that binds the answer (or None), and the words for the system prompt (or ""); never both."""
    match request.response_format:
        case JsonObjectFormat():
            return None, JSON_OBJECT
        case JsonSchemaFormat(json_schema=named):
            return _read_schema(named)
        case _:
            return None, ""


def _read_schema(named: NamedSchema) -> tuple[Schema | None, str]:
    """`strict` binds the answer or is refused. Without it a schema that cannot bind is put in words."""
    schema = named.schema
    if schema.get("type") != "object":
        raise invalid_value("the schema's type is not `object`", _PATH, code="invalid_json_schema")
    if named.description:
        schema.setdefault("description", named.description)
    nodes = list(_nodes(schema))
    if fault := _unbound(schema, nodes):
        if named.strict:
            raise invalid_value(*fault, code="invalid_json_schema")
        return None, JSON_OF_SCHEMA + msgspec.json.encode(schema).decode()
    for _, node in nodes:
        _fit_grammar(node)
    return schema, ""


def _nodes(schema: Any) -> Iterator[tuple[str, Schema]]:
    """The schema and those within it, with their paths; whatever is no schema where one should be is left alone."""
    waiting: list[tuple[str, Any]] = [(_PATH, schema)]
    while waiting:
        path, node = waiting.pop()
        if not isinstance(node, dict):
            continue
        yield path, node
        for key in ("$defs", "definitions", "properties"):
            if isinstance(named := node.get(key), dict):
                waiting += [(f"{path}.{key}.{name}", inner) for name, inner in named.items()]
        for key in ("anyOf", "oneOf", "allOf"):
            if isinstance(listed := node.get(key), list):
                waiting += [(f"{path}.{key}.{index}", inner) for index, inner in enumerate(listed)]
        waiting.append((f"{path}.items", node.get("items")))


def _unbound(schema: Schema, nodes: list[tuple[str, Schema]]) -> tuple[str, str] | None:
    """Why no grammar can be made of a schema, and where; None where one can."""
    for path, node in nodes:
        if _is_open(node):
            return "an object of a strict schema has `properties`, and no `additionalProperties` beside them", path
    recursive = _recursive(schema, nodes)
    for path, node in nodes:
        if node.get("$ref") in recursive:
            return "a strict schema is not recursive: Claude takes none that holds itself", path
    return None


def _recursive(schema: Schema, nodes: list[tuple[str, Schema]]) -> list[str]:
    """References that lead back to themselves, empty where there are none."""
    held = {reference: _references(_nodes(_referred(schema, reference))) for reference in _references(nodes)}
    try:
        TopologicalSorter(held).prepare()
    except CycleError as fault:
        return list(fault.args[1])
    return []


def _references(nodes: Iterable[tuple[str, Schema]]) -> set[str]:
    return {reference for _, node in nodes if isinstance(reference := node.get("$ref"), str)}


def _referred(schema: Schema, reference: str) -> Any:
    """What a JSON pointer (RFC 6901) into the schema itself leads to; None where that is nothing."""
    found: Any = schema if reference.startswith("#") else None
    for name in reference.split("/")[1:]:
        found = found.get(name.replace("~1", "/").replace("~0", "~")) if isinstance(found, dict) else None
    return found


def _is_object(node: Schema) -> bool:
    kind = node.get("type")
    return kind == "object" or (isinstance(kind, list) and "object" in kind) or "properties" in node


def _is_open(node: Schema) -> bool:
    """Whether an object may have fields that the schema does not name, and means to."""
    if "$ref" in node or not _is_object(node):
        return False
    if "additionalProperties" in node:
        return node["additionalProperties"] is not False or "patternProperties" in node
    return "properties" not in node or "patternProperties" in node


def _fit_grammar(node: Schema) -> None:
    """Changes a schema to what Anthropic takes; every answer that fits it then fits it now, bounds aside."""
    if "$ref" in node:  # stands alone
        for key in node.keys() - {"$ref", "$defs", "definitions"}:
            del node[key]
        return
    if _is_object(node):
        node["additionalProperties"] = False
    if "oneOf" in node and "anyOf" not in node:
        node["anyOf"] = node.pop("oneOf")
    unknown = {key: node.pop(key) for key in list(node) if not _is_known(key, node[key])}
    said = [
        f"{key}: {msgspec.json.encode(value).decode()}" for key, value in unknown.items() if key not in _SAYS_NOTHING
    ]
    if said:
        node["description"] = f"{node.get('description') or ''} ({', '.join(said)})".strip()


def _is_known(key: str, value: Any) -> bool:
    if key == "minItems":
        return value in (0, 1)
    if key == "format":
        return value in _FORMATS
    return key in _KNOWN
