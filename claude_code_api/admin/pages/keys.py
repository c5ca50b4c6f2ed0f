"""API keys: the list, a new one, one of them, and what ends it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, get_args
from urllib.parse import urlencode

import msgspec

from claude_code_api.access import ApiKey
from claude_code_api.access.api_keys import GRACE
from claude_code_api.access.key_listing import Sort
from claude_code_api.admin.actions.credentials import list_credentials
from claude_code_api.admin.actions.keys import change_key, create_key, list_keys, revoke_key, rotate_key, show_key
from claude_code_api.admin.actions.usage import show_usage
from claude_code_api.admin.pages import figures
from claude_code_api.admin.pages.rendering import Form
from claude_code_api.admin.pages.snippets import snippets
from claude_code_api.admin.pages.visit import MENDED, Answer, Elsewhere, Shown, Visit, view
from claude_code_api.admin.pages.wording import count
from claude_code_api.errors import NotFound, RequestFailure
from claude_code_api.gateway.models import DEFAULT_NAMES

SECTION = "keys"
FILTERS = ("search", "state", "credential")
SHOWN_FOR = timedelta(days=29)
"""How far back a key's own chart goes."""
TO_THE_MINUTE = "%Y-%m-%dT%H:%M"


class Sorting(msgspec.Struct, frozen=True):
    """Which column a list is sorted by, and the addresses of the others. Names begin with A, times with the last."""

    column: Sort
    descending: bool
    kept: Mapping[str, str]

    def address(self, column: Sort) -> str:
        descending = not self.descending if column == self.column else column != "name"
        return _address(self.kept, sort=column, descending="true" if descending else "false")


@view("GET", "/admin/keys", "viewer")
async def listed(visit: Visit) -> Answer:
    asked = {name: value for name, value in visit.query.items() if name != "done"}
    found = await visit.do(list_keys, **asked)
    credentials = (await visit.do(list_credentials)).data
    kept = {name: asked[name] for name in FILTERS if name in asked}
    sort = asked.get("sort", "created_at")
    column: Sort = next(each for each in get_args(Sort) if each == sort)
    descending = asked.get("descending", "true") == "true"
    ordered = {name: value for name, value in asked.items() if name in {"sort", "descending"}}
    return Shown(
        "keys.html",
        SECTION,
        {
            "rows": found.items,
            "filtered": bool(kept),
            "form": Form("filter", asked),
            "credentials": [("", "Any"), *((each.id, each.name) for each in credentials)],
            "names": {each.id: each.name for each in credentials},
            "sorting": Sorting(column, descending, kept),
            "told": f"{count(found.total)} {'key' if found.total == 1 else 'keys'}",
            "back": _address({**kept, **ordered}) if "after" in asked else None,
            "on": _address({**kept, **ordered}, after=found.next) if found.next else None,
        },
    )


# --- a new one --------------------------------------------------------------------------------------------


@view("GET", "/admin/keys/new", "admin")
async def new(visit: Visit) -> Answer:
    stored = (await visit.do(list_credentials)).data
    first = {"credential": stored[0].id} if stored else {}
    return await _new(visit, Form("new", {**first, **visit.query}))


@view("POST", "/admin/keys/new", "admin")
async def create(visit: Visit) -> Answer:
    """The text of the key stands in this answer alone."""
    given: dict[str, Any] = {**_limits(visit.form), "name": visit.form.get("name", "")}
    given |= {name: visit.form[name] for name in ("credential", "token") if name in visit.form}
    if "token" in given:  # what was pasted counts, whatever is chosen above it
        given.pop("credential", None)
    try:
        if days := visit.form.get("lifetime"):
            given["expires_at"] = datetime.now(UTC) + timedelta(days=min(int(days), 3650))
        made = await visit.do(create_key, **given)
    except (*MENDED, NotFound, ValueError) as failure:
        told = failure if isinstance(failure, RequestFailure) else NotFound("Choose when it ends.", param="lifetime")
        form = visit.failed_form("new", told, "name", "token", "credential", "lifetime", *_LIMITS)
        return await _new(visit, form, told)
    return await _created(visit, made.record, made.key)


# --- one of them ------------------------------------------------------------------------------------------


@view("GET", "/admin/keys/{id}", "viewer")
async def one(visit: Visit) -> Answer:
    return await _one(visit, await visit.do(show_key, id=visit.path["id"]))


