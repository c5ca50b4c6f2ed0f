"""Admin tokens: what scripts present in place of a session."""

from __future__ import annotations

from datetime import datetime

import msgspec

from claude_code_api.access import AdminToken, Role
from claude_code_api.admin.action import Input, Nothing, Parts, action
from claude_code_api.admin.caller import Caller


class NewAdminToken(Input, frozen=True, kw_only=True):
    """`expires_at` lies within a year; without one it is in 90 days."""

    name: str
    role: Role
    expires_at: datetime | None = None


class TheAdminToken(Input, frozen=True, kw_only=True):
    id: str


class TokenWithText(msgspec.Struct, frozen=True, kw_only=True):
    """`token` is the text that scripts hold; it cannot be had again."""

    token: str
    record: AdminToken


class TokenList(msgspec.Struct, frozen=True):
    data: list[AdminToken]


@action("GET", "/tokens", "admin")
async def list_tokens(parts: Parts, _: Caller, __: Nothing) -> TokenList:
    """List the admin tokens, those that have ended too."""
    return TokenList(await parts.access.admin_tokens.list())


@action("POST", "/tokens", "admin", status=201)
async def create_token(parts: Parts, caller: Caller, new: NewAdminToken) -> TokenWithText:
    """Make an admin token, which cannot do more than whoever makes it."""
    maker = caller.own_session().administrator  # a token makes no others: it would outlive itself
    made, text = await parts.access.admin_tokens.create(new.name, new.role, expires_at=new.expires_at, maker=maker)
    return TokenWithText(token=text.reveal(), record=made)


@action("POST", "/tokens/{id}/revoke", "admin")
async def revoke_token(parts: Parts, caller: Caller, the: TheAdminToken) -> AdminToken:
    """Revoke an admin token, at once and for good."""
    return await parts.access.admin_tokens.revoke(the.id, by=caller.actor)
