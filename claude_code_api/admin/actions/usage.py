"""Usage: at a glance, and by key, model, credential or day."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from datetime import UTC, datetime, timedelta

import msgspec

from claude_code_api.admin.action import Download, Input, Nothing, Parts, action
from claude_code_api.admin.caller import Caller
from claude_code_api.storage.pages import Page
from claude_code_api.usage.figures import Figures
from claude_code_api.usage.overview import Overview, overview
from claude_code_api.usage.report import Line, as_csv, report, spenders
from claude_code_api.usage.sources import By, Filter

LAST_DAYS = timedelta(days=30)
"""What is reported where no `since` is given."""


class UsageAsked(Input, frozen=True, kw_only=True):
    """Of hours of which `since` to `until` holds any part; `key` and `credential` may be names."""

    by: By = "key"
    since: datetime | None = None
    until: datetime | None = None
    key: str | None = None
    model: str | None = None
    credential: str | None = None


class KeysOfUsageAsked(Input, frozen=True, kw_only=True):
    """Of days (UTC) of which `since` to `until` holds any part; `after` is the `next` of the page before."""

    since: datetime | None = None
    until: datetime | None = None
    key: str | None = None
    model: str | None = None
    credential: str | None = None
    after: str | None = None
    limit: int = 50


class UsageReport(msgspec.Struct, frozen=True, kw_only=True):
    """Days in their order, all else by cost, dearest first."""

    by: By
    since: datetime
    until: datetime | None
    data: list[Line]
    total: Figures


@action("GET", "/usage", "viewer")
async def show_usage(parts: Parts, _: Caller, asked: UsageAsked) -> UsageReport:
    """Tell requests, tokens and cost by key, model, credential or day."""
    wanted = await _filter(parts, asked)
    lines = await report(parts.access.database, asked.by, wanted)
    total = Figures.sum(line.figures for line in lines)
    return UsageReport(by=asked.by, since=wanted.since, until=wanted.until, data=lines, total=total)


@action("GET", "/usage/keys", "viewer")
async def list_spenders(parts: Parts, _: Caller, asked: KeysOfUsageAsked) -> Page[Line]:
    """List the keys that cost most, page by page: fast for any number of them."""
    return await spenders(parts.access.database, await _filter(parts, asked), after=asked.after, limit=asked.limit)


@action("GET", "/usage/overview", "viewer")
async def show_overview(parts: Parts, _: Caller, __: Nothing) -> Overview:
    """Tell the last hour, day and month."""
    return await overview(parts.access.database)


@action("GET", "/usage/export", "viewer", files=("text/csv",))
async def export_usage(parts: Parts, _: Caller, asked: UsageAsked) -> Download:
    """Give the same as comma-separated values."""
    lines = await report(parts.access.database, asked.by, await _filter(parts, asked))

    async def chunks() -> AsyncGenerator[bytes, None]:
        for line in as_csv(asked.by, lines):
            yield line.encode()

    return Download(f"usage-by-{asked.by}.csv", b"text/csv; charset=utf-8", chunks())


async def _filter(parts: Parts, asked: UsageAsked | KeysOfUsageAsked) -> Filter:
    return Filter(
        since=asked.since or datetime.now(UTC) - LAST_DAYS,
        until=asked.until,
        key_id=(await parts.access.keys.get(asked.key)).id if asked.key else None,
        model=asked.model,
        credential_id=(await parts.access.credentials.get(asked.credential)).id if asked.credential else None,
    )
