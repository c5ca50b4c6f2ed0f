"""`/openapi.json`, `/docs` and its style: built once, the same for everybody, without a key."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from importlib.resources import files

import msgspec

from claude_code_api.surface.description import Described, Json, description
from claude_code_api.surface.docs_page import docs_page
from claude_code_api.surface.exchange import Exchange

POLICY = b"default-src 'none'; style-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

Handler = Callable[[Exchange], Awaitable[None]]


def documentation(health_paths: Iterable[str], more: Described | None = None) -> dict[str, Handler]:
    """What answers under which path; `more` is described behind the rest."""
    pages = _pages(description(health_paths, more))
    return {path: _handler(body, content_type) for path, (body, content_type) in pages.items()}


def _pages(described: Json) -> dict[str, tuple[bytes, bytes]]:
    style = files("claude_code_api.surface").joinpath("pages", "docs.css").read_bytes()
    return {
        "/openapi.json": (msgspec.json.encode(described), b"application/json"),
        "/docs": (docs_page(described), b"text/html; charset=utf-8"),
        "/docs.css": (style, b"text/css; charset=utf-8"),
    }


def _handler(body: bytes, content_type: bytes) -> Handler:
    async def answer(exchange: Exchange) -> None:
        exchange.content_policy = POLICY
        await exchange.answer(200, body, content_type=content_type)

    return answer
