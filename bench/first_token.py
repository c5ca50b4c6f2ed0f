"""Time from a request to the first token of its answer, where no process holds its conversation yet.

The gateway has spares, started ahead; what programs do on their own starts a process for each request. One request at
a time, with a pause in which a spare gets ready.
"""

from __future__ import annotations

import asyncio
import tempfile
from pathlib import Path

from claude_agent_sdk import ClaudeAgentOptions, ClaudeSDKClient, ResultMessage

from bench.figures import Figure, Series
from bench.parties import PROMPT, WITHOUT_SESSION, gateway, plain_sdk, sdk_options, stand_in, unseen

WARM_UP = 2
PAUSE = 1.0  # seconds between requests, in which a spare gets ready
TURNS = 20
SAID = "river stone light window garden paper winter morning"


async def unknown_prompt(rounds: int) -> Figure:
    """Each request has a system prompt that no process has seen."""
    ours: list[float] = []
    plain: list[float] = []
    with tempfile.TemporaryDirectory() as directory:
        async with stand_in() as url, gateway(Path(directory), url) as served:
            for turn in range(WARM_UP + rounds):
                await asyncio.sleep(PAUSE)
                options = sdk_options(url, Path(directory) / "plain", unseen(), extra_args=WITHOUT_SESSION)
                alone = await plain_sdk(options)
                await asyncio.sleep(PAUSE)
                messages = [{"role": "system", "content": unseen()}, {"role": "user", "content": PROMPT}]
                through, _ = await served.ask(messages)
                if turn >= WARM_UP:
                    plain.append(alone)
                    ours.append(through)
    return Figure(
        measured=Series("first token with an unknown system prompt, on a spare", tuple(ours)),
        baseline=Series("the plain SDK, a process for each request", tuple(plain)),
        goal=0.45,
    )


async def history(rounds: int) -> Figure:
    """Each request brings a past of 20 turns that no process holds; the plain SDK resumes a transcript of as many."""
    ours: list[float] = []
    plain: list[float] = []
    past = [{"role": role, "content": f"{SAID} {turn}"} for turn in range(TURNS) for role in ("user", "assistant")]
    with tempfile.TemporaryDirectory() as directory:
        async with stand_in() as url, gateway(Path(directory), url) as served:
            options, transcript = await _held(sdk_options(url, Path(directory) / "plain", "Be brief."))
            written = transcript.read_bytes()
            for turn in range(WARM_UP + rounds):
                await asyncio.sleep(PAUSE)
                transcript.write_bytes(written)  # without the turn of the last round
                alone = await plain_sdk(options)
                await asyncio.sleep(PAUSE)
                system = {"role": "system", "content": unseen()}
                through, _ = await served.ask([system, *past, {"role": "user", "content": PROMPT}])
                if turn >= WARM_UP:
                    plain.append(alone)
                    ours.append(through)
    return Figure(
        measured=Series(f"first token after a history of {TURNS} turns that is not live, on a spare", tuple(ours)),
        baseline=Series("the plain SDK, resuming a transcript of them", tuple(plain)),
        goal=0.7,
    )


async def _held(options: ClaudeAgentOptions) -> tuple[ClaudeAgentOptions, Path]:
    """The options that resume a conversation which the program has held and written down itself, and where it did."""
    session = ""
    async with ClaudeSDKClient(options) as client:
        for turn in range(TURNS):
            await client.query(f"{SAID} {turn}")
            async for message in client.receive_response():
                if isinstance(message, ResultMessage):
                    session = message.session_id
    (transcript,) = Path(options.env["HOME"]).rglob(f"{session}.jsonl")
    options.resume = session
    return options, transcript
