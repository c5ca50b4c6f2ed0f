"""The master key: 32 random bytes in a private file, the one thing that a backup must not hold."""

from __future__ import annotations

import base64
import binascii
import hashlib
import os
import secrets
import shlex
from pathlib import Path

from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from claude_code_api.errors import VaultFailure

KEY_BYTES = 32
ID_BYTES = 8


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


def create(path: Path) -> MasterKey:
    """A new key in a new file. VaultFailure where the file is there already or cannot be made."""
    key = secrets.token_bytes(KEY_BYTES)
    master = MasterKey(key)
    text = (
        f"# Master key {master.id.hex()} of Claude Code API; stored tokens are lost without it, so keep a copy apart.\n"
        f"{base64.b64encode(key).decode()}\n"
    )
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        with open(descriptor, "w", encoding="ascii") as file:
            file.write(text)
            file.flush()
            os.fsync(descriptor)
        _sync_directory(path.parent)  # the name must outlive a power cut, too
    except OSError as error:
        raise VaultFailure(f"The master key file {path} cannot be made: {error.strerror}.") from None
    return master


def load(path: Path) -> MasterKey | None:
    """The key in the file, None where there is no file. VaultFailure for one that others may read, or is no key."""
    try:
        with path.open("rb") as file:
            exposed = os.fstat(file.fileno()).st_mode & 0o077
            lines = [line.strip() for line in file.read(4096).splitlines()]
    except FileNotFoundError:
        return None
    except OSError as error:
        raise VaultFailure(f"The master key file {path} cannot be read: {error.strerror}.") from None
    if exposed:
        raise VaultFailure(f"Others may read the master key file {path}: run `chmod 600 {shlex.quote(str(path))}`.")
    given = [line for line in lines if line and not line.startswith(b"#")]
    try:
        key = base64.b64decode(given[0], validate=True) if len(given) == 1 else b""
    except binascii.Error:
        key = b""
    if len(key) != KEY_BYTES:
        raise VaultFailure(f"The file {path} holds no master key ({KEY_BYTES} bytes in base64, on one line).")
    return MasterKey(key)


def _sync_directory(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
