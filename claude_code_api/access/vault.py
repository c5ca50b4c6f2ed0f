"""The vault: envelope encryption of what is stored (policy T2).

Each record is sealed with AES-256-GCM under a data key of its own; the data key is wrapped, likewise, under a
master key. Associated data bind both to the record's place, its column and id, so that a ciphertext moved
elsewhere does not open. A sealed record, in bytes:

    version 1 │ master key id 8 │ nonce 12 │ wrapped data key 48 │ nonce 12 │ ciphertext and tag, n + 16
    ──────────────── the wrapping, 69 ────────────────────────── │ ─────────── the content ────────────

Only the wrapping names the master key: a rotation replaces it and leaves the content as it is.
"""

from __future__ import annotations

import secrets

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from claude_code_api.access.master_key import ID_BYTES, KEY_BYTES, Keyring, MasterKey
from claude_code_api.errors import VaultFailure

VERSION = b"\x01"
NONCE_BYTES = 12
TAG_BYTES = 16
WRAPPING_BYTES = len(VERSION) + ID_BYTES + NONCE_BYTES + KEY_BYTES + TAG_BYTES


class Place(msgspec.Struct, frozen=True):
    """Where a sealed record is stored: `column` as "table.column", and the row's id."""

    column: str
    record: str

    def __str__(self) -> str:
        return f"{self.column} of {self.record!r}"


class Vault:
    """Seals under one key of a keyring, its newest where none is named, and opens what any of them has sealed."""

    def __init__(self, keyring: Keyring) -> None:
        self.keyring = keyring

    def seal(self, content: bytes, place: Place, under: bytes | None = None) -> bytes:
        """`under` is a master key's id; VaultFailure where the keyring lacks it."""
        master = self.keyring.newest if under is None else self._master(under, place)
        data_key = AESGCM.generate_key(KEY_BYTES * 8)
        return _wrapped(data_key, place, master) + _encrypt(
            AESGCM(data_key), content, VERSION + _bound("content", place)
        )

    def unseal(self, sealed: bytes, place: Place) -> bytes:
        """What was sealed for this place; VaultFailure for anything else, without a word of what it might be."""
        data_key = AESGCM(self._unwrapped(sealed, place))
        try:
            return _decrypt(data_key, sealed[WRAPPING_BYTES:], VERSION + _bound("content", place))
        except (InvalidTag, ValueError):  # ValueError: cut too short
            raise _does_not_open(place) from None

    def rewrap(self, sealed: bytes, place: Place) -> bytes:
        """The same content and data key, wrapped under the newest master key. VaultFailure unless it opens."""
        self.unseal(sealed, place)  # what is broken must not look new
        return _wrapped(self._unwrapped(sealed, place), place, self.keyring.newest) + sealed[WRAPPING_BYTES:]

    def _unwrapped(self, sealed: bytes, place: Place) -> bytes:
        """The data key."""
        master = self._master(master_key_id(sealed), place)
        head, wrapped = sealed[: 1 + ID_BYTES], sealed[1 + ID_BYTES : WRAPPING_BYTES]
        try:
            if head[:1] != VERSION:
                raise InvalidTag
            return _decrypt(master.cipher, wrapped, head + _bound("data key", place))
        except (InvalidTag, ValueError):
            raise _does_not_open(place) from None

    def _master(self, key_id: bytes, place: Place) -> MasterKey:
        master = self.keyring.get(key_id)
        if master is None:
            raise VaultFailure(f"The stored {place} needs the master key {key_id.hex()}.")
        return master


def _wrapped(data_key: bytes, place: Place, master: MasterKey) -> bytes:
    head = VERSION + master.id
    return head + _encrypt(master.cipher, data_key, head + _bound("data key", place))


def _does_not_open(place: Place) -> VaultFailure:
    return VaultFailure(f"The stored {place} does not open: it was changed, moved or cut short.")


def master_key_id(sealed: bytes) -> bytes:
    """The id of the master key that a sealed record was wrapped under."""
    return sealed[len(VERSION) : len(VERSION) + ID_BYTES]


def _bound(part: str, place: Place) -> bytes:
    """Associated data; each text with its length before it, so that no two places read the same."""
    texts = [text.encode() for text in (part, place.column, place.record)]
    return b"".join(len(text).to_bytes(4, "big") + text for text in texts)


def _encrypt(cipher: AESGCM, content: bytes, bound: bytes) -> bytes:
    nonce = secrets.token_bytes(NONCE_BYTES)
    return nonce + cipher.encrypt(nonce, content, bound)


def _decrypt(cipher: AESGCM, encrypted: bytes, bound: bytes) -> bytes:
    return cipher.decrypt(encrypted[:NONCE_BYTES], encrypted[NONCE_BYTES:], bound)
