"""Bodies as the interface's description has them, and bodies that part from it in places."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from claude_code_api.surface.description import description

COMPONENTS = description(())["components"]["schemas"]

junk = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=10) | st.just("x" * 2000)
    | st.sampled_from(["user", "tool", "text", "{}", "[", "data:image/png;base64,AAAA", "http://[", "\x00", "\ud800"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)  # fmt: skip
texts = st.text(max_size=12) | st.sampled_from(["call_1", "look", "{}", '{"a": 1}', " ", "data:,x", "JVBERi0xLjQ="])
schemas = st.fixed_dictionaries(
    {},
    optional={
        "type": st.sampled_from(["object", "array", "string"]) | junk,
        "properties": st.dictionaries(st.text(max_size=3), st.just({"type": "string"}) | junk, max_size=2),
        "additionalProperties": st.booleans() | junk,
        "required": st.lists(st.text(max_size=3), max_size=2) | junk,
    },
)


def bodies(*, wild: bool) -> st.SearchStrategy[dict[str, Any]]:
    """Requests for a chat; wild ones have something else in place of a value here and there."""
    whole = _values({"$ref": "#/components/schemas/Request"}, wild)
    plain = {"messages": [{"role": "user", "content": "Hello"}]}  # else most end at histories that do not fit together
    return whole | whole.map(lambda body: body | plain if isinstance(body, dict) else body)


def _values(schema: dict[str, Any], wild: bool) -> st.SearchStrategy[Any]:
    if "$ref" in schema:
        return st.deferred(lambda: _values(COMPONENTS[schema["$ref"].rpartition("/")[2]], wild))
    true = _true(schema, wild)
    return st.integers(0, 39).flatmap(lambda odds: true if odds else junk) if wild else true


def _true(schema: dict[str, Any], wild: bool) -> st.SearchStrategy[Any]:
    if "anyOf" in schema:
        return st.one_of([_values(choice, wild) for choice in schema["anyOf"]])
    if "enum" in schema:
        return st.sampled_from(schema["enum"])
    if "const" in schema:
        return st.just(schema["const"])
    match schema.get("type"):
        case "object" if "properties" in schema:
            fields = {name: _values(field, wild) for name, field in schema["properties"].items()}
            required = {name: fields.pop(name) for name in schema.get("required", ())}
            if not fields:
                return st.fixed_dictionaries(required)
            some = st.lists(st.sampled_from(sorted(fields)), max_size=4)  # all at once never fit together
            return some.flatmap(lambda names: st.fixed_dictionaries(required | {name: fields[name] for name in names}))
        case "object":
            return schemas
        case "array":
            return st.lists(_values(schema["items"], wild), min_size=schema.get("minItems", 0), max_size=4)
        case "string" if "pattern" in schema:
            return st.sampled_from(["look", "a-b_c", "n" * 64])
        case "string":
            return texts if "minLength" not in schema else texts.filter(bool)
        case "integer":
            return st.integers(schema.get("minimum"), schema.get("maximum"))
        case "number":
            return st.floats(schema.get("minimum"), schema.get("maximum"))
        case "boolean":
            return st.booleans()
        case "null":
            return st.none()
    return junk
