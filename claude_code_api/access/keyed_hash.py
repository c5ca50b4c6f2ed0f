"""Keyed hashes of random texts: what the database holds in their place."""

from __future__ import annotations

import hmac

from claude_code_api.access.password_hash import derived
from claude_code_api.secret import Secret


class KeyedHash:
    """HMAC-SHA-256 under a key that is derived from the pepper, another one for each purpose.

    A plain keyed hash is right for secrets of so many random bits (ASVS 5.0, 6.5.2). Looked up by, it needs no
    comparison in constant time: nobody can choose a hash without the pepper.
    """

    def __init__(self, pepper: bytes, purpose: str) -> None:
        self._mac = hmac.new(derived(pepper, purpose), digestmod="sha256")  # holds the key where no repr finds it

    def of(self, text: Secret, *bound: str) -> bytes:
        """`bound` is what the text is to count for alone, each with its length before it."""
        mac = self._mac.copy()
        for part in (*bound, text.reveal()):
            encoded = part.encode(errors="surrogatepass")
            mac.update(len(encoded).to_bytes(8, "big") + encoded)
        return mac.digest()
