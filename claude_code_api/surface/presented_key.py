"""The API key that a request presents."""

from __future__ import annotations

from claude_code_api.errors import Unauthenticated
from claude_code_api.secret import Secret
from claude_code_api.surface.asgi import Fields


def presented_key(fields: Fields) -> Secret | None:
    """From `Authorization: Bearer …` or `x-api-key: …`, None where there is neither.

    Unauthenticated where one is malformed or they differ: a proxy in front and the gateway must not disagree
    on whose request it is.
    """
    values = {_key(name, value) for name, value in fields if name in (b"authorization", b"x-api-key")}
    if len(values) > 1:
        raise Unauthenticated("The request presents two different API keys.")
    return Secret(values.pop()) if values else None


def _key(name: bytes, value: bytes) -> str:
    scheme, _, key = value.partition(b" ") if name == b"authorization" else (b"bearer", b"", value)
    key = key.strip(b" \t")
    if scheme.lower() != b"bearer" or not key or not key.isascii() or b" " in key:
        raise Unauthenticated("Present the API key as `Authorization: Bearer sk-…` or `x-api-key: sk-…`.")
    return key.decode("ascii")
