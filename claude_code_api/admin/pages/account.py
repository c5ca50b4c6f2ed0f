"""One's own account: password, second factor, sessions."""

from __future__ import annotations

from markupsafe import Markup

from claude_code_api.access.administrator import REMIND_AFTER
from claude_code_api.admin.actions.account import (
    begin_second_factor,
    change_password,
    confirm_second_factor,
    end_other_sessions,
    end_session,
    list_sessions,
    new_recovery_codes,
    show_second_factor,
    turn_off_second_factor,
)
from claude_code_api.admin.actions.tokens import list_tokens
from claude_code_api.admin.pages.rendering import Form
from claude_code_api.admin.pages.visit import MENDED, Answer, Elsewhere, Shown, Visit, view
from claude_code_api.errors import NotFound, RequestFailure

SECTION = "account"
PAGE = "/admin/account"
FACTOR = f"{PAGE}/second-factor"


@view("GET", PAGE, "viewer")
async def show(visit: Visit) -> Answer:
    return await shown(visit)


# --- password and second factor ---------------------------------------------------------------------------


@view("POST", f"{PAGE}/password", "viewer")
async def password(visit: Visit) -> Answer:
    given = {"current": visit.form.get("current", ""), "new": visit.form.get("new", "")}
    try:
        await visit.do(change_password, **given)
    except MENDED as failure:
        # What proves who one is and what is new are both called a password below.
        field = {"wrong_password": "current", "weak_password": "new"}.get(failure.code)
        return await shown(visit, failure, password=_failed("password", failure, field))
    return Elsewhere(f"{PAGE}?done=password-changed")


@view("POST", FACTOR, "viewer")
async def begin(visit: Visit) -> Answer:
    """The secret stands in this answer alone."""
    try:
        enrolled = await visit.do(begin_second_factor, password=visit.form.get("password", ""))
    except MENDED as failure:
        return await shown(visit, failure, factor_form=visit.failed_form("factor", failure, "password"))
    values = {"picture": Markup(enrolled.qr_code), "secret_text": enrolled.secret, "form": Form("confirm")}  # noqa: S704
    return Shown("second_factor.html", SECTION, values)


@view("POST", f"{FACTOR}/confirm", "viewer")
async def confirm(visit: Visit) -> Answer:
    """The recovery codes stand in this answer alone. After a wrong code, the secret is not shown again."""
    try:
        made = await visit.do(confirm_second_factor, code=visit.form.get("code", ""))
    except (*MENDED, NotFound) as failure:
        form = visit.failed_form("confirm", failure, "code")
        return Shown("second_factor.html", SECTION, {"picture": None, "secret_text": "", "form": form}, failure.status)
    return Shown("recovery_codes.html", SECTION, {"codes": made.recovery_codes, "turned_on": True})


@view("POST", f"{FACTOR}/codes", "viewer")
async def codes(visit: Visit) -> Answer:
    try:
        made = await visit.do(new_recovery_codes, password=visit.form.get("password", ""))
    except (*MENDED, NotFound) as failure:
        return await shown(visit, failure, factor_form=visit.failed_form("factor", failure, "password"))
    return Shown("recovery_codes.html", SECTION, {"codes": made.recovery_codes, "turned_on": False})


@view("POST", f"{FACTOR}/off", "viewer")
async def off(visit: Visit) -> Answer:
    try:
        await visit.do(turn_off_second_factor, password=visit.form.get("password", ""))
    except (*MENDED, NotFound) as failure:
        return await shown(visit, failure, factor_form=visit.failed_form("factor", failure, "password"))
    return Elsewhere(f"{PAGE}?done=factor-off")


# --- sessions ---------------------------------------------------------------------------------------------


@view("POST", f"{PAGE}/sessions/{{id}}/end", "viewer")
async def end(visit: Visit) -> Answer:
    await visit.do(end_session, id=visit.path["id"])
    return Elsewhere(f"{PAGE}?done=session-ended")


@view("POST", f"{PAGE}/sessions/end-others", "viewer")
async def end_others(visit: Visit) -> Answer:
    await visit.do(end_other_sessions)
    return Elsewhere(f"{PAGE}?done=others-ended")


# --- the page ---------------------------------------------------------------------------------------------


async def shown(visit: Visit, failure: RequestFailure | None = None, **forms: Form) -> Answer:
    """The account, with forms that were sent and could not be done."""
    administrator = visit.caller.own_session().administrator
    tokens = (await visit.do(list_tokens)).data if visit.may("admin") else []
    values = {
        "password_set_at": administrator.password_set_at,
        "password_is_old": administrator.is_reminded,
        "password_days": administrator.password_age.days,
        "remind_after": REMIND_AFTER.days,
        "factor": (await visit.do(show_second_factor)).second_factor,
        "sessions": (await visit.do(list_sessions)).data,
        "tokens": [each for each in tokens if each.is_live],
        "roles": [(role, role) for role in ("viewer", "admin", "owner") if visit.may(role)],
        "password": Form("password"),
        "factor_form": Form("factor"),
        "token": Form("token", {"role": "viewer", "days": "30"}),
        **forms,
    }
    return Shown("account.html", SECTION, values, failure.status if failure else 200)


def _failed(name: str, failure: RequestFailure, field: str | None) -> Form:
    if field is None:
        return Form(name, {}, {}, failure.message)
    return Form(name, {}, {field: failure.message}, "The password was not changed")
