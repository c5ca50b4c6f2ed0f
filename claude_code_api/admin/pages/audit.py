"""The audit log: who did what, and whether the log is whole."""

from __future__ import annotations

from datetime import date, timedelta
from typing import Final
from urllib.parse import urlencode

from claude_code_api.admin.actions.audit import AuditPage, list_entries, show_audit_state, verify_audit
from claude_code_api.admin.api import PREFIX
from claude_code_api.admin.pages.rendering import Form
from claude_code_api.admin.pages.visit import MENDED, Answer, Elsewhere, Shown, Visit, view
from claude_code_api.errors import InvalidRequest, RequestFailure

FILTERS: Final[tuple[str, ...]] = ("action", "actor", "target", "since", "until")
ACTIONS: Final = ("key", "credential", "administrator", "session", "second_factor", "admin_token", "login.refused",
                  "key.refused", "audit", "vault")  # fmt: skip
"""First words of actions, and some whole ones, to be offered."""


@view("GET", "/admin/audit", "viewer")
async def listed(visit: Visit) -> Answer:
    kept = {name: visit.query[name] for name in FILTERS if name in visit.query}
    failure: RequestFailure | None = None
    page, asked = AuditPage(items=[], next=None), {}
    try:
        asked = _moments(kept)
        page = await visit.do(list_entries, **asked, **{k: v for k, v in visit.query.items() if k == "after"})
    except MENDED as refused:
        failure = refused
    export = f"{PREFIX}/audit/export?{urlencode(asked)}&format="
    return Shown(
        "audit.html",
        "audit",
        {
            "entries": page.items,
            "state": await visit.do(show_audit_state),
            "filtered": bool(kept),
            "form": _form(kept, failure),
            "actions": ACTIONS,
            "exports": {"csv": export + "csv", "jsonl": export + "jsonl"},
            "back": _address(kept) if "after" in visit.query else None,
            "on": _address({**kept, "after": page.next}) if page.next else None,
        },
        failure.status if failure else 200,
    )


@view("POST", "/admin/audit/verify", "viewer")
async def verify(visit: Visit) -> Answer:
    await visit.do(verify_audit)
    return Elsewhere("/admin/audit")


def _moments(kept: dict[str, str]) -> dict[str, str]:
    """Days (UTC) as the moments that the admin API takes; the last one belongs to what is asked for."""
    asked = dict(kept)
    for name, more in (("since", 0), ("until", 1)):
        if name in kept:
            try:
                day = date.fromisoformat(kept[name]) + timedelta(days=more)
            except (ValueError, OverflowError):
                raise InvalidRequest("A day is like 2026-03-04.", param=name) from None
            asked[name] = f"{day}T00:00:00Z"
    return asked


def _form(kept: dict[str, str], failure: RequestFailure | None) -> Form:
    if failure is None:
        return Form("audit", kept)
    at_field = failure.param in FILTERS
    errors = {str(failure.param): failure.message} if at_field else {}
    return Form("audit", kept, errors, "Nothing can be shown yet" if at_field else failure.message)


def _address(kept: dict[str, str]) -> str:
    return f"/admin/audit?{urlencode(kept)}" if kept else "/admin/audit"
