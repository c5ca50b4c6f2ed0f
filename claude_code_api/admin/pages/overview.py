"""The first page: what was used, what needs attention, and the way to the first answer."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Final

import msgspec

from claude_code_api.admin.actions.attention import show_attention
from claude_code_api.admin.actions.credentials import list_credentials
from claude_code_api.admin.actions.keys import list_keys
from claude_code_api.admin.actions.usage import show_overview
from claude_code_api.admin.pages import figures
from claude_code_api.admin.pages.noticed import noticed
from claude_code_api.admin.pages.visit import Answer, Shown, Visit, view
from claude_code_api.usage.report import spenders
from claude_code_api.usage.sources import Filter

SPANS: Final = {"hour": "Hour", "day": "Day", "month": "30 days"}
_LENGTHS: Final = {"hour": timedelta(hours=1), "day": timedelta(hours=23), "month": timedelta(days=29)}
DEAREST = 5


class Step(msgspec.Struct, frozen=True):
    title: str
    text: str
    action: str
    address: str
    done: bool
    next: bool


@view("GET", "/admin", "viewer")
async def show(visit: Visit) -> Answer:
    span = visit.query.get("span", "day")
    span = span if span in SPANS else "day"
    asked = Filter(since=datetime.now(UTC) - _LENGTHS[span])
    windows, dearest, attention = await asyncio.gather(  # each of them reads for itself
        visit.do(show_overview),
        spenders(visit.parts.access.database, asked, limit=DEAREST),
        visit.do(show_attention),
    )
    used = windows.month.total.requests > 0
    values = {
        "span": span,
        "spans": SPANS.items(),
        "steps": [] if used else await _steps(visit),
        "attention": noticed(attention, visit.caller),
        "figures": figures.of_window(getattr(windows, span)),
        "dearest": dearest.items,
    }
    return Shown("overview.html", "overview", values)


async def _steps(visit: Visit) -> list[Step]:
    """As long as nothing was ever asked."""
    stored = bool((await visit.do(list_credentials)).data)
    made = (await visit.do(list_keys, limit=1)).total > 0
    return [
        Step(
            "Store a token",
            "What claude setup-token prints where you are signed in to Claude, or an Anthropic API key.",
            "Add a credential",
            "/admin/credentials/new",
            stored,
            not stored,
        ),
        Step(
            "Make an API key",
            "What a program presents in its place. It can be limited, rotated and revoked alone.",
            "Make a key",
            "/admin/keys/new",
            made,
            stored and not made,
        ),
        Step(
            "Send a request",
            "With one of the snippets beside the key, or in the playground.",
            "Open the playground",
            "/admin/playground",
            False,
            made,
        ),
    ]
