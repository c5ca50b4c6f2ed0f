"""Slows the guessing of passwords, and never locks anybody out (policy A3, L4).

Attempts are counted when they begin, so that many at once are no way around it, and those that turn out right are
taken back. Five are free; then each has to wait longer after the one before, up to half a minute. They are counted

- by address and by account, for whoever comes from a device that the gateway does not know;
- by the device alone, for one that has signed in to this account before: no storm keeps it waiting;
- in a lane of their own, for whoever was told to wait, did, and comes back with the same words. A storm
  takes the place that becomes free within a moment, and would keep everybody else out. Guesses do not come twice.

An attempt that is told to come back costs no work, and makes nobody wait longer. Unknown names count as known ones.
Pure: the time comes from a clock that can be given.
"""

from __future__ import annotations

import hmac
import math
import secrets
import time
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

from claude_code_api.access.password_rules import LONGEST_GIVEN
from claude_code_api.errors import RateLimited
from claude_code_api.secret import Secret

FREE = 5
"""Attempts without any wait."""
LONGEST_WAIT = 30.0
"""Seconds."""
RETURNS_EVERY = 15.0
"""Seconds between two attempts of those who come back, for each account and each address."""
RETURN_WITHIN = 300.0
"""Seconds for which it counts that somebody was told to wait."""
FORGOTTEN_AFTER = 900.0
"""Seconds without an attempt after which everything is as at the beginning."""
STORM = 30
"""Attempts in vain, waits included, that are a storm."""
REMEMBERED = 20_000
"""Addresses, accounts and devices together, and as many attempts that wait; some hundred bytes each."""

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class Attempt:
    """One that may be made now. It counts as failed, unless it is taken back."""

    def __init__(self, buckets: list[_Bucket], now: float) -> None:
        self._counted = [(bucket, bucket.free_at, bucket.count(now)) for bucket in buckets]

    def take_back(self) -> None:
        """It was right, or was not made at all. What began meanwhile stays counted."""
        for bucket, free_at, number in self._counted:
            if bucket.failures == number:
                bucket.free_at = free_at
            bucket.failures -= 1
        self._counted.clear()


class Throttle:
    """One for each process."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._buckets: _Recent[tuple[str, str], _Bucket] = _Recent(REMEMBERED)
        self._told_to_wait: _Recent[bytes, float] = _Recent(REMEMBERED)
        self._key = secrets.token_bytes(32)
        self._in_vain = 0
        self._last_in_vain = -math.inf

    def begin(self, name: str, password: Secret, address: str, device: str | None) -> Attempt:
        """`name` is as names are compared, `address` one bucket's; `device` one that is known for this account.

        RateLimited says when to come back, in 30 seconds at most.
        """
        now = self._clock()
        ways = [[("device", device)] if device is not None else [("address", address), ("account", name)]]
        said = self._digest(name, address, password)
        due = self._told_to_wait.get(said)
        if due is not None and now > due + RETURN_WITHIN:
            due = None
        if due is not None and due <= now:
            ways.append([("address of returns", address), ("account of returns", name)])
        wait = LONGEST_WAIT
        for way in ways:
            buckets = [self._bucket(key, now) for key in way]
            free_at = max(bucket.free_at for bucket in buckets)
            if free_at <= now:
                self._told_to_wait.pop(said)
                for key, bucket in zip(way, buckets, strict=True):
                    self._buckets.put(key, bucket)
                return Attempt(buckets, now)
            wait = min(wait, free_at - now)
        if due is None:
            self._told_to_wait.put(said, now + wait)
        elif due > now:
            wait = min(wait, due - now)
        raise RateLimited(
            "Too many attempts to sign in; try again in a moment. Nobody is locked out.",
            code="too_many_attempts",
            retry_after=max(1, math.ceil(wait)),
        )

    def in_vain(self) -> bool:
        """To be told of each attempt that failed or has to wait. Whether this one makes a storm of them: once."""
        now = self._clock()
        if now - self._last_in_vain > FORGOTTEN_AFTER:
            self._in_vain = 0
        self._last_in_vain = now
        self._in_vain += 1
        return self._in_vain == STORM

    def _bucket(self, key: tuple[str, str], now: float) -> _Bucket:
        """A new one is remembered only when an attempt is counted: waiting ones must not drive others out."""
        found = self._buckets.get(key)
        if found is None or now - found.counted_at > FORGOTTEN_AFTER:
            return _Bucket(RETURNS_EVERY if key[0].endswith("returns") else None, now)
        return found

    def _digest(self, name: str, address: str, password: Secret) -> bytes:
        """Tells the same words from others; good for nothing else, since its key is nowhere but in this process."""
        parts = (hmac.digest(self._key, part.encode(errors="surrogatepass"), "sha256")
                 for part in (name, address, password.reveal()[:LONGEST_GIVEN]))  # fmt: skip
        return hmac.digest(self._key, b"".join(parts), "sha256")[:16]


class _Bucket:
    """Counts attempts in vain; the next one may begin at `free_at`. `every` is a wait that does not grow."""

    __slots__ = ("counted_at", "every", "failures", "free_at")

    def __init__(self, every: float | None, now: float) -> None:
        self.every = every
        self.failures = 0
        self.free_at = self.counted_at = now

    def count(self, now: float) -> int:
        """Its number."""
        self.failures += 1
        self.counted_at = now
        over = self.failures - FREE
        wait = 0.0 if over <= 0 else min(LONGEST_WAIT, 2.0 ** (min(over, 10) - 1))
        self.free_at = now + (wait if self.every is None else self.every)
        return self.failures


class _Recent(Generic[K, V]):
    """At most `size` values; the least recently used leave first."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._values: OrderedDict[K, V] = OrderedDict()

    def get(self, key: K) -> V | None:
        if (value := self._values.get(key)) is not None:
            self._values.move_to_end(key)
        return value

    def put(self, key: K, value: V) -> None:
        self._values[key] = value
        self._values.move_to_end(key)
        if len(self._values) > self._size:
            self._values.popitem(last=False)

    def pop(self, key: K) -> None:
        self._values.pop(key, None)
