"""JSON Schema, draft 2020-12: whether a value is a schema, as far as types tell it.

Anthropic refuses a request with a tool whose schema is none. Claude Code leaves such a tool out and asks without it,
or, where it cannot read the schema at all, without any tool.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, Union

import msgspec
from msgspec import UNSET, Meta, UnsetType

Kind = Literal["array", "boolean", "integer", "null", "number", "object", "string"]
Node = Union["Schema", bool]
Count = Annotated[float, Meta(ge=0, multiple_of=1)]
Some = Annotated[list[Node], Meta(min_length=1)]
Named = dict[str, Node]


class Schema(msgspec.Struct, rename={"ref": "$ref", "defs": "$defs", "identifier": "$id", "comment": "$comment",
                                     "dialect": "$schema", "anchor": "$anchor", "not_": "not", "if_": "if",
                                     "else_": "else"}):  # fmt: skip
    """What stands in a schema, where it is more than a value; keywords that are not here may be anything."""

    type: Kind | Annotated[list[Kind], Meta(min_length=1)] | UnsetType = UNSET
    ref: str | UnsetType = UNSET
    identifier: Annotated[str, Meta(pattern=r"^[^#]*#?$(?!\n)")] | UnsetType = UNSET
    anchor: Annotated[str, Meta(pattern=r"^[A-Za-z_][-A-Za-z0-9._]*$(?!\n)")] | UnsetType = UNSET
    dialect: str | UnsetType = UNSET
    comment: str | UnsetType = UNSET
    title: str | UnsetType = UNSET
    description: str | UnsetType = UNSET
    format: str | UnsetType = UNSET
    pattern: str | UnsetType = UNSET
    enum: list[Any] | UnsetType = UNSET
    examples: list[Any] | UnsetType = UNSET
    required: list[str] | UnsetType = UNSET
    properties: Named | UnsetType = UNSET
    patternProperties: Named | UnsetType = UNSET  # noqa: N815 - as it is written
    dependentSchemas: Named | UnsetType = UNSET  # noqa: N815
    dependentRequired: dict[str, list[str]] | UnsetType = UNSET  # noqa: N815
    defs: Named | UnsetType = UNSET
    definitions: Named | UnsetType = UNSET
    additionalProperties: Node | UnsetType = UNSET  # noqa: N815
    unevaluatedProperties: Node | UnsetType = UNSET  # noqa: N815
    propertyNames: Node | UnsetType = UNSET  # noqa: N815
    items: Node | UnsetType = UNSET
    unevaluatedItems: Node | UnsetType = UNSET  # noqa: N815
    contains: Node | UnsetType = UNSET
    prefixItems: Some | UnsetType = UNSET  # noqa: N815
    anyOf: Some | UnsetType = UNSET  # noqa: N815
    oneOf: Some | UnsetType = UNSET  # noqa: N815
    allOf: Some | UnsetType = UNSET  # noqa: N815
    not_: Node | UnsetType = UNSET
    if_: Node | UnsetType = UNSET
    then: Node | UnsetType = UNSET
    else_: Node | UnsetType = UNSET
    minimum: float | UnsetType = UNSET
    maximum: float | UnsetType = UNSET
    exclusiveMinimum: float | UnsetType = UNSET  # noqa: N815
    exclusiveMaximum: float | UnsetType = UNSET  # noqa: N815
    multipleOf: Annotated[float, Meta(gt=0)] | UnsetType = UNSET  # noqa: N815
    minLength: Count | UnsetType = UNSET  # noqa: N815
    maxLength: Count | UnsetType = UNSET  # noqa: N815
    minItems: Count | UnsetType = UNSET  # noqa: N815
    maxItems: Count | UnsetType = UNSET  # noqa: N815
    minContains: Count | UnsetType = UNSET  # noqa: N815
    maxContains: Count | UnsetType = UNSET  # noqa: N815
    minProperties: Count | UnsetType = UNSET  # noqa: N815
    maxProperties: Count | UnsetType = UNSET  # noqa: N815
    uniqueItems: bool | UnsetType = UNSET  # noqa: N815
    deprecated: bool | UnsetType = UNSET
    readOnly: bool | UnsetType = UNSET  # noqa: N815
    writeOnly: bool | UnsetType = UNSET  # noqa: N815

    def __post_init__(self) -> None:
        for name in (self.type, self.required):
            if isinstance(name, list) and len(set(name)) < len(name):
                raise ValueError("the same name twice in `type` or `required`")


def fault_of(schema: dict[str, Any]) -> tuple[str, str] | None:
    """What is wrong, and where (`.properties.x`, empty for the schema itself); None where it is a schema."""
    try:
        msgspec.convert(schema, Schema)
    except msgspec.ValidationError as fault:
        reason, _, path = str(fault).rpartition(" - at `$")
        return (reason, path.removesuffix("`")) if reason else (str(fault), "")
    return None
