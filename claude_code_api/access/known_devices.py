"""Devices that have signed in before: they keep a token, so that no storm of guesses keeps their owner waiting.

A token opens nothing. It is bound to the account's name, and its proof is an HMAC, so that nothing has to be stored:
`device id . moment of issue . proof for the name . proof for any name`. A changed password leaves it good, or the owner
would wait after it.
"""

from __future__ import annotations

import hmac
import re
import secrets
import time
from collections.abc import Callable

from claude_code_api.access.keyed_hash import KeyedHash
from claude_code_api.secret import Secret

GOOD_FOR = 400 * 86_400
"""Seconds; what browsers keep a cookie for at most (RFC 6265bis, 5.6.1). Each sign-in begins it anew."""

ANY = "\n"
"""In the place of a name; no name holds a control character."""

_FORM = re.compile(r"([0-9a-f]{32})\.([0-9]{1,12})\.([0-9a-f]{64})\.([0-9a-f]{64})", re.ASCII)


class KnownDevices:
    def __init__(self, pepper: bytes, clock: Callable[[], float] = time.time) -> None:
        self._hash = KeyedHash(pepper, "known devices")
        self._clock = clock

    def token(self, name: str, device: str | None) -> Secret:
        """For a device that has just signed in; `device` is the id that it had."""
        device, issued = device or secrets.token_hex(16), str(int(self._clock()))
        return Secret(f"{device}.{issued}.{self._proof(name, device, issued)}.{self._proof(ANY, device, issued)}")

    def recognized(self, token: Secret | None, name: str) -> str | None:
        """The device's id, where its token is good for the account of this name."""
        parts = self._parts(token)
        return parts[1] if parts and hmac.compare_digest(parts[3], self._proof(name, parts[1], parts[2])) else None

    def seen(self, token: Secret | None) -> str | None:
        """The device's id, whoever signed in on it."""
        parts = self._parts(token)
        return parts[1] if parts and hmac.compare_digest(parts[4], self._proof(ANY, parts[1], parts[2])) else None

    def _parts(self, token: Secret | None) -> re.Match[str] | None:
        parts = _FORM.fullmatch(token.reveal()) if token is not None else None
        return parts if parts and 0 <= self._clock() - int(parts[2]) < GOOD_FOR else None

    def _proof(self, name: str, device: str, issued: str) -> str:
        return self._hash.of(Secret(device), name, issued).hex()
