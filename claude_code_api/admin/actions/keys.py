"""API keys: list, make, change, rotate, revoke."""

from __future__ import annotations

from datetime import datetime, timedelta

import msgspec
from msgspec import UNSET, UnsetType

from claude_code_api.access import ApiKey
from claude_code_api.access.api_keys import GRACE
from claude_code_api.access.key_limits import KeyChanges, KeyLimits
from claude_code_api.access.key_listing import Sort, State
from claude_code_api.admin.action import Input, Parts, action
from claude_code_api.admin.caller import Caller
from claude_code_api.errors import InvalidRequest
from claude_code_api.secret import Secret
from claude_code_api.storage.pages import Page

LONGEST_GRACE = timedelta(days=365)


class KeysAsked(Input, frozen=True, kw_only=True):
    """`search` is a part of a name, an id or a key's last characters; `after` is the `next` of the page before."""

    search: str = ""
    state: State | None = None
    credential: str | None = None
    sort: Sort = "created_at"
    descending: bool = True
    after: str | None = None
    limit: int = 50


class NewKey(Input, frozen=True, kw_only=True):
    """`credential` is a name or an id; in its place `token` stores a new one, under the name of the key."""

    name: str
    credential: str | None = None
    token: Secret | None = None
    models: tuple[str, ...] = ()
    rate_limit: str | None = None
    max_concurrent: int | None = None
    expires_at: datetime | None = None


class TheKey(Input, frozen=True, kw_only=True):
    """`id` may be a name."""

    id: str


class ChangedKey(TheKey, frozen=True, kw_only=True):
    """What is left out stays; null takes a limit away."""

    name: str | UnsetType = UNSET
    models: tuple[str, ...] | UnsetType = UNSET
    rate_limit: str | UnsetType | None = UNSET
    max_concurrent: int | UnsetType | None = UNSET
    expires_at: datetime | UnsetType | None = UNSET
    if_version: str | None = None


class Rotated(TheKey, frozen=True, kw_only=True):
    """For `grace_seconds` the old key is good beside the new one."""

    grace_seconds: int = int(GRACE.total_seconds())


class KeyWithText(msgspec.Struct, frozen=True, kw_only=True):
    """`key` is the text that programs hold; it cannot be had again."""

    key: str
    record: ApiKey


@action("GET", "/keys", "viewer")
async def list_keys(parts: Parts, _: Caller, asked: KeysAsked) -> Page[ApiKey]:
    """List API keys, page by page."""
    return await parts.access.keys.page(**msgspec.structs.asdict(asked))


@action("POST", "/keys", "admin", status=201)
async def create_key(parts: Parts, caller: Caller, new: NewKey) -> KeyWithText:
    """Make an API key."""
    limits = KeyLimits(
        models=new.models, rate_limit=new.rate_limit, max_concurrent=new.max_concurrent, expires_at=new.expires_at
    )
    if new.token is not None and new.credential is None:
        made, text = await parts.access.key_on_token(new.name, new.token, by=caller.actor, **limits)
    elif new.credential is not None and new.token is None:
        made, text = await parts.access.keys.create(new.name, new.credential, by=caller.actor, **limits)
    else:
        raise InvalidRequest("Name a `credential`, or give a new `token`.", param="credential")
    return KeyWithText(key=text.reveal(), record=made)


@action("GET", "/keys/{id}", "viewer")
async def show_key(parts: Parts, _: Caller, the: TheKey) -> ApiKey:
    """Tell one API key."""
    return await parts.access.keys.get(the.id)


@action("PATCH", "/keys/{id}", "admin")
async def change_key(parts: Parts, caller: Caller, asked: ChangedKey) -> ApiKey:
    """Change the name or the limits of an API key."""
    given = {field: getattr(asked, field) for field in KeyChanges.__struct_fields__}
    return await parts.access.keys.update(asked.id, KeyChanges(**given), if_version=asked.if_version, by=caller.actor)


@action("POST", "/keys/{id}/rotate", "admin", status=201)
async def rotate_key(parts: Parts, caller: Caller, asked: Rotated) -> KeyWithText:
    """Make a new key in the place of another."""
    if not 0 <= asked.grace_seconds <= LONGEST_GRACE.total_seconds():
        raise InvalidRequest("The old key is good for 0 seconds to 365 days more.", param="grace_seconds")
    made, text, _ = await parts.access.keys.rotate(asked.id, timedelta(seconds=asked.grace_seconds), by=caller.actor)
    return KeyWithText(key=text.reveal(), record=made)


@action("POST", "/keys/{id}/revoke", "admin")
async def revoke_key(parts: Parts, caller: Caller, the: TheKey) -> ApiKey:
    """Revoke an API key, at once and for good."""
    return await parts.access.keys.revoke(the.id, by=caller.actor)
