"""Admin tokens, for scripts: made and revoked on the page of one's account."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from claude_code_api.admin.actions.tokens import create_token, revoke_token
from claude_code_api.admin.api import PREFIX
from claude_code_api.admin.pages import account
from claude_code_api.admin.pages.rendering import plain_text
from claude_code_api.admin.pages.visit import MENDED, Answer, Elsewhere, Shown, Visit, view

DAYS = ("7", "30", "90", "365")


@view("POST", f"{account.PAGE}/tokens", "admin")
async def create(visit: Visit) -> Answer:
    """The text of the token stands in this answer alone."""
    days = visit.form.get("days", "")
    ends = datetime.now(UTC) + timedelta(days=int(days if days in DAYS else DAYS[0]))
    given = {"name": visit.form.get("name", ""), "role": visit.form.get("role", "viewer"), "expires_at": ends}
    try:
        made = await visit.do(create_token, **given)
    except MENDED as failure:
        return await account.shown(visit, failure, token=visit.failed_form("token", failure, "name", "role"))
    snippet = plain_text("snippets/admin.txt", base_url=visit.origin + PREFIX)
    values = {"token": made.record, "text": made.token, "snippet": snippet}
    return Shown("token_created.html", account.SECTION, values)


@view("POST", f"{account.PAGE}/tokens/{{id}}/revoke", "admin")
async def revoke(visit: Visit) -> Answer:
    await visit.do(revoke_token, id=visit.path["id"])
    return Elsewhere(f"{account.PAGE}?done=token-revoked")