@view("POST", "/admin/keys/{id}", "admin")
async def change(visit: Visit) -> Answer:
    key = await visit.do(show_key, id=visit.path["id"])
    given: dict[str, Any] = {**dict.fromkeys(_LIMITS), "models": (), **_limits(visit.form)}
    given |= {"name": visit.form.get("name", ""), "if_version": visit.form.get("if_version")}
    ends = visit.form.get("expires_at")
    if ends != _ends(key):  # which is told to the minute; what was not touched stays to the second
        given["expires_at"] = ends and f"{ends[:16]}:00Z"
    try:
        await visit.do(change_key, id=key.id, **given)
    except MENDED as failure:
        return await _one(visit, key, visit.failed_form("edit", failure, "name", "expires_at", *_LIMITS), failure)
    return Elsewhere(f"/admin/keys/{key.id}?done=key-saved")


@view("POST", "/admin/keys/{id}/rotate", "admin")
async def rotate(visit: Visit) -> Answer:
    """The text of the new key stands in this answer alone."""
    key = await visit.do(show_key, id=visit.path["id"])
    try:
        made = await visit.do(rotate_key, id=key.id, **visit.form)
    except MENDED as failure:
        return await _one(visit, key, visit.failed_form("edit", failure), failure)
    old = await visit.do(show_key, id=key.id)
    return await _created(visit, made.record, made.key, old)


@view("GET", "/admin/keys/{id}/revoke", "admin")
async def ask_to_revoke(visit: Visit) -> Answer:
    key = await visit.do(show_key, id=visit.path["id"])
    return Shown(
        "confirm.html",
        SECTION,
        {
            "title": f"Revoke {key.name}?",
            "back": f"/admin/keys/{key.id}",
            "back_text": key.name,
            "sentences": [
                "Programs that hold this key are refused at once, and answers that run under it end.",
                "It cannot be brought back: a new key takes its place.",
            ],
            "breaks": [],
            "hidden": {},
            "action": f"/admin/keys/{key.id}/revoke",
            "button": "Revoke the key",
            "form": Form("revoke"),
        },
    )


@view("POST", "/admin/keys/{id}/revoke", "admin")
async def revoke(visit: Visit) -> Answer:
    key = await visit.do(revoke_key, id=visit.path["id"])
    return Elsewhere(f"/admin/keys/{key.id}?done=key-revoked")


# --- parts ------------------------------------------------------------------------------------------------


async def _new(visit: Visit, form: Form, failure: RequestFailure | None = None) -> Answer:
    credentials = [(each.id, each.name) for each in (await visit.do(list_credentials)).data]
    values = {"form": form, "credentials": credentials, "models": sorted(DEFAULT_NAMES)}
    return Shown("key_new.html", SECTION, values, failure.status if failure else 200)


async def _created(visit: Visit, key: ApiKey, text: str, old: ApiKey | None = None) -> Answer:
    return Shown("key_created.html", SECTION, {"key": key, "text": text, "old": old, **snippets(visit)})


async def _one(visit: Visit, key: ApiKey, form: Form | None = None, failure: RequestFailure | None = None) -> Answer:
    credentials = (await visit.do(list_credentials)).data
    now = datetime.now(UTC)
    used = await visit.do(show_usage, by="day", key=key.id, since=now - SHOWN_FOR)
    days = figures.by_day(((line.id, line.figures) for line in used.data), used.since, now)
    values = {
        "key": key,
        "credential": next((each for each in credentials if each.id == key.credential_id), None),
        "figure": figures.requests(days, used.total),
        "form": form or Form("edit", _as_form(key)),
        "rotation": Form("rotation", {"grace_seconds": str(int(GRACE.total_seconds()))}),
        "models": sorted(DEFAULT_NAMES),
        **snippets(visit),
    }
    return Shown("key.html", SECTION, values, failure.status if failure else 200)


def _as_form(key: ApiKey) -> dict[str, str]:
    given = {
        "name": key.name,
        "rate_limit": key.rate_limit,
        "max_concurrent": key.max_concurrent,
        "models": ", ".join(key.models),
        "expires_at": _ends(key),
    }
    return {name: str(value) for name, value in given.items() if value is not None}


def _ends(key: ApiKey) -> str | None:
    return key.expires_at.astimezone(UTC).strftime(TO_THE_MINUTE) if key.expires_at else None


def _limits(form: Mapping[str, str]) -> dict[str, Any]:
    return {name: read(form[name]) for name, read in _LIMITS.items() if name in form}


_LIMITS: dict[str, Callable[[str], Any]] = {
    "rate_limit": str.strip,
    "max_concurrent": str.strip,
    "models": lambda text: tuple(name.strip() for name in text.split(",") if name.strip()),
}


def _address(kept: Mapping[str, str], **more: str) -> str:
    asked = urlencode({**kept, **more})
    return f"/admin/keys?{asked}" if asked else "/admin/keys"
