"""Time from a request to the first token of its answer, with a system prompt that was never seen before.

The gateway, over HTTP and with spares, against what programs do on their own: the SDK's client, which starts a
process for each request. Both talk to the same stand-in, which runs in a process of its own; one request at a time.
"""

from __future__ import annotations

import asyncio
import json
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import count
from pathlib import Path
from typing import Any

import aiohttp
from claude_agent_sdk import ClaudeAgentOptions, ClaudeSDKClient, StreamEvent

from bench.figures import Figure
from claude_code_api.application import Running, running
from claude_code_api.secret import Secret
from claude_code_api.settings import given_only
from claude_code_api.stand_in import oauth_token, script

ROUNDS = 20
WARM_UP = 2
PAUSE = 1.0  # seconds between requests, in which a spare gets ready
PROMPT = "Say something. " + script(tokens=20)

_numbers = count()


def unseen() -> str:
    """A system prompt that no process has met."""
    return f"You are assistant number {next(_numbers)} of {time.time_ns()}. " + "Be brief. " * 50


async def measure(rounds: int = ROUNDS) -> Figure:
    ours: list[float] = []
    plain: list[float] = []
    with tempfile.TemporaryDirectory() as directory:
        async with (
            stand_in_process() as url,
            gateway(Path(directory), url) as (started, key),
            aiohttp.ClientSession() as client,
        ):
            for turn in range(WARM_UP + rounds):
                await asyncio.sleep(PAUSE)
                alone = await plain_sdk(url, Path(directory) / "plain")
                await asyncio.sleep(PAUSE)
                through = await through_gateway(client, started.server.http_url, key)
                if turn >= WARM_UP:
                    plain.append(alone)
                    ours.append(through)
    return Figure(
        name="first token through the gateway, with spares",
        baseline_name="first token through the plain SDK, a process for each request",
        seconds=tuple(ours),
        baseline=tuple(plain),
        goal=0.45,
    )


@asynccontextmanager
async def stand_in_process() -> AsyncIterator[str]:
    """A stand-in for Anthropic's API as a process of its own; gives its URL."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "claude_code_api.stand_in", stdout=asyncio.subprocess.PIPE
    )
    try:
        assert process.stdout is not None
        yield (await process.stdout.readline()).decode().split()[-1]
    finally:
        process.terminate()
        await process.wait()


@asynccontextmanager
async def gateway(directory: Path, upstream: str) -> AsyncIterator[tuple[Running, Secret]]:
    settings = given_only(
        data_dir=directory / "data", port=0, https_port=0, anthropic_base_url=upstream, rate_limit_per_ip="off"
    )
    async with running(settings) as started:
        await started.access.credentials.add("bench", Secret(oauth_token("bench")))
        _, key = await started.access.keys.create("bench", "bench")
        yield started, key


async def through_gateway(client: aiohttp.ClientSession, url: str, key: Secret) -> float:
    messages = [{"role": "system", "content": unseen()}, {"role": "user", "content": PROMPT}]
    return (await first_token(client, url, key, messages))[0]


async def first_token(
    client: aiohttp.ClientSession, url: str, key: Secret, messages: list[dict[str, Any]]
) -> tuple[float, str]:
    """Seconds to the first text of a streamed answer, and the whole of it."""
    body = {"model": "haiku", "stream": True, "messages": messages}
    headers = {"authorization": f"Bearer {key.reveal()}"}
    started = time.perf_counter()
    first = 0.0
    said = ""
    async with client.post(f"{url}/v1/chat/completions", json=body, headers=headers) as response:
        response.raise_for_status()
        async for line in response.content:
            if line.startswith(b"data: {"):
                text = "".join(c["delta"].get("content") or "" for c in json.loads(line[6:])["choices"])
                if text and not first:
                    first = time.perf_counter() - started
                said += text
    return first, said


async def plain_sdk(url: str, home: Path) -> float:
    home.mkdir(exist_ok=True)
    environment = {
        "ANTHROPIC_BASE_URL": url,
        "CLAUDE_CODE_OAUTH_TOKEN": oauth_token("bench"),
        "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
        "HOME": str(home),
        "CLAUDE_CONFIG_DIR": str(home),
    }
    options = ClaudeAgentOptions(
        system_prompt=unseen(), model="haiku", tools=[], setting_sources=[], env=environment, cwd=home,
        include_partial_messages=True, extra_args={"no-session-persistence": None},
    )  # fmt: skip
    started = time.perf_counter()
    first = 0.0
    async with ClaudeSDKClient(options) as client:
        await client.query(PROMPT)
        async for message in client.receive_response():
            if isinstance(message, StreamEvent) and message.event["type"] == "content_block_delta" and not first:
                first = time.perf_counter() - started
    return first
