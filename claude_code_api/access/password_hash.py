"""How passwords are kept: bcrypt of a keyed pre-hash, a bounded number at a time (policy A3).

bcrypt reads 72 bytes and stops at a NUL. So it gets base64 of HMAC-SHA-256 instead, 44 characters that every byte of
the password counts for. The key is derived from the pepper: a copy of the database alone is no ground to guess on,
and no plain SHA-256 that leaked elsewhere can be tried in its place. Derived, rather than the pepper itself, since
the pepper's own HMAC is what API keys are stored as.
"""

from __future__ import annotations

import asyncio
import hmac
from base64 import b64encode
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import bcrypt
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from claude_code_api.access.password_rules import LONGEST_GIVEN, counted
from claude_code_api.errors import Overloaded
from claude_code_api.secret import Secret

T = TypeVar("T")

AT_ONCE = 2
MOST_WAITING = 16
"""Hashings that may wait, about two seconds of work; more are told to come back."""
RETRY_AFTER = 2
KEY_BYTES = 32


def derived(pepper: bytes, purpose: str) -> bytes:
    """A key of its own for each purpose (HKDF, RFC 5869)."""
    return HKDF(SHA256(), KEY_BYTES, salt=None, info=purpose.encode()).derive(pepper)


class PasswordHasher:
    """Hashes in threads of its own, so that neither a storm of logins nor one that was left takes more than two."""

    def __init__(self, pepper: bytes, rounds: int) -> None:
        self._mac = hmac.new(derived(pepper, "passwords"), digestmod="sha256")
        self._rounds = rounds
        self._threads = ThreadPoolExecutor(AT_ONCE, "password")
        self._under_way = 0

    async def hash(self, password: Secret) -> str:
        """As bcrypt writes it, its factor and salt in front. Overloaded where too many wait."""
        return await self._in_thread(lambda: _hash(self._prepared(password), self._rounds))

    async def matches(self, password: Secret, kept: str | None, every: Sequence[str] = ()) -> bool:
        """Whether this is the password that is kept; False where none is.

        A refusal costs the same work in every case: that of the hardest of `every` hash there is and of the setting.
        So nobody learns from the time whether there is a password, or how old it is. Overloaded as above.
        """
        if len(password.reveal()) > LONGEST_GIVEN:
            password, kept = Secret(""), None
        work = max([self._rounds, *map(rounds_of, every)])
        return await self._in_thread(lambda: _matches(self._prepared(password), kept, work))

    def is_outdated(self, kept: str) -> bool:
        """Whether the setting asks for more work than this was."""
        return rounds_of(kept) < self._rounds

    def close(self) -> None:
        self._threads.shutdown(wait=False, cancel_futures=True)

    def _prepared(self, password: Secret) -> bytes:
        mac = self._mac.copy()
        mac.update(counted(password).encode(errors="surrogatepass"))
        return b64encode(mac.digest())

    async def _in_thread(self, work: Callable[[], T]) -> T:
        if self._under_way >= AT_ONCE + MOST_WAITING:
            raise Overloaded("Too many passwords are being checked; come back in a moment.", retry_after=RETRY_AFTER)
        self._under_way += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._threads, work)
        finally:
            self._under_way -= 1


def rounds_of(kept: str) -> int:
    """The work factor of `$2b$12$…`."""
    return int(kept.split("$")[2])


def _hash(prepared: bytes, rounds: int) -> str:
    return bcrypt.hashpw(prepared, bcrypt.gensalt(rounds)).decode()


def _matches(prepared: bytes, kept: str | None, work: int) -> bool:
    if kept is None:
        _hash(prepared, work)
        return False
    if bcrypt.checkpw(prepared, kept.encode()):
        return True
    for rounds in range(rounds_of(kept), work):  # each doubles what was spent
        _hash(prepared, rounds)
    return False
