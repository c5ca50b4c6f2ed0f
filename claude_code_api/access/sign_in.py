"""Signing in: a password, slowed where it is guessed, and the session that comes of it (policy A2, A3, L1)."""

from __future__ import annotations

from collections import Counter

import msgspec

from claude_code_api.access.administrator import LONGEST_NAME_GIVEN, plain
from claude_code_api.access.administrators import Administrators
from claude_code_api.access.known_devices import KnownDevices
from claude_code_api.access.names import GATEWAY
from claude_code_api.access.second_factors import SecondFactors
from claude_code_api.access.sessions import Session, Sessions
from claude_code_api.access.throttle import Throttle
from claude_code_api.audit import AuditLog, Refusals
from claude_code_api.errors import Overloaded, RateLimited, StorageFailure, Unauthenticated
from claude_code_api.operations.addresses import bucket, shortened
from claude_code_api.operations.alerts import Alerts
from claude_code_api.secret import Secret

STRANGERS_AT_ONCE = 8
"""Passwords from unknown devices that are checked or wait for it: a storm from everywhere leaves room for others."""
RETRY_AFTER = 2


class SignedIn(msgspec.Struct, frozen=True):
    """The session, its secret for the session's cookie, and the device's token for a cookie that lasts."""

    session: Session
    secret: Secret
    known: Secret


class SignIn:
    """One for each process: what it counts is in memory."""

    def __init__(
        self,
        administrators: Administrators,
        second_factors: SecondFactors,
        sessions: Sessions,
        pepper: bytes,
        audit: AuditLog,
        alerts: Alerts,
    ) -> None:
        self.throttle = Throttle()
        self._administrators = administrators
        self._second_factors = second_factors
        self._sessions = sessions
        self._alerts = alerts
        self._devices = KnownDevices(pepper)
        self._refusals = Refusals(audit, GATEWAY, "login.refused")
        self._strangers = 0
        self.outcomes = Counter(signed_in=0, refused=0, slowed=0)
        """How attempts went; slowed ones were not looked at, and one that lacks only the code goes on with it."""

    async def attempt(
        self,
        name: str,
        password: Secret,
        code: str | None = None,
        *,
        address: str,
        device: str = "",
        known: Secret | None = None,
    ) -> SignedIn:
        """`address` is whole; `device` is what the browser calls itself, `known` the token that it kept.

        Unauthenticated with the code `invalid_login`: the same answer for the same work, whether the name or the
        password is wrong. With `code_required` only where the password is right and a code is needed, with
        `invalid_code` where that is wrong, which counts as any failed attempt does. RateLimited and Overloaded say when
        to come back; nothing was looked at then.
        """
        account = plain(name) if len(name) <= LONGEST_NAME_GIVEN else ""
        device_id = self._devices.recognized(known, account)
        if device_id is None and self._strangers >= STRANGERS_AT_ONCE:
            self.outcomes["slowed"] += 1
            raise Overloaded("Too many passwords are being checked; come back in a moment.", retry_after=RETRY_AFTER)
        try:
            attempt = self.throttle.begin(account, password, bucket(address), device_id)
        except RateLimited:
            self.outcomes["slowed"] += 1
            self._in_vain(address)
            raise
        self._strangers += device_id is None
        try:
            administrator = await self._administrators.check(name, password)
            await self._second_factors.check(administrator, code)
        except Unauthenticated as refused:
            if refused.code == "code_required":
                attempt.take_back()
                raise
            self.outcomes["refused"] += 1
            self._refusals.count(shortened(address))
            self._in_vain(address)
            raise
        except (Overloaded, StorageFailure):
            attempt.take_back()
            raise
        finally:
            self._strangers -= device_id is None
        attempt.take_back()
        session, secret = await self._sessions.begin(administrator, address=address, device=device)
        self.outcomes["signed_in"] += 1
        return SignedIn(session, secret, self._devices.token(account, device_id))

    def device(self, known: Secret | None) -> str | None:
        """The id of a device from which somebody has signed in before."""
        return self._devices.seen(known)

    async def close(self) -> None:
        """Writes what is still to be told of refused sign-ins."""
        await self._refusals.close()

    def _in_vain(self, address: str) -> None:
        if self.throttle.in_vain():
            self._alerts.tell(
                "login_storm", "passwords of administrators are being guessed; they are slowed", shortened(address)
            )
