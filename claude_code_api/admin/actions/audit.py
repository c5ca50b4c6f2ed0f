"""The audit log: page by page, as a file, and whether it is whole."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing
from datetime import datetime
from typing import Any, Literal

import msgspec

from claude_code_api.admin.action import Download, Input, Nothing, Parts, action
from claude_code_api.admin.caller import Caller
from claude_code_api.audit import Entry
from claude_code_api.audit.listing import EntryFilter, as_csv, as_json_lines
from claude_code_api.audit.verification import Verified


class EntriesAsked(Input, frozen=True, kw_only=True):
    """`action` is a whole one (`key.created`) or its first word (`key`); `after` is the `next` of the page before."""

    actor: str | None = None
    action: str | None = None
    target: str | None = None
    since: datetime | None = None
    until: datetime | None = None
    after: str | None = None
    limit: int = 50

    @property
    def filter(self) -> EntryFilter:
        return EntryFilter(actor=self.actor, action=self.action, target=self.target, since=self.since, until=self.until)


class EntriesExported(EntriesAsked, frozen=True, kw_only=True):
    format: Literal["csv", "jsonl"] = "csv"


class AuditEntry(msgspec.Struct, frozen=True, kw_only=True):
    """`code` binds the entry and all before it, in hexadecimal."""

    number: int
    at: datetime
    actor: str
    action: str
    target: str | None
    details: dict[str, Any]
    code: str

    @classmethod
    def of(cls, entry: Entry) -> AuditEntry:
        return cls(
            number=entry.number,
            at=entry.at,
            actor=entry.actor,
            action=entry.action,
            target=entry.target,
            details=entry.said,
            code=entry.code.hex(),
        )


class AuditPage(msgspec.Struct, frozen=True, kw_only=True):
    """Newest first."""

    items: list[AuditEntry] = msgspec.field(name="data")
    next: str | None


class AuditFault(msgspec.Struct, frozen=True):
    """What is wrong with the log; `number` is the entry at which it shows."""

    number: int
    message: str


class AuditState(msgspec.Struct, frozen=True, kw_only=True):
    """Whether the log is whole, as far as it was looked through; `entries` and the moments are None before that."""

    intact: bool | None
    entries: int | None
    whole_at: datetime | None
    at: datetime | None
    faults: list[AuditFault]

    @classmethod
    def of(cls, verified: Verified | None) -> AuditState:
        if verified is None:
            return cls(intact=None, entries=None, whole_at=None, at=None, faults=[])
        return cls(
            intact=verified.intact,
            entries=verified.entries,
            whole_at=verified.whole_at,
            at=verified.at,
            faults=[AuditFault(each.number, each.message) for each in verified.faults],
        )


@action("GET", "/audit", "viewer")
async def list_entries(parts: Parts, _: Caller, asked: EntriesAsked) -> AuditPage:
    """List the entries of the audit log, newest first."""
    page = await parts.access.audit.page(asked.filter, after=asked.after, limit=asked.limit)
    return AuditPage(items=[AuditEntry.of(entry) for entry in page.items], next=page.next)


@action("GET", "/audit/export", "viewer", files=("text/csv", "application/jsonl"))
async def export_entries(parts: Parts, _: Caller, asked: EntriesExported) -> Download:
    """Give the entries as a file, oldest first."""

    async def chunks() -> AsyncGenerator[bytes, None]:
        async with aclosing(parts.access.audit.every(asked.filter)) as entries:
            if asked.format == "jsonl":
                async for line in as_json_lines(entries):
                    yield line
            else:
                async for text in as_csv(entries):
                    yield text.encode()

    content_type = b"text/csv; charset=utf-8" if asked.format == "csv" else b"application/jsonl"
    return Download(f"audit.{asked.format}", content_type, chunks())


@action("GET", "/audit/state", "viewer")
async def show_audit_state(parts: Parts, _: Caller, __: Nothing) -> AuditState:
    """Tell whether the audit log is whole, up to now."""
    return AuditState.of(await parts.access.audit.verification.onward())


@action("POST", "/audit/verify", "viewer")
async def verify_audit(parts: Parts, _: Caller, __: Nothing) -> AuditState:
    """Look through the whole audit log."""
    return AuditState.of(await parts.access.audit.verification.whole())
