"""Refusals of a request, each with the path of the field at fault."""

from __future__ import annotations

import msgspec

from claude_code_api.errors import InvalidRequest


def invalid_messages(reason: str, path: str, code: str = "invalid_messages") -> InvalidRequest:
    """A fault of `messages`; its message begins as policy V1 demands."""
    return InvalidRequest(f"Invalid request format: `{path}`: {reason}.", code=code, param=path)


def invalid_value(reason: str, path: str, code: str = "invalid_value") -> InvalidRequest:
    return InvalidRequest(f"`{path}`: {reason}.", code=code, param=path)


def unsupported(path: str, tagged: msgspec.Struct | None = None) -> InvalidRequest:
    """What Claude has nothing for: the field itself, or (`tagged`) the kind of thing that stands in it."""
    what = f"`{path}`" if tagged is None else f"`{path}`: {tagged.__struct_config__.tag}"
    return InvalidRequest(f"{what} is not supported.", code="unsupported_parameter", param=path)
