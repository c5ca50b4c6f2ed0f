"""Live processes: a further turn against the bare program, and one-shots against a process for each.

The bare program is one live process that is driven by hand, with nothing of the gateway around it: what a further turn
costs at least. One-shots share a system prompt, four at a time.
"""

from __future__ import annotations

import asyncio
import tempfile
import time
from pathlib import Path
from typing import Any

import aiohttp

from bench.figures import Figure
from bench.first_token import PROMPT, WARM_UP, first_token, gateway, plain_sdk, stand_in_process
from claude_code_api.conversation import Message, Text
from claude_code_api.credential import Credential, CredentialKind
from claude_code_api.engines.claude_code.history import user_line
from claude_code_api.engines.claude_code.process import Process
from claude_code_api.engines.claude_code.program import Program
from claude_code_api.secret import Secret
from claude_code_api.settings import given_only
from claude_code_api.stand_in import oauth_token

AT_ONCE = 4
ONE_SHOTS = 24


async def further_turn(rounds: int) -> Figure:
    """Each in its turn asks the next question of one long conversation."""
    ours: list[float] = []
    bare: list[float] = []
    with tempfile.TemporaryDirectory() as directory:
        async with (
            stand_in_process() as url,
            gateway(Path(directory), url) as (started, key),
            aiohttp.ClientSession() as client,
        ):
            settings = given_only(data_dir=Path(directory) / "bare", anthropic_base_url=url)
            program = Program.of(settings)
            program.prepare()
            process = Process(program, "bare")
            await process.start()
            await process.identity()
            token = Secret(oauth_token("bare"))
            credential = Credential(id="bare", name="bare", kind=CredentialKind.OAUTH, token=token)
            await process.open(credential, "Be brief.", {"model": "haiku"})
            messages: list[dict[str, Any]] = [{"role": "system", "content": "Be brief."}]
            for turn in range(WARM_UP + rounds):
                by_hand = await ask_by_hand(process)
                messages.append({"role": "user", "content": PROMPT})
                through, said = await first_token(client, started.server.http_url, key, messages)
                messages.append({"role": "assistant", "content": said})
                await asyncio.sleep(0.1)
                if turn >= WARM_UP:
                    bare.append(by_hand)
                    ours.append(through)
            await process.end()
            program.clear()
    return Figure(
        name="first token of a further turn through the gateway",
        baseline_name="the bare program on a live process, driven by hand",
        seconds=tuple(ours),
        baseline=tuple(bare),
        goal=1.3,
    )


async def ask_by_hand(process: Process) -> float:
    started = time.perf_counter()
    first = 0.0
    process.send(user_line(Message("user", (Text(PROMPT),)), ask=True))
    while (message := await process.message(30))["type"] != "result":
        event = message.get("event", {})
        if not first and event.get("type") == "content_block_delta":
            first = time.perf_counter() - started
    return first


async def one_shots(rounds: int) -> Figure:
    """The time of each of many one-shots, four at a time: all their time divided by their number."""
    ours: list[float] = []
    plain: list[float] = []
    with tempfile.TemporaryDirectory() as directory:
        async with (
            stand_in_process() as url,
            gateway(Path(directory), url) as (started, key),
            aiohttp.ClientSession() as client,
        ):
            messages = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": PROMPT}]

            async def through_gateway() -> None:
                await first_token(client, started.server.http_url, key, messages)

            async def alone() -> None:
                await plain_sdk(url, Path(directory) / "plain")

            for turn in range(1 + max(2, rounds // 5)):
                seconds = [await at_once(work, ONE_SHOTS) for work in (alone, through_gateway)]
                if turn:
                    plain.append(seconds[0])
                    ours.append(seconds[1])
    return Figure(
        name="one-shot with the same system prompt through the gateway, 4 at once",
        baseline_name="the plain SDK, a process for each request",
        seconds=tuple(ours),
        baseline=tuple(plain),
        goal=0.125,
    )


async def at_once(work: Any, number: int) -> float:
    """Does a thing so many times, four at a time; seconds for each."""
    places = asyncio.Semaphore(AT_ONCE)

    async def once() -> None:
        async with places:
            await work()

    started = time.perf_counter()
    await asyncio.gather(*(once() for _ in range(number)))
    return (time.perf_counter() - started) / number
