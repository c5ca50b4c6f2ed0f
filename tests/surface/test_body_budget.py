"""The bodies of all requests together hold bounded memory, and no key can take all of it."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from surface_server import CHAT, HELLO, KEY, OTHER_KEY, Gate, RawAnswer, chat_body, happened, request

from claude_code_api.errors import Overloaded
from claude_code_api.surface.body_budget import FREE, BodyBudget

MOST = 200_000


def large(key: str, size: int = MOST - 1000) -> bytes:
    body = chat_body(messages=[{"role": "user", "content": "x" * size}])
    return request("POST", CHAT, body, authorization=f"Bearer {key}")


@pytest.mark.policy("V2")
async def test_large_bodies_of_waiting_requests_have_a_bound_and_leave_room_for_other_keys(serve, gateway):
    gateway.script = [held := Gate(), *HELLO]
    served = serve(max_body_bytes=MOST, max_bodies_bytes=2 * MOST)
    async with served.raw() as (reader, writer), asyncio.timeout(10):
        writer.write(large(KEY))
        assert await happened(held.reached)
        gateway.script = HELLO

        refused = await served.exchange(large(KEY))
        assert (refused.status, refused.error["code"], refused.headers["retry-after"]) == (503, "overloaded", "1")
        assert (await served.exchange(large(OTHER_KEY, 30_000))).status == 200, "an ordinary one is always read"
        assert (await served.exchange(large(OTHER_KEY, 150_000))).status == 200, "there is room for another key"

        held.open()
        assert RawAnswer(await reader.read(-1)).status == 200
        assert (await served.exchange(large(KEY))).status == 200, "what was held is given back"


async def test_bodies_that_are_refused_or_left_give_back_what_they_held(serve, gateway):
    served = serve(max_body_bytes=MOST, max_bodies_bytes=2 * MOST)
    for _ in range(4):
        assert (await served.exchange(large(KEY).replace(b"xxx", b'x"x', 1))).status == 400
    for _ in range(4):
        async with served.raw() as (_, writer):
            writer.write(large(KEY)[:-1000])
            await writer.drain()
    gateway.script = HELLO
    async with asyncio.timeout(10):
        while (await served.exchange(large(KEY))).status != 200:  # until the last one's end was noticed
            await asyncio.sleep(0.01)


@example([("a", 216_513), ("a", 400_000), ("b", FREE + 1), ("a", 1)], 970_882)
@example([("a", FREE + 5), ("c", FREE + 187_541), ("a", FREE)], 375_087)
@given(st.lists(st.tuples(st.sampled_from("abc"), st.integers(1, 400_000)), max_size=30), st.integers(1, 1_000_000))
def test_whatever_comes_the_sum_stays_in_bounds_and_a_new_key_finds_room(bodies, size):
    budget = BodyBudget(size, 100)
    whole = budget._left
    held = []
    for owner, body in bodies:
        context = budget.share(owner)
        share = context.__enter__()
        held.append(context)
        try:
            share.grow(body)
        except Overloaded:
            assert budget._held[owner] + max(0, body - FREE) > budget._left - max(0, body - FREE)
        else:
            assert not share.held or budget._left >= budget._held[owner]  # as much is left for the others
        assert sum(budget._held.values()) == whole - budget._left <= whole
        assert budget._left > 0
    for context in held:
        context.__exit__(None, None, None)
    assert budget._left == whole
    assert not budget._held
