"""Credentials: list, add, replace, test, remove. A token goes in and never comes out (policy T1)."""

from __future__ import annotations

import msgspec

from claude_code_api.access import CredentialRecord
from claude_code_api.admin.action import Input, Nothing, Parts, action
from claude_code_api.admin.caller import Caller
from claude_code_api.gateway.probing import test_credential
from claude_code_api.secret import Secret


class NewCredential(Input, frozen=True, kw_only=True):
    name: str
    token: Secret


class TheCredential(Input, frozen=True, kw_only=True):
    """`id` may be a name."""

    id: str


class NewToken(TheCredential, frozen=True, kw_only=True):
    token: Secret
    if_version: str | None = None


class NewName(TheCredential, frozen=True, kw_only=True):
    name: str
    if_version: str | None = None


class Removed(TheCredential, frozen=True, kw_only=True):
    """`force` revokes the keys that stand on it."""

    force: bool = False


class CredentialList(msgspec.Struct, frozen=True):
    data: list[CredentialRecord]


@action("GET", "/credentials", "viewer")
async def list_credentials(parts: Parts, _: Caller, __: Nothing) -> CredentialList:
    """List the credentials."""
    return CredentialList(await parts.access.credentials.list())


@action("POST", "/credentials", "admin", status=201)
async def add_credential(parts: Parts, caller: Caller, new: NewCredential) -> CredentialRecord:
    """Store a token."""
    return await parts.access.credentials.add(new.name, new.token, by=caller.actor)


@action("GET", "/credentials/{id}", "viewer")
async def show_credential(parts: Parts, _: Caller, the: TheCredential) -> CredentialRecord:
    """Tell one credential."""
    return await parts.access.credentials.get(the.id)


@action("PATCH", "/credentials/{id}", "admin")
async def rename_credential(parts: Parts, caller: Caller, new: NewName) -> CredentialRecord:
    """Give a credential another name."""
    return await parts.access.credentials.rename(new.id, new.name, if_version=new.if_version, by=caller.actor)


@action("POST", "/credentials/{id}/replace", "admin")
async def replace_credential(parts: Parts, caller: Caller, new: NewToken) -> CredentialRecord:
    """Put another token in the place of one; it is used at once."""
    return await parts.access.credentials.replace(new.id, new.token, if_version=new.if_version, by=caller.actor)


@action("POST", "/credentials/{id}/test", "admin")
async def try_credential(parts: Parts, _: Caller, the: TheCredential) -> CredentialRecord:
    """Ask Anthropic whether it takes a token: the smallest question there is."""
    return await test_credential(parts.settings, parts.access, the.id)


@action("DELETE", "/credentials/{id}", "admin")
async def remove_credential(parts: Parts, caller: Caller, the: Removed) -> CredentialRecord:
    """Erase a token."""
    return await parts.access.credentials.remove(the.id, force=the.force, by=caller.actor)
