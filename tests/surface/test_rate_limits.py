"""Counters of requests: only so many are kept, and those of keys apart from those of addresses."""

from __future__ import annotations

from claude_code_api.surface.rate_limits import RateLimits


async def test_a_flood_of_addresses_keeps_only_so_many_counters() -> None:
    limits = RateLimits(most=100)
    for number in range(1_000):
        allowance = await limits.charge("2/minute;9/hour", f"ip:{number}")
        assert allowance
        assert (allowance.remaining, allowance.spent) == (1, False)
    counters = limits._own
    assert len(counters.storage) == len(counters.expirations) == 100
    assert len(counters.locks) <= 100


async def test_whoever_is_counted_still_is_counted_on() -> None:
    limits = RateLimits(most=100)
    spent = []
    for number in range(4):
        allowance = await limits.charge("3/minute", "ip:greedy")
        await limits.charge("3/minute", f"ip:{number}")
        assert allowance
        spent.append(allowance.spent)
    assert spent == [False, False, False, True]
