"""Master keys: 32 random bytes each, the one thing that a backup must not hold, and the keyring that keeps them.

A keyring is text: each key in base64 as a word of its own, the newest first, lines that begin with `#` are comments.
Older keys stay below, so that what was sealed under them, old backups too, still opens.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import secrets
from collections.abc import Iterable

from cryptography.hazmat.primitives.ciphers.aead import AESGCM

KEY_BYTES = 32
ID_BYTES = 8
LONGEST_KEYRING = 256 * 1024
"""Bytes of text, which is room for more than a thousand keys."""


class MasterKey:
    """A key that wraps data keys. `id` is eight bytes that follow from the key and tell nothing of it.

    The key itself is kept inside the cipher, so that no attribute, `repr` or pickle has it.
    """

    __slots__ = ("cipher", "id")

    def __init__(self, key: bytes) -> None:
        self.cipher = AESGCM(key)
        self.id = hashlib.sha256(b"claude-code-api master key id\0" + key).digest()[:ID_BYTES]

    def __repr__(self) -> str:
        return f"MasterKey({self.id.hex()})"


class Keyring:
    """Master keys by their ids. `newest` is the one that a rotation brings everything under."""

    def __init__(self, keys: Iterable[MasterKey]) -> None:
        self._keys: dict[bytes, MasterKey] = {}
        for key in keys:
            self._keys.setdefault(key.id, key)
        self.newest = next(iter(self._keys.values()))

    def __contains__(self, key_id: object) -> bool:
        return key_id in self._keys

    def get(self, key_id: bytes) -> MasterKey | None:
        return self._keys.get(key_id)

    @property
    def ids(self) -> list[str]:
        """As they are shown, the newest first."""
        return [key_id.hex() for key_id in self._keys]

    def __repr__(self) -> str:
        return f"Keyring({', '.join(self.ids)})"


def read_keyring(text: bytes) -> Keyring | None:
    """The keys in the text, None where it holds anything else, or none."""
    if len(text) > LONGEST_KEYRING:
        return None
    lines = [line for line in text.splitlines() if not line.lstrip().startswith(b"#")]
    try:
        keys = [base64.b64decode(word, validate=True) for line in lines for word in line.split()]
    except binascii.Error:
        return None
    if not keys or any(len(key) != KEY_BYTES for key in keys):
        return None
    return Keyring(map(MasterKey, keys))


def new_key() -> tuple[MasterKey, str]:
    """A random key, and the lines of a keyring that hold it."""
    key = secrets.token_bytes(KEY_BYTES)
    master = MasterKey(key)
    comment = (
        f"# Master key {master.id.hex()} of Claude Code API; stored tokens are lost without it: keep a copy apart."
    )
    return master, f"{comment}\n{base64.b64encode(key).decode()}\n"
