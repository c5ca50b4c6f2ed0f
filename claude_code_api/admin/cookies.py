"""The two cookies: the session, and the mark of a device from which somebody has signed in before."""

from __future__ import annotations

from datetime import UTC, datetime

from claude_code_api.secret import Secret
from claude_code_api.surface.exchange import Exchange

SESSION = "__Host-session"
DEVICE = "__Host-device"
DEVICE_SECONDS = 365 * 86_400
_ATTRIBUTES = "Path=/; Secure; HttpOnly; SameSite=Strict"

Header = tuple[bytes, bytes]


def given(exchange: Exchange, name: str) -> Secret | None:
    """The value of a cookie; None where there is none, or where two of this name disagree."""
    found = set()
    for field, value in exchange.fields:
        if field == b"cookie":
            for pair in value.decode("latin-1").split(";"):
                key, _, text = pair.strip().partition("=")
                if key == name and text:
                    found.add(text)
    return Secret(found.pop()) if len(found) == 1 else None


def session(secret: Secret, ends_at: datetime) -> Header:
    seconds = max(0, int((ends_at - datetime.now(UTC)).total_seconds()))
    return _set(SESSION, secret.reveal(), seconds)


def device(secret: Secret) -> Header:
    return _set(DEVICE, secret.reveal(), DEVICE_SECONDS)


def no_session() -> Header:
    return _set(SESSION, "", 0)


def _set(name: str, value: str, seconds: int) -> Header:
    return b"set-cookie", f"{name}={value}; {_ATTRIBUTES}; Max-Age={seconds}".encode()
