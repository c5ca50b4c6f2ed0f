"""Usage: by key, model, credential or day, of a time that can be chosen."""

from __future__ import annotations

import asyncio
from datetime import UTC, date, datetime, timedelta
from typing import Any, Final
from urllib.parse import urlencode

from claude_code_api.admin.actions.usage import UsageReport, list_spenders, show_usage
from claude_code_api.admin.api import PREFIX
from claude_code_api.admin.pages import figures
from claude_code_api.admin.pages.rendering import Form
from claude_code_api.admin.pages.visit import MENDED, Answer, Shown, Visit, view
from claude_code_api.admin.pages.wording import count
from claude_code_api.errors import InvalidRequest, NotFound, RequestFailure
from claude_code_api.storage.pages import Page
from claude_code_api.usage.figures import Figures
from claude_code_api.usage.report import Line

GROUPINGS: Final = {"key": "Key", "model": "Model", "credential": "Credential", "day": "Day"}
FILTERS: Final[tuple[str, ...]] = ("key", "model", "credential")
LAST_DAYS = timedelta(days=29)
LONGEST_CHART = 100  # days


@view("GET", "/admin/usage", "viewer")
async def show(visit: Visit) -> Answer:
    """Days are those of UTC, and both of those that are named belong to it."""
    by = visit.query.get("by", "key")
    today = datetime.now(UTC).date()
    shown = {"since": (today - LAST_DAYS).isoformat(), "until": today.isoformat()}
    shown |= {name: value for name, value in visit.query.items() if name in {*shown, *FILTERS}}
    failure: RequestFailure | None = None
    daily, lines, on = None, Page[Line](items=(), total=0, next=None), None
    try:
        asked = {name: shown[name] for name in FILTERS if name in shown} | _moments(shown)
        daily, lines = await asyncio.gather(  # each reads for itself
            visit.do(show_usage, **asked, by="day"), _lines(visit, asked, by)
        )
        on = lines.next and _page(shown, by=by, after=lines.next)
    except (*MENDED, NotFound) as refused:
        failure = refused
    return Shown(
        "usage.html",
        "usage",
        {
            "by": by,
            "by_text": GROUPINGS.get(by, "Key"),
            "groupings": [(each, f"By {text.lower()}", _page(shown, by=each)) for each, text in GROUPINGS.items()],
            "csv": f"{PREFIX}/usage/export?{urlencode({**asked, 'by': by})}" if daily else None,
            "form": _form(shown, failure),
            "figures": _figures(daily) if daily and daily.data else [],
            "lines": lines.items,
            "told": f"{count(lines.total)} in all",
            "back": _page(shown, by=by) if "after" in visit.query else None,
            "on": on,
            "most": max((line.figures.cost for line in lines.items), default=0),
            "total": daily.total if daily else Figures(),
        },
        failure.status if failure else 200,
    )


async def _lines(visit: Visit, asked: dict[str, str], by: str) -> Page[Line]:
    """Keys may be many, so they come page by page, dearest first; of all else there are few."""
    if by == "key" and "key" not in asked:
        after = {name: value for name, value in visit.query.items() if name == "after"}
        return await visit.do(list_spenders, **asked, **after)
    found = (await visit.do(show_usage, **asked, by=by)).data
    return Page(items=tuple(found), total=len(found), next=None)


def _moments(shown: dict[str, str]) -> dict[str, str]:
    """From the beginning of one day to the end of another; the admin API takes moments."""
    days = {}
    for name in ("since", "until"):
        try:
            days[name] = date.fromisoformat(shown[name])
        except ValueError:
            raise InvalidRequest("A day is like 2026-03-04.", param=name) from None
    if days["until"] < days["since"]:
        raise InvalidRequest("The last day comes before the first.", param="until")
    ends = min(days["until"], date.max - timedelta(days=1)) + timedelta(days=1)
    return {"since": f"{days['since']}T00:00:00Z", "until": f"{ends}T00:00:00Z"}


def _figures(daily: UsageReport) -> list[figures.Figure]:
    """Requests and cost by day, as long as the days can be told apart."""
    last = min(daily.until or datetime.now(UTC), datetime.now(UTC)) - timedelta(microseconds=1)
    first = max(daily.since, datetime.fromisoformat(f"{daily.data[0].id}T00:00:00Z"))
    if (last - first).days > LONGEST_CHART:
        return []
    days = figures.by_day(((line.id, line.figures) for line in daily.data), first, last)
    return [figures.requests(days, daily.total), figures.cost(days, daily.total)]


def _form(shown: dict[str, str], failure: RequestFailure | None) -> Form:
    if failure is None:
        return Form("usage", shown)
    if failure.param in {*shown, *FILTERS}:
        return Form("usage", shown, {str(failure.param): failure.message}, "Nothing can be shown yet")
    return Form("usage", shown, {}, failure.message)


def _page(shown: dict[str, str], **more: Any) -> str:
    return f"/admin/usage?{urlencode({**shown, **more})}"
