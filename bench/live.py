"""Live processes: a further turn against the bare program, and one-shots against a process for each.

The bare program is one live process that is driven by hand, with nothing of the gateway around it: what a further turn
costs at least. One-shots share a system prompt, four at a time.
"""

from __future__ import annotations

import asyncio
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from bench.figures import Figure, Series
from bench.parties import (
    PROMPT,
    WITHOUT_SESSION,
    ask_by_hand,
    bare_program,
    gateway,
    plain_sdk,
    sdk_options,
    stand_in,
)

WARM_UP = 3
MOST_TURNS = 36  # then a conversation leaves its process
PAUSE = 0.1  # seconds
AT_ONCE = 4
ONE_SHOTS = 12
SYSTEM = "Be brief."


async def further_turn(rounds: int) -> Figure:
    """Each in its turn asks the next question of one long conversation."""
    ours: list[float] = []
    bare: list[float] = []
    with tempfile.TemporaryDirectory() as directory:
        async with (
            stand_in() as url,
            gateway(Path(directory), url, spare_processes=0) as served,
            bare_program(Path(directory), url, SYSTEM) as process,
        ):
            messages: list[dict[str, Any]] = [{"role": "system", "content": SYSTEM}]
            live: list[int] = []
            for turn in range(min(WARM_UP + 2 * rounds, MOST_TURNS)):
                await asyncio.sleep(PAUSE)
                by_hand = await ask_by_hand(process)
                await asyncio.sleep(PAUSE)
                messages.append({"role": "user", "content": PROMPT})
                through, said = await served.ask(messages)
                messages.append({"role": "assistant", "content": said})
                if turn >= WARM_UP:
                    assert live == served.claudes(), "the conversation was not found live"
                    bare.append(by_hand)
                    ours.append(through)
                live = served.claudes()
    return Figure(
        measured=Series("first token of a further turn of a live conversation", tuple(ours)),
        baseline=Series("the bare program on a live process, driven by hand", tuple(bare)),
        goal=1.3,
    )


async def one_shots(rounds: int) -> Figure:
    """The time of each of many one-shots, four at a time: all their time divided by their number."""
    ours: list[float] = []
    plain: list[float] = []
    with tempfile.TemporaryDirectory() as directory:
        async with stand_in() as url, gateway(Path(directory), url) as served:
            messages = [{"role": "system", "content": SYSTEM}, {"role": "user", "content": PROMPT}]
            options = sdk_options(url, Path(directory) / "plain", SYSTEM, extra_args=WITHOUT_SESSION)
            for turn in range(1 + max(3, rounds // 5)):
                alone = await at_once(lambda: plain_sdk(options), ONE_SHOTS)
                through = await at_once(lambda: served.ask(messages), ONE_SHOTS)
                if turn:
                    plain.append(alone)
                    ours.append(through)
    return Figure(
        measured=Series(f"one-shot with the same system prompt, {AT_ONCE} at once", tuple(ours)),
        baseline=Series("the plain SDK, a process for each request", tuple(plain)),
        goal=0.125,
    )


async def at_once(work: Callable[[], Awaitable[Any]], number: int, most: int = AT_ONCE) -> float:
    """Does a thing so many times, some at a time; seconds for each."""
    places = asyncio.Semaphore(most)

    async def once() -> None:
        async with places:
            await work()

    started = time.perf_counter()
    await asyncio.gather(*(once() for _ in range(number)))
    return (time.perf_counter() - started) / number
