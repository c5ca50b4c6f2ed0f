"""One-time codes: six digits for each half minute (TOTP, RFC 6238), and recovery codes. Pure."""

from __future__ import annotations

import base64
import hmac
import secrets
from collections.abc import Iterator
from urllib.parse import quote

from claude_code_api.secret import Secret

STEP = 30
"""Seconds."""
DIGITS = 6
AROUND = 1
"""Steps that a clock may be early or late (RFC 6238, 5.2)."""
SECRET_BYTES = 20  # as many as SHA-1 gives (RFC 4226, 4)
RECOVERY_CODES = 10
RECOVERY_ALPHABET = "abcdefghjkmnpqrstuvwxyz23456789"
"""Letters and figures that nobody takes for others."""
RECOVERY_LENGTH = 10  # × log2(31) = 49.5 bits; guesses are slowed, and hashes are under the pepper


def new_secret() -> bytes:
    return secrets.token_bytes(SECRET_BYTES)


def spelled(secret: bytes) -> Secret:
    """As it is typed into an authenticator."""
    return Secret(base64.b32encode(secret).decode())


def address(secret: bytes, name: str, issuer: str) -> Secret:
    """What an authenticator reads from a QR code (the Key URI format)."""
    label = f"{quote(issuer, safe='')}:{quote(name, safe='')}"
    return Secret(f"otpauth://totp/{label}?secret={spelled(secret).reveal()}&issuer={quote(issuer, safe='')}")


def code_at(secret: bytes, step: int) -> Secret:
    """The code of one step, as RFC 4226, 5.3 cuts it from the HMAC. SHA-1, which is what authenticators know."""
    digest = hmac.digest(secret, step.to_bytes(8, "big"), "sha1")
    offset = digest[-1] & 0xF
    number = int.from_bytes(digest[offset : offset + 4], "big") & 0x7FFF_FFFF
    return Secret(f"{number % 10**DIGITS:0{DIGITS}}")


def steps_of(secret: bytes, code: Secret, now: float) -> Iterator[int]:
    """The steps about now that have this code; more than one by chance alone."""
    step = int(now) // STEP
    for each in range(max(0, step - AROUND), step + AROUND + 1):
        if code_at(secret, each) == code:  # in constant time
            yield each


def new_recovery_code() -> Secret:
    letters = "".join(secrets.choice(RECOVERY_ALPHABET) for _ in range(RECOVERY_LENGTH))
    return Secret(f"{letters[:5]}-{letters[5:]}")


def typed(code: str) -> Secret:
    """A code of either kind without what people put between its parts."""
    return Secret("".join(sign for sign in code[:100].casefold() if not sign.isspace() and sign != "-"))


def is_of_time(code: Secret) -> bool:
    """Whether it has the form of a code of TOTP."""
    text = code.reveal()
    return len(text) == DIGITS and text.isascii() and text.isdigit()
