"""Signing in and out, and the one-time links that make administrators."""

from __future__ import annotations

from claude_code_api.admin.pages.rendering import Form
from claude_code_api.admin.pages.visit import MENDED, Answer, Elsewhere, Shown, Visit, is_own_page, view
from claude_code_api.admin.sign_in import SignInForm
from claude_code_api.errors import InvalidRequest, RequestFailure, Unauthenticated
from claude_code_api.secret import Secret

DEFAULT_NAME = "admin"


@view("GET", "/admin/login", None)
async def login(visit: Visit) -> Answer:
    return _login(visit, Form("login", {"username": DEFAULT_NAME}), visit.query.get("next", ""))


@view("POST", "/admin/login", None)
async def sign_in(visit: Visit) -> Answer:
    """Back to where the reader came from, if that is a page of ours."""
    given = SignInForm(
        username=visit.form.get("username", DEFAULT_NAME),
        password=Secret(visit.form.get("password", "")),
        code=visit.form.get("code"),
    )
    after = visit.form.get("next", "")
    try:
        _, headers = await visit.admin.sign_in(visit.exchange, given)
    except (*MENDED, Unauthenticated) as failure:
        visit.exchange.notes["error"] = failure.code
        field = {"code_required": "code", "invalid_code": "code", "invalid_login": "password"}.get(failure.code, "")
        message = failure.message
        if failure.retry_after:
            message = f"{message} Try again in {failure.retry_after} seconds."
        errors = {field: message} if field else {}
        form = Form("login", {"username": given.username}, errors, "You are not signed in" if field else message)
        return _login(visit, form, after, failure)
    return Elsewhere(after if is_own_page(after) else "/admin", headers)


@view("POST", "/admin/logout", "viewer")
async def sign_out(visit: Visit) -> Answer:
    return Elsewhere("/admin/login?done=signed-out", await visit.admin.sign_out(visit.caller))


@view("GET", "/admin/setup", None)
async def setup(_: Visit) -> Answer:
    """The token stands behind `#` in the link, so it comes with the form, and never before."""
    return _setup(Form("setup", {"name": DEFAULT_NAME}), invited=False)


@view("POST", "/admin/setup", None)
async def make_owner(visit: Visit) -> Answer:
    name, password = visit.form.get("name", ""), Secret(visit.form.get("password", ""))
    try:
        made = await visit.parts.access.administrators.use_setup_token(_token(visit), name, password)
    except (*MENDED, Unauthenticated) as failure:
        form = visit.failed_form("setup", failure, "token", "name", "password")
        return _setup(form, failure, invited=False)
    return await _signed_in(visit, made.name, password)


@view("GET", "/admin/invitation", None)
async def invitation(_: Visit) -> Answer:
    return _setup(Form("setup"), invited=True)


@view("POST", "/admin/invitation", None)
async def accept_invitation(visit: Visit) -> Answer:
    password = Secret(visit.form.get("password", ""))
    try:
        made = await visit.parts.access.invitations.accept(_token(visit), password)
    except (*MENDED, Unauthenticated) as failure:
        return _setup(visit.failed_form("setup", failure, "token", "password"), failure, invited=True)
    return await _signed_in(visit, made.name, password)


# --- parts ------------------------------------------------------------------------------------------------


def _login(visit: Visit, form: Form, after: str, failure: RequestFailure | None = None) -> Answer:
    after = after if is_own_page(after) else ""
    return Shown("login.html", "", {"form": form, "next": after}, failure.status if failure else 200)


def _setup(form: Form, failure: RequestFailure | None = None, *, invited: bool) -> Answer:
    return Shown("setup.html", "", {"form": form, "invited": invited}, failure.status if failure else 200)


def _token(visit: Visit) -> Secret:
    """What was pasted may be the whole link."""
    token = visit.form.get("token", "").rpartition("token=")[2].strip()
    if not token:
        raise InvalidRequest("Paste the link, or what stands in it behind token=.", param="token")
    return Secret(token)


async def _signed_in(visit: Visit, name: str, password: Secret) -> Answer:
    _, headers = await visit.admin.sign_in(visit.exchange, SignInForm(username=name, password=password))
    return Elsewhere("/admin", headers)
