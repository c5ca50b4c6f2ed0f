"""How pages say things: numbers, money, times, and the state that a key or a credential is in."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from claude_code_api.access import ApiKey, CredentialRecord
from claude_code_api.credential import CredentialKind
from claude_code_api.usage.figures import Figures

State = tuple[str, str]
"""A few words, and the class of the badge that they stand in: good, warn, bad, or nothing."""

SOON = timedelta(days=14)
DONE: Final = {
    "signed-out": "You are signed out.",
    "key-saved": "The key was changed.",
    "key-revoked": "The key was revoked: nobody can use it any more.",
    "credential-added": "The credential was added. Now make a key on it.",
    "credential-works": "The credential was added, and Anthropic takes it.",
    "credential-tested": "Anthropic takes this token.",
    "credential-renamed": "The credential has its new name.",
    "credential-replaced": "The token was replaced; every key uses the new one.",
    "credential-removed": "The credential was removed.",
    "role-saved": "The role was changed.",
    "removed": "The administrator was removed.",
    "withdrawn": "The invitation was withdrawn.",
    "signed-out-everywhere": "All sessions of this administrator were ended.",
    "factor-reset": "The second factor was turned off.",
    "password-changed": "Your password was changed, and your other sessions were ended.",
    "factor-off": "The second factor was turned off.",
    "session-ended": "The session was ended.",
    "others-ended": "All your other sessions were ended.",
    "token-revoked": "The token was revoked.",
}
"""What has just been done, by what stands in the address after it: nobody can have us say anything else."""
_SPANS = (("year", 365 * 86_400), ("month", 30 * 86_400), ("day", 86_400), ("hour", 3600), ("minute", 60))
_BROWSERS = (("Edg", "Edge"), ("OPR", "Opera"), ("Firefox", "Firefox"), ("Chrom", "Chrome"), ("Safari", "Safari"))
_SYSTEMS = (("Android", "Android"), ("iPhone", "iPhone"), ("iPad", "iPad"), ("Windows", "Windows"),
            ("Mac OS", "macOS"), ("CrOS", "ChromeOS"), ("Linux", "Linux"))  # fmt: skip
_LIMITS: Final[dict[str, State]] = {
    "allowed": ("Working", "good"), "allowed_warning": ("Near its limit", "warn"), "rejected": ("Limit spent", "bad"),
}  # fmt: skip


def count(number: float) -> str:
    return f"{number:,.0f}"


def short_count(number: float) -> str:
    """Three figures at most: 12.3k."""
    for size, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if number >= size:
            return f"{number / size:.3g}{letter}"
    return f"{number:.3g}"


def usd(billionths: float) -> str:
    """Cents where it is dollars, more where it is less."""
    dollars = billionths / 1e9
    if dollars and dollars < 0.01:
        return "< $0.0001" if dollars < 0.0001 else f"${dollars:.4f}"
    return f"${dollars:,.2f}"


def duration(milliseconds: float | None) -> str:
    if milliseconds is None:
        return "–"
    return f"{milliseconds:,.0f} ms" if milliseconds < 10_000 else f"{milliseconds / 1000:,.1f} s"


def tokens(figures: Figures) -> int:
    return figures.input_tokens + figures.output_tokens + figures.cache_read_tokens + figures.cache_write_tokens


# --- times ------------------------------------------------------------------------------------------------


def iso(at: datetime) -> str:
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def moment(at: datetime) -> str:
    """As it is read where no script tells the reader's own time."""
    utc = at.astimezone(UTC)
    return f"{utc.day} {utc:%b %Y, %H:%M} UTC"


def ago(at: datetime, now: datetime | None = None) -> str:
    seconds = ((now or datetime.now(UTC)) - at).total_seconds()
    for name, length in _SPANS:
        number = int(abs(seconds) // length)
        if number:
            told = f"{number} {name}{'s' if number > 1 else ''}"
            return f"{told} ago" if seconds > 0 else f"in {told}"
    return "just now" if seconds >= 0 else "in a moment"


# --- states -----------------------------------------------------------------------------------------------


def key_state(key: ApiKey) -> State:
    if key.revoked_at:
        return "Revoked", "bad"
    if not key.is_live:
        return "Ended", ""
    if key.replaced_by:
        return "Rotated", "warn"
    if key.expires_at and key.expires_at - datetime.now(UTC) < SOON:
        return "Ends soon", "warn"
    return ("Unused", "warn") if key.is_unused else ("Active", "good")


def limits(key: ApiKey) -> str:
    """The limits of its own, in few words."""
    told = []
    if key.rate_limit:
        told.append(key.rate_limit)
    if key.max_concurrent:
        told.append(f"{key.max_concurrent} at once")
    if key.models:
        told.append(key.models[0] if len(key.models) == 1 else f"{len(key.models)} models")
    return ", ".join(told) or "none"


def credential_state(credential: CredentialRecord) -> State:
    if credential.refused_at:
        return "Refused", "bad"
    if credential.limit and not _is_past(resets_at(credential)):
        return _LIMITS.get(credential.limit.status, ("Working", "good"))
    return ("Working", "good") if credential.last_used_at else ("Not used yet", "")


def limit_told(credential: CredentialRecord) -> str:
    if credential.limit is None:
        return "nothing told yet"
    return (credential.limit.limit_type or "limit").replace("_", " ")


def resets_at(credential: CredentialRecord) -> datetime | None:
    """When its limit is full again, where Anthropic told."""
    seconds = credential.limit and credential.limit.resets_at
    return datetime.fromtimestamp(seconds, UTC) if seconds else None


def kind(of: CredentialKind) -> str:
    return {"oauth": "Claude account", "api_key": "Anthropic API key"}[of.value]


def device(agent: str) -> str:
    """What a browser says of itself, in two words."""
    browser = next((name for mark, name in _BROWSERS if mark in agent), None)
    system = next((name for mark, name in _SYSTEMS if mark in agent), None)
    if browser is None:
        return agent[:40] or "unknown"
    return f"{browser} on {system}" if system else browser


# --- the audit log ----------------------------------------------------------------------------------------


def details(given: Mapping[str, Any]) -> list[tuple[str, str]]:
    return [(name.replace("_", " "), _plain(value)) for name, value in given.items() if value is not None]


def address_of(target: str) -> str | None:
    """The page of what an entry is of."""
    if re.fullmatch(r"key_\w+", target):
        return f"/admin/keys/{target}"
    return f"/admin/credentials/{target}" if re.fullmatch(r"cred_\w+", target) else None


def _is_past(at: datetime | None) -> bool:
    return at is not None and at < datetime.now(UTC)


def _plain(value: object) -> str:
    if isinstance(value, dict):
        if set(value) == {"from", "to"}:
            return f"{_plain(value['from'])} → {_plain(value['to'])}"
        return ", ".join(f"{name.replace('_', ' ')} {_plain(each)}" for name, each in value.items())
    if isinstance(value, list | tuple):
        return ", ".join(map(_plain, value)) or "none"
    return "none" if value is None else str(value)
