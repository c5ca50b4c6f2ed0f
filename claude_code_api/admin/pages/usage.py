"""Usage: by key, model, credential or day, of a time that can be chosen."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import Any, Final
from urllib.parse import urlencode

from claude_code_api.admin.actions.usage import UsageReport, show_usage
from claude_code_api.admin.api import PREFIX
from claude_code_api.admin.pages import figures
from claude_code_api.admin.pages.rendering import Form
from claude_code_api.admin.pages.visit import MENDED, Answer, Shown, Visit, view
from claude_code_api.errors import InvalidRequest, NotFound, RequestFailure
from claude_code_api.usage.figures import Figures

GROUPINGS: Final = {"key": "Key", "model": "Model", "credential": "Credential", "day": "Day"}
FILTERS: Final[tuple[str, ...]] = ("key", "model", "credential")
LAST_DAYS = timedelta(days=29)
MOST = 200
"""Lines on the page; the file has all of them."""
LONGEST_CHART = 100  # days


@view("GET", "/admin/usage", "viewer")
async def show(visit: Visit) -> Answer:
    """Days are those of UTC, and both of those that are named belong to it."""
    by = visit.query.get("by", "key")
    today = datetime.now(UTC).date()
    shown = {"since": (today - LAST_DAYS).isoformat(), "until": today.isoformat()}
    shown |= {name: value for name, value in visit.query.items() if name in {*shown, *FILTERS}}
    failure: RequestFailure | None = None
    report = daily = None
    try:
        asked = {name: shown[name] for name in FILTERS if name in shown} | _moments(shown)
        report = await visit.do(show_usage, **asked, by=by)
        daily = report if by == "day" else await visit.do(show_usage, **asked, by="day")
    except (*MENDED, NotFound) as refused:
        failure = refused
    return Shown(
        "usage.html",
        "usage",
        {
            "by": by,
            "by_text": GROUPINGS.get(by, "Key"),
            "groupings": [(each, f"By {text.lower()}", _page(shown, by=each)) for each, text in GROUPINGS.items()],
            "csv": f"{PREFIX}/usage/export?{urlencode({**asked, 'by': by})}" if report else None,
            "form": _form(shown, failure),
            "figures": _figures(daily) if daily and daily.data else [],
            "lines": report.data[:MOST] if report else [],
            "left": max(0, len(report.data) - MOST) if report else 0,
            "most": max((line.figures.cost for line in report.data), default=0) if report else 0,
            "total": report.total if report else Figures(),
        },
        failure.status if failure else 200,
    )


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
