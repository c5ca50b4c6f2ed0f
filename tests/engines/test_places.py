"""Who waits for a process: in turns by tenant, never too long, never too many, and no place is ever lost."""

from __future__ import annotations

import asyncio
import random
from contextlib import suppress

from hypothesis import given, settings
from hypothesis import strategies as st

from claude_code_api.engines.claude_code.places import LONGEST_RETRY, Places, QueueFull


def places(limit: int = 1, *, patience: float = 30.0, longest: int = 2_000) -> Places:
    return Places(limit, patience=patience, longest=longest)


class Crowd:
    """Requests that each hold a place until they are told to leave; `served` has them in the order of service."""

    def __init__(self, places: Places) -> None:
        self.served: list[str] = []
        self.refused: dict[str, QueueFull] = {}
        self._places = places
        self._leave: dict[str, asyncio.Event] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}

    async def comes(self, *names: str) -> None:
        """Each is called after its tenant and a number: `a1`."""
        for name in names:
            self._leave[name] = asyncio.Event()
            self._tasks[name] = asyncio.create_task(self._ask(name))
        await self.settled()

    async def leaves(self, name: str) -> None:
        self._leave[name].set()
        await self.settled()

    async def gives_up(self, *names: str) -> None:
        for name in names:
            self._tasks[name].cancel()
        await self.settled()

    async def all_served(self) -> list[str]:
        for leave in self._leave.values():
            leave.set()
        await asyncio.gather(*self._tasks.values(), return_exceptions=True)
        return self.served

    async def settled(self) -> None:
        for _ in range(5):
            await asyncio.sleep(0)

    async def _ask(self, name: str) -> None:
        try:
            async with self._places.place(name[0]):
                self.served.append(name)
                await self._leave[name].wait()
        except QueueFull as refusal:
            self.refused[name] = refusal


async def test_those_of_one_tenant_are_served_in_the_order_of_coming() -> None:
    crowd = Crowd(places())
    await crowd.comes("a1", "a2", "a3", "a4")
    assert await crowd.all_served() == ["a1", "a2", "a3", "a4"]


async def test_a_thousand_requests_of_one_tenant_hold_up_another_one_by_one_answer() -> None:
    crowd = Crowd(places())
    await crowd.comes(*(f"a{number}" for number in range(1_000)))
    await crowd.comes("b0", "c0")
    served = await crowd.all_served()
    assert served[:4] == ["a0", "a1", "b0", "c0"]
    assert served[4:] == [f"a{number}" for number in range(2, 1_000)]


async def test_tenants_take_turns_however_many_they_send() -> None:
    crowd = Crowd(places())
    await crowd.comes("x0", *(f"a{n}" for n in range(9)), *(f"b{n}" for n in range(3)), *(f"c{n}" for n in range(3)))
    served = await crowd.all_served()
    assert [name[0] for name in served[1:10]] == ["a", "b", "c"] * 3
    assert [name[0] for name in served[10:]] == ["a"] * 6


async def test_a_tenant_that_comes_back_stands_behind_those_who_wait() -> None:
    crowd = Crowd(places())
    await crowd.comes("a1", "b1", "c1")
    await crowd.leaves("a1")
    await crowd.comes("a2")
    assert await crowd.all_served() == ["a1", "b1", "c1", "a2"]


async def test_no_more_than_the_limit_are_served_at_once() -> None:
    crowd = Crowd(places(3))
    await crowd.comes(*(f"a{number}" for number in range(9)))
    assert crowd.served == ["a0", "a1", "a2"]
    await crowd.leaves("a1")
    assert crowd.served == ["a0", "a1", "a2", "a3"]
    await crowd.all_served()


async def test_who_waits_too_long_is_told_when_to_come_back_and_leaves_no_trace() -> None:
    some = places(patience=0.05)
    crowd = Crowd(some)
    await crowd.comes("a1", "b1", "b2")
    async with asyncio.timeout(10):
        while len(crowd.refused) < 2:
            await asyncio.sleep(0.01)
    assert {(refusal.status, refusal.code) for refusal in crowd.refused.values()} == {(503, "overloaded")}
    assert all(1 <= (refusal.retry_after or 0) <= LONGEST_RETRY for refusal in crowd.refused.values())
    assert (some.taken, some.waiting, dict(some._lines)) == (1, 0, {})
    await crowd.comes("c1")
    assert await crowd.all_served() == ["a1", "c1"]


async def test_without_patience_one_is_served_at_once_or_not_at_all() -> None:
    crowd = Crowd(places(patience=0))
    await crowd.comes("a1", "b1")
    assert (await crowd.all_served(), list(crowd.refused)) == (["a1"], ["b1"])


