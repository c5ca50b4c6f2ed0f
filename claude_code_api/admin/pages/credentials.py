"""Credentials: the list, a new one, one of them, and what its removal would break."""

from __future__ import annotations

from claude_code_api.access import CredentialRecord
from claude_code_api.admin.actions.credentials import (
    add_credential,
    list_credentials,
    remove_credential,
    rename_credential,
    replace_credential,
    show_credential,
    try_credential,
)
from claude_code_api.admin.actions.keys import list_keys
from claude_code_api.admin.pages.rendering import Form
from claude_code_api.admin.pages.visit import MENDED, Answer, Elsewhere, Shown, Visit, view
from claude_code_api.admin.pages.wording import count
from claude_code_api.credential import CredentialKind
from claude_code_api.errors import NotFound, RequestFailure

SECTION = "credentials"
NAMED = 10
"""Keys of a credential that are named on its pages."""


@view("GET", "/admin/credentials", "viewer")
async def listed(visit: Visit) -> Answer:
    rows = (await visit.do(list_credentials)).data
    standing = await visit.parts.access.keys.live_by_credential()
    return Shown("credentials.html", SECTION, {"rows": rows, "standing": standing})


@view("GET", "/admin/credentials/new", "admin")
async def new(_: Visit) -> Answer:
    return Shown("credential_new.html", SECTION, {"form": Form("new")})


@view("POST", "/admin/credentials/new", "admin")
async def add(visit: Visit) -> Answer:
    try:
        made = await visit.do(
            add_credential, name=visit.form.get("name", ""), token=visit.form.get("token", "").strip()
        )
    except MENDED as failure:
        form = visit.failed_form("new", failure, "name", "token")
        return Shown("credential_new.html", SECTION, {"form": form}, failure.status)
    return Elsewhere(f"/admin/credentials/{made.id}?done=credential-added")


@view("GET", "/admin/credentials/{id}", "viewer")
async def one(visit: Visit) -> Answer:
    return await _one(visit, await visit.do(show_credential, id=visit.path["id"]))


@view("POST", "/admin/credentials/{id}", "admin")
async def rename(visit: Visit) -> Answer:
    record = await visit.do(show_credential, id=visit.path["id"])
    try:
        await visit.do(rename_credential, **{"id": record.id, "name": "", **visit.form})
    except MENDED as failure:
        return await _one(visit, record, visit.failed_form("rename", failure, "name"), failure=failure)
    return Elsewhere(f"/admin/credentials/{record.id}?done=credential-renamed")


@view("POST", "/admin/credentials/{id}/replace", "admin")
async def replace(visit: Visit) -> Answer:
    record = await visit.do(show_credential, id=visit.path["id"])
    try:
        await visit.do(replace_credential, id=record.id, token=visit.form.get("token", "").strip())
    except MENDED as failure:
        form = visit.failed_form("replace", failure, "token")
        return await _one(visit, record, replacing=form, failure=failure)
    return Elsewhere(f"/admin/credentials/{record.id}?done=credential-replaced")


@view("POST", "/admin/credentials/{id}/test", "admin")
async def test(visit: Visit) -> Answer:
    """What Anthropic says of the token, told on its page."""
    record = await visit.do(show_credential, id=visit.path["id"])
    try:
        await visit.do(try_credential, id=record.id)
    except NotFound:
        raise
    except RequestFailure as failure:
        record = await visit.do(show_credential, id=record.id)
        return await _one(visit, record, visit.failed_form("rename", failure), failure=failure)
    return Elsewhere(f"/admin/credentials/{record.id}?done=credential-tested")


@view("GET", "/admin/credentials/{id}/remove", "admin")
async def ask_to_remove(visit: Visit) -> Answer:
    return await _removal(visit, await visit.do(show_credential, id=visit.path["id"]))


@view("POST", "/admin/credentials/{id}/remove", "admin")
async def remove(visit: Visit) -> Answer:
    record = await visit.do(show_credential, id=visit.path["id"])
    try:
        await visit.do(remove_credential, id=record.id, force=visit.form.get("force", "false"))
    except MENDED as failure:
        return await _removal(visit, record, failure)
    return Elsewhere("/admin/credentials?done=credential-removed")


# --- parts ------------------------------------------------------------------------------------------------


async def _one(
    visit: Visit,
    record: CredentialRecord,
    naming: Form | None = None,
    replacing: Form | None = None,
    failure: RequestFailure | None = None,
) -> Answer:
    keys = await visit.do(list_keys, state="live", credential=record.id, limit=NAMED)
    values = {
        "credential": record,
        "keys": keys.items,
        "total": keys.total,
        "naming": naming or Form("rename", {"name": record.name}),
        "replacing": replacing or Form("replace"),
    }
    return Shown("credential.html", SECTION, values, failure.status if failure else 200)


async def _removal(visit: Visit, record: CredentialRecord, failure: RequestFailure | None = None) -> Answer:
    """Says first which keys would end with it, and asks for them to be ended only then."""
    keys = await visit.do(list_keys, state="live", credential=record.id, limit=NAMED)
    broken = (
        "1 active key is revoked with it" if keys.total == 1 else f"{count(keys.total)} active keys are revoked with it"
    )
    made_at = "Anthropic's console" if record.kind is CredentialKind.API_KEY else "claude.ai, in the account's settings"
    values = {
        "title": f"Remove {record.name}?",
        "back": f"/admin/credentials/{record.id}",
        "back_text": record.name,
        "sentences": [
            f"The token is erased here. Where it was made it stays good: revoke it there, too ({made_at}).",
        ],
        "breaks": [(f"/admin/keys/{key.id}", key.name) for key in keys.items],
        "breaks_text": broken,
        "more": keys.total - len(keys.items),
        "hidden": {"force": "true"} if keys.total else {},
        "action": f"/admin/credentials/{record.id}/remove",
        "button": "Remove it, and revoke the keys" if keys.total else "Remove it",
        "form": visit.failed_form("remove", failure) if failure else Form("remove"),
    }
    return Shown("confirm.html", SECTION, values, failure.status if failure else 200)
