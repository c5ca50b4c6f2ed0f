"""The file: a head that anybody can read, and contents that only a master key opens.

    "claude-code-api backup 1" and a line feed │ length of the head 4 │ head, JSON │ chunk │ chunk │ … │ last chunk

The head names the master keys by their ids and holds the file's own key, which the vault has sealed under the first of
them. Each chunk is AES-256-GCM under that key: 64 KiB of the contents (the last one has 1 byte to 64 KiB) and 16 of
proof. A chunk's nonce is its position and whether it is the last, and all before the first chunk is bound to each one,
so that nothing can be changed, cut, put in another order or taken over from another file (STREAM, Hoang, Reyhanitabar,
Rogaway and Vizár, 2015, as age uses it: https://c2sp.org/age).
"""

from __future__ import annotations

import hashlib
from datetime import datetime
from typing import BinaryIO

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from claude_code_api.access.vault import Place
from claude_code_api.errors import OperatorFailure, VaultFailure

MAGIC = b"claude-code-api backup 1\n"
LENGTH_BYTES = 4
LONGEST_HEAD = 64 * 1024
CHUNK = 64 * 1024
"""Bytes of the contents in a chunk."""
TAG_BYTES = 16
DAMAGED = "The backup is damaged: it was changed or cut. Nothing was changed."


class Head(msgspec.Struct, frozen=True, kw_only=True):
    """`database` is its version, `release` ours. `master_keys` are ids: the first opens the file, and all of them
    together the records in it (more than one where a rotation was under way). `key` is the file's, sealed.
    """

    id: str
    made_at: datetime
    release: str
    database: str
    master_keys: list[str]
    key: bytes

    @property
    def place(self) -> Place:
        """What the sealed key is bound to."""
        return Place("backup.key", self.id)


class Writer:
    """Encrypts what is written to it. `size` is the file's until now; `end` must be called, or it will not open."""

    def __init__(self, file: BinaryIO, head: Head, key: bytes) -> None:
        encoded = msgspec.json.encode(head)
        before = MAGIC + len(encoded).to_bytes(LENGTH_BYTES, "big") + encoded
        self._file = file
        self._chunks = _Chunks(key, before)
        self._rest = bytearray()
        self.size = 0
        self._put(before)

    def write(self, content: bytes) -> int:
        self._rest += content
        while len(self._rest) > CHUNK:  # a full one waits, since it may be the last
            self._put(self._chunks.seal(bytes(self._rest[:CHUNK]), last=False))
            del self._rest[:CHUNK]
        return len(content)

    def end(self) -> None:
        self._put(self._chunks.seal(bytes(self._rest), last=True))

    def _put(self, content: bytes) -> None:
        self._file.write(content)
        self.size += len(content)


class Reader:
    """Decrypts; what `read` gives has been proved. Only what was read to its end was whole: see `finish`."""

    def __init__(self, file: BinaryIO, before: bytes, key: bytes) -> None:
        self._file = file
        self._chunks = _Chunks(key, before)
        self._ahead = file.read(CHUNK + TAG_BYTES)
        self._rest = b""
        self._ended = False

    def read(self, size: int) -> bytes:
        """At most so many bytes; none at the end. VaultFailure for anything that is not as it was written."""
        while len(self._rest) < size and not self._ended:
            self._rest += self._next()
        content, self._rest = self._rest[:size], self._rest[size:]
        return content

    def finish(self) -> None:
        """Reads what is left, so that all of it is proved."""
        while self.read(CHUNK):
            pass

    def _next(self) -> bytes:
        sealed, self._ahead = self._ahead, self._file.read(CHUNK + TAG_BYTES)
        self._ended = not self._ahead
        return self._chunks.unseal(sealed, last=self._ended)


def read_head(file: BinaryIO) -> tuple[Head, bytes]:
    """The head, not proved yet, and the bytes until the first chunk. OperatorFailure where it is no backup of ours."""
    begin = file.read(len(MAGIC))
    if begin != MAGIC:
        other = begin.startswith(MAGIC[:-2])
        what = "a backup in a form that a newer release made" if other else "no backup of Claude Code API"
        raise OperatorFailure(f"The file is {what}. Nothing was changed.")
    length = file.read(LENGTH_BYTES)
    size = int.from_bytes(length, "big")
    encoded = file.read(min(size, LONGEST_HEAD))
    try:
        head = msgspec.json.decode(encoded, type=Head)
        if len(encoded) != size or not head.master_keys:
            raise ValueError
        for master in head.master_keys:
            bytes.fromhex(master)
    except (ValueError, msgspec.DecodeError):
        raise VaultFailure(DAMAGED) from None
    return head, begin + length + encoded


class _Chunks:
    """Seals or opens chunks in their order."""

    def __init__(self, key: bytes, before: bytes) -> None:
        self._cipher = AESGCM(key)
        self._bound = hashlib.sha256(before).digest()
        self._position = 0

    def seal(self, content: bytes, *, last: bool) -> bytes:
        return self._cipher.encrypt(self._nonce(last), content, self._bound)

    def unseal(self, sealed: bytes, *, last: bool) -> bytes:
        try:
            return self._cipher.decrypt(self._nonce(last), sealed, self._bound)
        except (InvalidTag, ValueError):  # ValueError: shorter than a proof
            raise VaultFailure(DAMAGED) from None

    def _nonce(self, last: bool) -> bytes:
        """Twelve bytes that never come again under this key, which is the file's alone."""
        position, self._position = self._position, self._position + 1
        return position.to_bytes(11, "big") + bytes([last])