async def test_one_who_gives_up_takes_no_place_and_no_turn() -> None:
    some = places()
    crowd = Crowd(some)
    await crowd.comes("a1", "b1", "b2", "c1")
    await crowd.gives_up("b1", "c1")
    assert some.waiting == 1
    assert await crowd.all_served() == ["a1", "b2"]
    assert (some.taken, some.waiting) == (0, 0)


async def test_one_who_gives_up_in_the_moment_of_being_called_passes_the_place_on() -> None:
    some = places()
    crowd = Crowd(some)
    await crowd.comes("a1", "b1", "c1")
    crowd._leave["a1"].set()
    while some.waiting == 2:  # until b1 is called, and has not gone on yet
        await asyncio.sleep(0)
    crowd._tasks["b1"].cancel()
    assert await crowd.all_served() == ["a1", "c1"]
    assert some.taken == 0


async def test_requests_over_the_queues_length_are_told_at_once() -> None:
    crowd = Crowd(places(longest=2))
    await crowd.comes("a1", "a2", "a3", "a4")
    assert list(crowd.refused) == ["a4"]
    assert crowd.refused["a4"].retry_after
    assert await crowd.all_served() == ["a1", "a2", "a3"]


async def test_a_tenant_that_fills_the_queue_keeps_nobody_out_of_it() -> None:
    crowd = Crowd(places(longest=4))
    await crowd.comes("a0", "a1", "a2", "a3", "a4", "b1", "b2", "b3", "a5", "c1")
    assert set(crowd.refused) == {"a2", "a3", "a4", "a5", "b3"}, "the last of the longest line makes room"
    assert await crowd.all_served() == ["a0", "a1", "b1", "c1", "b2"]


async def test_the_time_to_come_back_grows_with_the_queue_and_with_the_answers() -> None:
    some = places(longest=20)
    crowd = Crowd(some)
    await crowd.comes("a0", *(f"a{number}" for number in range(1, 21)))
    some._mean = 1.0
    long_queue = some._refusal("").retry_after
    some._mean = 100.0
    assert (long_queue, some._refusal("").retry_after) == (21, LONGEST_RETRY)
    await crowd.all_served()
    some._mean = 0.01
    assert some._refusal("").retry_after == 1


async def test_a_fault_of_a_request_gives_its_place_back() -> None:
    some = places()
    for _ in range(3):
        with suppress(ValueError):
            async with some.place("a"):
                raise ValueError
    assert some.taken == 0


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32), st.integers(1, 4), st.integers(0, 6))
def test_whatever_ends_a_request_its_place_is_given_back_exactly_once(seed: int, limit: int, longest: int) -> None:
    """Any mixture of coming, leaving, giving up (also in the moment of being called), failing and being too late."""
    chance = random.Random(seed)

    async def one(some: Places, running: list[int]) -> None:
        async with some.place(chance.choice("abc")):
            running.append(1)
            assert len(running) <= limit
            try:
                for _ in range(chance.randrange(4)):
                    await asyncio.sleep(0)
                if chance.random() < 0.2:
                    raise ValueError
            finally:
                running.pop()

    async def run() -> None:
        some = places(limit, longest=longest, patience=chance.choice([0, 0.001, 30]))
        running: list[int] = []
        tasks: list[asyncio.Task[None]] = []
        for _ in range(40):
            tasks.append(asyncio.create_task(one(some, running)))
            for _ in range(chance.randrange(3)):
                await asyncio.sleep(0)
            if chance.random() < 0.3:
                chance.choice(tasks).cancel()
            assert some.taken <= limit
            assert some.waiting == sum(map(len, some._lines.values())) <= longest
        for result in await asyncio.gather(*tasks, return_exceptions=True):
            assert result is None or isinstance(result, ValueError | QueueFull | asyncio.CancelledError)
        assert (some.taken, some.waiting, dict(some._lines)) == (0, 0, {})

    asyncio.run(run())


async def test_of_a_hundred_at_once_everybody_is_answered_or_told_to_come_back() -> None:
    """Ten tenants of very different appetite; room for all but ten."""
    some = places(2, longest=88)
    crowd = Crowd(some)
    appetite = {"a": 55, **dict.fromkeys("bcdefghij", 5)}
    await crowd.comes(*(f"{tenant}{number}" for tenant, count in appetite.items() for number in range(count)))
    served = await crowd.all_served()
    assert len(served) + len(crowd.refused) == 100
    assert {name[0] for name in crowd.refused} == {"a"}, "only the greedy one is turned away"
    first = [name[0] for name in served[2:]][:50]
    assert {tenant: first.count(tenant) for tenant in appetite} == dict.fromkeys(appetite, 5)
