"""Requests for each address and each API key (policy N4), and the headers that tell a client where it stands."""

from __future__ import annotations

import time
from collections import OrderedDict
from functools import lru_cache, partial
from math import ceil

import msgspec
from limits import RateLimitItem, parse_many
from limits.aio.storage import MemoryStorage, Storage

from claude_code_api.errors import RateLimited
from claude_code_api.surface.asgi import Fields
from claude_code_api.surface.shared_counters import SharedCounters

OFF = "off"


class Allowance(msgspec.Struct, frozen=True):
    """Where a client stands within one window. `reset` is in seconds from now."""

    limit: int
    remaining: int
    reset: int
    spent: bool = False

    @property
    def headers(self) -> Fields:
        """Ours, and those of OpenAI's API (https://platform.openai.com/docs/guides/rate-limits)."""
        limit, remaining = b"%d" % self.limit, b"%d" % self.remaining
        return [
            (b"x-ratelimit-limit", limit),
            (b"x-ratelimit-remaining", remaining),
            (b"x-ratelimit-reset", b"%d" % self.reset),
            (b"x-ratelimit-limit-requests", limit),
            (b"x-ratelimit-remaining-requests", remaining),
            (b"x-ratelimit-reset-requests", _duration(self.reset)),
        ]

    @property
    def refusal(self) -> RateLimited:
        return RateLimited(
            f"Too many requests: {self.limit} are allowed. Come back in {max(1, self.reset)} seconds.",
            retry_after=max(1, self.reset),
        )


def tightest(*allowances: Allowance | None) -> Allowance | None:
    """The one that a client runs into first: spent before open, then the fewest remaining, then the longest wait."""
    given = [allowance for allowance in allowances if allowance]
    return min(given, key=lambda a: (not a.spent, a.remaining, -a.reset), default=None)


class RateLimits:
    """Counts. `rates` is a setting: `"10/second;100/minute"` or `"off"`; `who` names the counter.

    This process always counts for itself, and goes by that where there are no shared counters or they do not answer.
    It keeps at most `most` counters: those that began first are given up for new ones.
    """

    def __init__(self, shared: SharedCounters | None = None, *, most: int = 50_000) -> None:
        self._shared = shared
        self._own = _Counters(most)

    async def charge(self, rates: str, who: str) -> Allowance | None:
        """One more request, against every window; the tightest, None where no limit is on."""
        return await self._tightest(rates, who, charge=True)

    async def peek(self, rates: str, who: str) -> Allowance | None:
        return await self._tightest(rates, who, charge=False)

    async def _tightest(self, rates: str, who: str, *, charge: bool) -> Allowance | None:
        windows = _windows(rates)
        if not windows:
            return None
        counted = await _counted(self._own, windows, who, charge=charge)
        if self._shared:
            question = partial(_counted, windows=windows, who=who, charge=charge)
            counted = await self._shared.ask(question) or counted
        return tightest(*counted)


async def _counted(storage: Storage, windows: tuple[RateLimitItem, ...], who: str, *, charge: bool) -> list[Allowance]:
    """Where `who` stands within each window, after one more request or as it is."""
    allowances = []
    for window in windows:
        key = window.key_for(who)
        count = await (storage.incr(key, window.get_expiry()) if charge else storage.get(key))
        reset = max(0, ceil(await storage.get_expiry(key) - time.time()))
        spent = charge and count > window.amount
        allowances.append(Allowance(window.amount, max(0, window.amount - count), reset, spent))
    return allowances


class _Counters(MemoryStorage):
    """`limits` looks through all counters at every hit, which costs a millisecond among ten thousand addresses."""

    _SWEEP_EVERY = 10.0

    def __init__(self, most: int) -> None:
        super().__init__()
        self.expirations: OrderedDict[str, float] = OrderedDict()  # those that began first, first
        self._most = most
        self._next_sweep = 0.0

    async def incr(self, key: str, expiry: float, amount: int = 1) -> int:
        now = time.time()
        if now >= self._next_sweep:
            self._next_sweep = now + self._SWEEP_EVERY
            return await super().incr(key, expiry, amount)
        count = await self.get(key) + amount
        if count == amount:
            self.expirations[key] = now + expiry
        self.storage[key] = count
        while len(self.expirations) > self._most:
            await self.clear(next(iter(self.expirations)))
        return count


@lru_cache(maxsize=1024)
def _windows(rates: str) -> tuple[RateLimitItem, ...]:
    return () if rates == OFF else tuple(parse_many(rates))


def _duration(seconds: int) -> bytes:
    """`30s`, `6m0s`, `2h0m5s`."""
    minutes, rest = divmod(seconds, 60)
    hours, minutes = divmod(minutes, 60)
    shown = (b"%dh" % hours if hours else b"") + (b"%dm" % minutes if hours or minutes else b"")
    return shown + b"%ds" % rest
