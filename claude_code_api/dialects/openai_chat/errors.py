"""A failure in the shape of OpenAI's errors."""

from __future__ import annotations

import msgspec

from claude_code_api.errors import RequestFailure


def error(failure: RequestFailure) -> bytes:
    """`{"error": {"message", "type", "param", "code"}}` as JSON; `param` is null where no field is at fault."""
    fault = {"message": failure.message, "type": failure.type, "param": failure.param, "code": failure.code}
    return msgspec.json.encode({"error": fault})
