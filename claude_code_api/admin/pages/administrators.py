"""Administrators and invitations: who may do what here."""

from __future__ import annotations

from claude_code_api.admin.actions.account import end_session, list_sessions
from claude_code_api.admin.actions.administrators import (
    AdministratorRecord,
    invite,
    list_administrators,
    remove_administrator,
    reset_second_factor,
    set_role,
    withdraw_invitation,
)
from claude_code_api.admin.pages.rendering import Form
from claude_code_api.admin.pages.visit import MENDED, Answer, Elsewhere, Shown, Visit, view
from claude_code_api.errors import NotFound, RequestFailure

SECTION = "administrators"
LIST = "/admin/administrators"


@view("GET", LIST, "admin")
async def listed(visit: Visit) -> Answer:
    return await _list(visit, Form("invite", {"role": "viewer"}))


@view("POST", LIST, "owner")
async def make_link(visit: Visit) -> Answer:
    """The link stands in this answer alone. Its token is behind `#`, which browsers send to nobody."""
    try:
        made = await visit.do(invite, **{"name": "", **visit.form})
    except MENDED as failure:
        return await _list(visit, visit.failed_form("invite", failure, "name"), failure)
    link = f"{visit.origin}/admin/invitation#token={made.token}"
    return Shown("invited.html", SECTION, {"invitation": made.invitation, "link": link})


@view("POST", "/admin/invitations/{id}/withdraw", "owner")
async def withdraw(visit: Visit) -> Answer:
    await visit.do(withdraw_invitation, id=visit.path["id"])
    return Elsewhere(f"{LIST}?done=withdrawn")


@view("GET", "/admin/administrators/{id}", "owner")
async def one(visit: Visit) -> Answer:
    return await _one(visit, await _find(visit))


@view("POST", "/admin/administrators/{id}", "owner")
async def change_role(visit: Visit) -> Answer:
    administrator = await _find(visit)
    try:
        await visit.do(set_role, name=administrator.name, role=visit.form.get("role", ""))
    except MENDED as failure:
        return await _one(visit, administrator, visit.failed_form("role", failure, "role"), failure)
    return Elsewhere(f"{LIST}?done=role-saved")


@view("POST", "/admin/administrators/{id}/reset-second-factor", "owner")
async def reset(visit: Visit) -> Answer:
    await visit.do(reset_second_factor, name=(await _find(visit)).name)
    return Elsewhere(f"{LIST}?done=factor-reset")


@view("POST", "/admin/administrators/{id}/sessions/{session}/end", "owner")
async def end(visit: Visit) -> Answer:
    await visit.do(end_session, id=visit.path["session"])
    return Elsewhere(f"{LIST}/{visit.path['id']}?done=session-ended")


@view("GET", "/admin/administrators/{id}/remove", "owner")
async def ask_to_remove(visit: Visit) -> Answer:
    return await _removal(visit, await _find(visit))


@view("POST", "/admin/administrators/{id}/remove", "owner")
async def remove(visit: Visit) -> Answer:
    administrator = await _find(visit)
    try:
        await visit.do(remove_administrator, name=administrator.name)
    except MENDED as failure:
        return await _removal(visit, administrator, failure)
    return Elsewhere(f"{LIST}?done=removed")


# --- parts ------------------------------------------------------------------------------------------------


async def _list(visit: Visit, form: Form, failure: RequestFailure | None = None) -> Answer:
    found = await visit.do(list_administrators)
    values = {"rows": found.data, "invitations": found.invitations, "form": form}
    return Shown("administrators.html", SECTION, values, failure.status if failure else 200)


async def _find(visit: Visit) -> AdministratorRecord:
    for each in (await visit.do(list_administrators)).data:
        if each.id == visit.path["id"]:
            return each
    raise NotFound("There is no such administrator.")


async def _one(
    visit: Visit, administrator: AdministratorRecord, form: Form | None = None, failure: RequestFailure | None = None
) -> Answer:
    sessions = (await visit.do(list_sessions, all="true")).data
    values = {
        "administrator": administrator,
        "sessions": [each for each in sessions if each.administrator == administrator.name],
        "form": form or Form("role", {"role": administrator.role}),
    }
    return Shown("administrator.html", SECTION, values, failure.status if failure else 200)


async def _removal(visit: Visit, administrator: AdministratorRecord, failure: RequestFailure | None = None) -> Answer:
    values = {
        "title": f"Remove {administrator.name}?",
        "back": f"{LIST}/{administrator.id}",
        "back_text": administrator.name,
        "sentences": [
            "Sessions and admin tokens end at once.",
            f"API keys that {administrator.name} made go on working, and the audit log keeps what was done.",
        ],
        "breaks": [],
        "hidden": {},
        "action": f"{LIST}/{administrator.id}/remove",
        "button": f"Remove {administrator.name}",
        "form": visit.failed_form("remove", failure) if failure else Form("remove"),
    }
    return Shown("confirm.html", SECTION, values, failure.status if failure else 200)
