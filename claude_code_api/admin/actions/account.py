"""One's own account: password, second factor, sessions. For whoever is signed in; no script has these."""

from __future__ import annotations

from datetime import datetime

import msgspec

from claude_code_api.access import ListedSession, SecondFactor
from claude_code_api.admin.action import Input, Nothing, Parts, action
from claude_code_api.admin.caller import Caller
from claude_code_api.secret import Secret


class SessionRecord(msgspec.Struct, frozen=True, kw_only=True):
    """`device` is what the browser calls itself, `last_used_at` true to the minute."""

    id: str
    administrator: str
    created_at: datetime
    last_used_at: datetime
    ends_at: datetime
    address: str
    device: str
    is_this: bool


class SessionList(msgspec.Struct, frozen=True):
    data: list[SessionRecord]


class SessionsAsked(Input, frozen=True, kw_only=True):
    """`all` asks for everybody's, which takes an owner."""

    all: bool = False


class TheSession(Input, frozen=True, kw_only=True):
    id: str


class NewPassword(Input, frozen=True, kw_only=True):
    current: Secret
    new: Secret


class Proof(Input, frozen=True, kw_only=True):
    """One's password, asked for anew before what matters."""

    password: Secret


class FirstCode(Input, frozen=True, kw_only=True):
    """What the authenticator shows now."""

    code: str


class SecondFactorState(msgspec.Struct, frozen=True):
    """None where there is no second factor."""

    second_factor: SecondFactor | None


class Enrolled(msgspec.Struct, frozen=True):
    """What goes into an authenticator: typed, as an address, or as a QR code (SVG)."""

    secret: str
    address: str
    qr_code: str


class RecoveryCodes(msgspec.Struct, frozen=True):
    """Each is good once, in place of a code; they cannot be had again."""

    recovery_codes: list[str]


class Ended(msgspec.Struct, frozen=True):
    """How many sessions were ended."""

    ended: int


@action("GET", "/sessions", "viewer")
async def list_sessions(parts: Parts, caller: Caller, asked: SessionsAsked) -> SessionList:
    """List one's own sessions, or everybody's."""
    if asked.all:
        caller.require("owner")
        found = await parts.access.sessions.list()
    else:
        found = await parts.access.sessions.list(caller.own_session().administrator.id)
    return SessionList([_record(each, caller) for each in found])


@action("DELETE", "/sessions/{id}", "viewer", status=204)
async def end_session(parts: Parts, caller: Caller, the: TheSession) -> None:
    """End a session: one's own, or as an owner anybody's."""
    own = None if caller.may("owner") else caller.own_session().administrator.id
    await parts.access.sessions.end(the.id, by=caller.actor, administrator_id=own)


@action("POST", "/account/end-other-sessions", "viewer")
async def end_other_sessions(parts: Parts, caller: Caller, _: Nothing) -> Ended:
    """End one's own sessions, but for this one."""
    session = caller.own_session()
    return Ended(await parts.access.sessions.end_all(session.administrator.id, session.id, by=caller.actor))


@action("POST", "/account/password", "viewer", status=204)
async def change_password(parts: Parts, caller: Caller, given: NewPassword) -> None:
    """Change one's password, which ends all one's other sessions."""
    session = caller.own_session()
    await parts.access.own_password.change(session.administrator, given.current, given.new, session_id=session.id)


@action("GET", "/account/second-factor", "viewer")
async def show_second_factor(parts: Parts, caller: Caller, _: Nothing) -> SecondFactorState:
    """Tell whether one has a second factor."""
    return SecondFactorState(await parts.access.second_factors.get(caller.own_session().administrator.id))


@action("POST", "/account/second-factor", "viewer", status=201)
async def begin_second_factor(parts: Parts, caller: Caller, proof: Proof) -> Enrolled:
    """Begin to set up a second factor; a first code turns it on."""
    enrolment = await parts.access.second_factors.begin(caller.own_session().administrator, proof.password)
    return Enrolled(enrolment.secret.reveal(), enrolment.address.reveal(), enrolment.qr_code.reveal())


@action("POST", "/account/second-factor/confirm", "viewer")
async def confirm_second_factor(parts: Parts, caller: Caller, given: FirstCode) -> RecoveryCodes:
    """Turn the second factor on."""
    codes = await parts.access.second_factors.confirm(caller.own_session().administrator, given.code)
    return RecoveryCodes([code.reveal() for code in codes])


@action("POST", "/account/second-factor/turn-off", "viewer", status=204)
async def turn_off_second_factor(parts: Parts, caller: Caller, proof: Proof) -> None:
    """Turn the second factor off."""
    await parts.access.second_factors.turn_off(caller.own_session().administrator, proof.password)


@action("POST", "/account/second-factor/recovery-codes", "viewer")
async def new_recovery_codes(parts: Parts, caller: Caller, proof: Proof) -> RecoveryCodes:
    """Make new recovery codes; those from before are good for nothing."""
    administrator = caller.own_session().administrator
    codes = await parts.access.second_factors.new_recovery_codes(administrator, proof.password)
    return RecoveryCodes([code.reveal() for code in codes])


def _record(each: ListedSession, caller: Caller) -> SessionRecord:
    return SessionRecord(
        id=each.id,
        administrator=each.administrator.name,
        created_at=each.created_at,
        last_used_at=each.last_used_at,
        ends_at=each.ends_at,
        address=each.address,
        device=each.device,
        is_this=caller.session is not None and caller.session.id == each.id,
    )
