"""A hundred clients at once, of ten keys, one of which sends more than all others: who is served, and who waits.

Whoever is not answered must be told to come back (`503` with `Retry-After`); anything else ends the measurement.
"""

from __future__ import annotations

import asyncio
import tempfile
import time
from http import HTTPStatus
from pathlib import Path

import aiohttp
import msgspec

from bench.figures import Figure, Series
from bench.parties import Gateway, gateway, stand_in
from claude_code_api.access import Access
from claude_code_api.secret import Secret
from claude_code_api.settings import given_only
from claude_code_api.stand_in import script

GREEDY = 55  # requests of one key, sent first
OTHERS = 9  # keys
EACH = 5  # requests of each of these
LONG, SHORT = 120, 5  # seconds that a request may wait for a process: enough for all, and too few
QUESTION = "Say something. " + script(tokens=20)


class Outcome(msgspec.Struct, frozen=True):
    """`seconds` until the first text, or until it was told to come back."""

    greedy: bool
    answered: bool
    seconds: float


async def fairness(rounds: int) -> Figure:
    """In the order of coming, the keys that send little would wait for all that the greedy one sent before."""
    crowds = await _crowds(rounds, LONG)
    return Figure(
        measured=Series(
            f"first token of {EACH} requests each of {OTHERS} keys",
            tuple(each.seconds for crowd in crowds for each in crowd if not each.greedy),
        ),
        baseline=Series(
            f"of {GREEDY} requests of one more key, sent just before",
            tuple(each.seconds for crowd in crowds for each in crowd if each.greedy),
        ),
        goal=1.0,
    )


async def longest_wait(rounds: int) -> Figure:
    """Of those who are told to come back; who is answered has waited less long for a process."""
    crowds = await _crowds(rounds, SHORT)
    return Figure(
        measured=Series(
            f"longest wait until one of {GREEDY + OTHERS * EACH} clients at once was told to come back",
            tuple(max((each.seconds for each in crowd if not each.answered), default=0.0) for crowd in crowds),
        ),
        baseline=Series("what a request may wait (`queue_timeout`)", (float(SHORT),)),
        goal=1.1,
    )


async def _crowds(rounds: int, bound: int) -> list[list[Outcome]]:
    return [await _crowd(bound) for _ in range(max(2, rounds // 10))]


async def _crowd(bound: int) -> list[Outcome]:
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        async with stand_in() as url, gateway(directory, url, queue_timeout=bound) as served:
            greedy, *others = await _keys(directory, 1 + OTHERS)
            requests = [_ask(served, greedy, greedy=True) for _ in range(GREEDY)]
            requests += [_ask(served, key, greedy=False) for _ in range(EACH) for key in others]
            return await asyncio.gather(*requests)


async def _keys(directory: Path, number: int) -> list[Secret]:
    async with Access.open(given_only(data_dir=directory / "data")) as access:
        return [(await access.keys.create(f"key {n}", "bench"))[1] for n in range(number)]


async def _ask(served: Gateway, key: Secret, *, greedy: bool) -> Outcome:
    started = time.perf_counter()
    try:
        seconds, said = await msgspec.structs.replace(served, key=key).ask([{"role": "user", "content": QUESTION}])
    except aiohttp.ClientResponseError as refusal:
        told = refusal.headers is not None and "Retry-After" in refusal.headers
        if refusal.status != HTTPStatus.SERVICE_UNAVAILABLE or not told:
            raise
        return Outcome(greedy, answered=False, seconds=time.perf_counter() - started)
    if not said:
        raise RuntimeError("an answer without a text")
    return Outcome(greedy, answered=True, seconds=seconds)
