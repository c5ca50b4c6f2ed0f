"""What the gateway itself costs: processor time beside Claude Code's own, and memory."""

from __future__ import annotations

import asyncio
import ctypes
import tempfile
import time
from pathlib import Path

import psutil

from bench.figures import Figure, Series
from bench.parties import Gateway, gateway, imports_only, stand_in
from claude_code_api.stand_in import script

TOKENS = 200
MOST_TURNS = 36  # then a conversation leaves its process
WARM_UP = 3
REQUESTS = 200  # before the memory is looked at
AT_ONCE = 8


async def processor_time(rounds: int) -> Figure:
    """Streamed as a fast model streams."""
    return await _of_a_turn(rounds, deltas=TOKENS // 5, pause=0.02)


async def processor_time_of_single_tokens(rounds: int) -> Figure:
    """The dearest stream: nothing comes together with anything else, so that both processes wake for each token."""
    return await _of_a_turn(rounds, deltas=TOKENS, pause=0.004)


async def _of_a_turn(rounds: int, deltas: int, pause: float) -> Figure:
    """Further turns of one conversation, streamed; the same process answers them all."""
    pieces = ["river " * (TOKENS // deltas)] * deltas
    question = "Say much. " + script(chunks=pieces, pause=pause)
    ours: list[float] = []
    theirs: list[float] = []
    with tempfile.TemporaryDirectory() as directory:
        async with stand_in() as url, gateway(Path(directory), url, spare_processes=0) as served:
            messages = [{"role": "system", "content": "Be brief."}]
            for turn in range(WARM_UP + min(rounds, MOST_TURNS - WARM_UP)):
                messages.append({"role": "user", "content": question})
                before = _spent(served)
                _, said = await served.ask(messages)
                after = _spent(served)
                messages.append({"role": "assistant", "content": said})
                if turn >= WARM_UP:
                    assert before.keys() == after.keys(), "the conversation was not found live"
                    gateway_time, claude_time = (after[pid] - before[pid] for pid in after)
                    ours.append(gateway_time)
                    theirs.append(claude_time)
    every = f"{TOKENS // deltas} in a delta, one each {1000 * pause:.0f} ms"
    return Figure(
        measured=Series(f"processor time for a turn of {TOKENS} tokens, {every}", tuple(ours)),
        baseline=Series("Claude Code's own process", tuple(theirs)),
        goal=0.15,
    )


def _spent(served: Gateway) -> dict[int, float]:
    """Seconds of processor time by process, the gateway first."""
    return {pid: _processor_time(pid) for pid in (served.pid, *served.claudes())}


def _processor_time(pid: int) -> float:
    """With all its threads, to the nanosecond (POSIX, clock_getcpuclockid)."""
    clock = ctypes.c_int()
    if ctypes.CDLL(None).clock_getcpuclockid(pid, ctypes.byref(clock)):
        raise ProcessLookupError(pid)
    return time.clock_gettime(clock.value)


async def memory(rounds: int) -> Figure:
    """After some requests, several at once: what the process has in memory beyond a process that only imports."""
    with tempfile.TemporaryDirectory() as directory:
        async with stand_in() as url, gateway(Path(directory), url) as served, imports_only() as importing:
            messages = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": script(tokens=TOKENS)}]
            places = asyncio.Semaphore(AT_ONCE)

            async def once() -> None:
                async with places:
                    await served.ask(messages)

            await asyncio.gather(*(once() for _ in range(REQUESTS)))
            used = psutil.Process(served.pid).memory_info().rss - psutil.Process(importing).memory_info().rss
    return Figure(
        measured=Series(f"memory above the imports after {REQUESTS} requests", (used / 2**20,), "MB"),
        goal=60,
    )
