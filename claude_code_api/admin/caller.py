"""Who asks: an administrator in a session, or a script with an admin token."""

from __future__ import annotations

import msgspec

from claude_code_api.access import AdminToken, Role, Session
from claude_code_api.access.administrator import grants
from claude_code_api.errors import PermissionDenied


class Caller(msgspec.Struct, frozen=True, kw_only=True):
    """`actor` is how the audit log names it. `session` is None for a script."""

    actor: str
    role: Role
    session: Session | None = None

    @classmethod
    def of(cls, session: Session) -> Caller:
        return cls(actor=session.administrator.actor, role=session.administrator.role, session=session)

    @classmethod
    def of_script(cls, token: AdminToken) -> Caller:
        return cls(actor=token.actor, role=token.role)

    def may(self, role: Role) -> bool:
        return grants(self.role, role)

    def require(self, role: Role) -> None:
        """PermissionDenied where it takes more than this caller's role."""
        if not self.may(role):
            raise PermissionDenied(f"This takes the role {role}; yours is {self.role}.", code="role_required")

    def own_session(self) -> Session:
        """PermissionDenied for a script, which has none and no password either."""
        if self.session is None:
            raise PermissionDenied("This is for an administrator who is signed in.", code="session_required")
        return self.session
