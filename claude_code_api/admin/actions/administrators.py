"""Administrators and invitations: who may do what here."""

from __future__ import annotations

from datetime import datetime

import msgspec

from claude_code_api.access import Administrator, Invitation, Role
from claude_code_api.admin.action import Input, Nothing, Parts, action
from claude_code_api.admin.caller import Caller


class AdministratorRecord(msgspec.Struct, frozen=True, kw_only=True):
    """An administrator as it is told; `password_is_old` reminds of one that is to be changed."""

    id: str
    name: str
    role: Role
    created_at: datetime
    created_by: str
    password_set_at: datetime
    password_is_old: bool
    second_factor: bool


class AdministratorList(msgspec.Struct, frozen=True, kw_only=True):
    data: list[AdministratorRecord]
    invitations: list[Invitation]


class Invited(Input, frozen=True, kw_only=True):
    name: str
    role: Role


class InvitationWithToken(msgspec.Struct, frozen=True, kw_only=True):
    """`token` is what the link ends in, `/admin/invitation#token=…`; it cannot be had again."""

    invitation: Invitation
    token: str


class TheInvitation(Input, frozen=True, kw_only=True):
    id: str


class TheAdministrator(Input, frozen=True, kw_only=True):
    name: str


class NewRole(TheAdministrator, frozen=True, kw_only=True):
    role: Role


class ResetSecondFactor(msgspec.Struct, frozen=True):
    """Whether there was one."""

    was_on: bool


@action("GET", "/administrators", "admin")
async def list_administrators(parts: Parts, _: Caller, __: Nothing) -> AdministratorList:
    """List the administrators, and the invitations that are open."""
    protected = await parts.access.second_factors.administrators()
    return AdministratorList(
        data=[_record(each, protected) for each in await parts.access.administrators.list()],
        invitations=await parts.access.invitations.list(),
    )


@action("POST", "/invitations", "owner", status=201)
async def invite(parts: Parts, caller: Caller, new: Invited) -> InvitationWithToken:
    """Invite an administrator."""
    invitation, token = await parts.access.invitations.invite(new.name, new.role, by=caller.actor)
    return InvitationWithToken(invitation=invitation, token=token.reveal())


@action("DELETE", "/invitations/{id}", "owner", status=204)
async def withdraw_invitation(parts: Parts, caller: Caller, the: TheInvitation) -> None:
    """Take an invitation back."""
    await parts.access.invitations.withdraw(the.id, by=caller.actor)


@action("POST", "/administrators/{name}/role", "owner")
async def set_role(parts: Parts, caller: Caller, new: NewRole) -> AdministratorRecord:
    """Give an administrator another role."""
    changed = await parts.access.administrators.set_role(new.name, new.role, by=caller.actor)
    return _record(changed, await parts.access.second_factors.administrators())


@action("POST", "/administrators/{name}/reset-second-factor", "owner")
async def reset_second_factor(parts: Parts, caller: Caller, the: TheAdministrator) -> ResetSecondFactor:
    """Turn off the second factor of an administrator who has lost it."""
    return ResetSecondFactor(await parts.access.second_factors.reset(the.name, by=caller.actor))


@action("DELETE", "/administrators/{name}", "owner", status=204)
async def remove_administrator(parts: Parts, caller: Caller, the: TheAdministrator) -> None:
    """Remove an administrator, with sessions and tokens."""
    await parts.access.administrators.remove(the.name, by=caller.actor)


def _record(each: Administrator, protected: set[str]) -> AdministratorRecord:
    return AdministratorRecord(
        id=each.id,
        name=each.name,
        role=each.role,
        created_at=each.created_at,
        created_by=each.created_by,
        password_set_at=each.password_set_at,
        password_is_old=each.is_reminded,
        second_factor=each.id in protected,
    )
