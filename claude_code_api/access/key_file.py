"""The JSON key file of the security policy: `{"sk-…": {"oauthToken", "keyName", "createdAt", "lastUsed"}}`. Pure.

Nothing of a file is taken before all of it is right, and no message quotes a key or a token.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Any

import msgspec

from claude_code_api.access import names
from claude_code_api.credential import kind_of
from claude_code_api.errors import InvalidRequest
from claude_code_api.secret import Secret

LARGEST = 16 * 1024 * 1024  # bytes
_KEY = re.compile(r"[\x21-\x7e]{16,512}")
_MILLISECONDS = 100_000_000_000  # seconds up to here are years before 5138; more is a time in milliseconds


class KeyEntry(msgspec.Struct, frozen=True):
    """One key of the file: its text, the token that stands behind it, and what was known of it."""

    key: Secret
    token: Secret
    name: str
    created_at: datetime
    last_used_at: datetime | None


class _Given(msgspec.Struct, rename="camel"):
    oauth_token: str
    key_name: str
    created_at: str | int | float | None = None
    last_used: str | int | float | None = None


def read_key_file(content: bytes) -> list[KeyEntry]:
    """The file's entries; InvalidRequest names the entry that is wrong by its name or place."""
    if len(content) > LARGEST:
        raise InvalidRequest(f"The key file is larger than {LARGEST // 1024**2} MB.")
    try:
        given: dict[str, Any] = msgspec.json.decode(content, type=dict[str, Any])
    except (msgspec.DecodeError, UnicodeDecodeError):
        raise InvalidRequest('A key file is a JSON object, {"sk-…": {"oauthToken": …, "keyName": …}, …}.') from None
    return [_entry(key, value, f"entry {place}") for place, (key, value) in enumerate(given.items(), 1)]


def _entry(key: str, value: Any, place: str) -> KeyEntry:
    try:
        given = msgspec.convert(value, _Given)
    except msgspec.ValidationError:
        raise InvalidRequest(f"The {place} of the key file needs the texts `oauthToken` and `keyName`.") from None
    try:
        name = names.checked(given.key_name)
    except InvalidRequest as fault:
        raise InvalidRequest(f"The name of the {place} of the key file cannot be kept: {fault.message}") from None
    if not _KEY.fullmatch(key):
        raise InvalidRequest(f"The key {name!r} of the key file is not 16 to 512 printable characters without spaces.")
    token = Secret(given.oauth_token.strip())
    try:
        kind_of(token)
    except InvalidRequest:
        raise InvalidRequest(
            f"The token of {name!r} is none (sk-ant-…): if it is encrypted, have the other system write it decrypted."
        ) from None
    created_at = _moment(given.created_at, f"createdAt of {name!r}") or datetime.now(UTC)
    return KeyEntry(Secret(key), token, name, created_at, _moment(given.last_used, f"lastUsed of {name!r}"))


def _moment(given: str | float | None, what: str) -> datetime | None:
    """ISO 8601, or seconds or milliseconds since 1970; a time without a zone is in UTC."""
    if given is None or given == "":
        return None
    try:
        if isinstance(given, str):
            moment = datetime.fromisoformat(given)
            return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
        return datetime.fromtimestamp(given / 1000 if given > _MILLISECONDS else given, UTC)
    except (ValueError, OverflowError, OSError):
        raise InvalidRequest(f"The {what} in the key file is no time (ISO 8601).") from None
