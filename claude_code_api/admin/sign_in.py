"""What goes in and comes out of signing in."""

from __future__ import annotations

from datetime import datetime

import msgspec

from claude_code_api.access import Role
from claude_code_api.admin.action import Input
from claude_code_api.admin.caller import Caller
from claude_code_api.secret import Secret


class SignInForm(Input, frozen=True, kw_only=True):
    """`code` is the authenticator's, or a recovery code, where there is a second factor."""

    username: str = "admin"
    password: Secret
    code: str | None = None


class Me(msgspec.Struct, frozen=True):
    """Who is signed in. `csrf_token` goes with every change, as `X-CSRF-Token`."""

    name: str
    role: Role
    csrf_token: str
    ends_at: datetime

    @classmethod
    def of(cls, caller: Caller) -> Me:
        session = caller.own_session()
        return cls(session.administrator.name, caller.role, session.csrf_token.reveal(), session.ends_at)
