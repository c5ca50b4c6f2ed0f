"""Versions: what tells whether a thing is still as somebody has seen it, before it is changed."""

from __future__ import annotations

import hashlib

import msgspec

from claude_code_api.errors import PreconditionFailed

LENGTH = 16
"""Hexadecimal digits; it guards against slips, not against forgery."""


def version_of(shown: msgspec.Struct) -> str:
    """The same for the same content, another for any other; safe within an `ETag`."""
    return hashlib.sha256(msgspec.json.encode(shown)).hexdigest()[:LENGTH]


def check_version(current: str, expected: str | None) -> None:
    """PreconditionFailed where something else was expected; to be asked within the transaction that changes it."""
    if expected is not None and expected != current:
        raise PreconditionFailed("It was changed meanwhile. Look at it again, then decide again.")
