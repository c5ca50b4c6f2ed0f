"""`GET /metrics`: the gateway in figures, for Prometheus with an admin token and for whoever is signed in."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from claude_code_api.admin.caller import Caller
from claude_code_api.operations.metrics import Exposition
from claude_code_api.surface.exchange import Exchange

PATH = "/metrics"

Expose = Callable[[str], Awaitable[Exposition]]
"""All metrics as they are now, in the format that an `Accept` header asks for."""


async def answer(exchange: Exchange, caller: Caller, expose: Expose) -> None:
    caller.require("viewer")
    exposition = await expose(exchange.headers.get(b"accept", b"").decode("latin-1"))
    await exchange.answer(200, exposition.body, content_type=exposition.content_type)
