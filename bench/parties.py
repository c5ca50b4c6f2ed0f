"""Who takes part in a measurement: the gateway and the stand-in as processes of their own, and what they are held
against, the plain SDK and the bare program.
"""

from __future__ import annotations

import asyncio
import json
import re
import sys
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from itertools import count
from pathlib import Path
from typing import Any

import aiohttp
import msgspec
import psutil
from claude_agent_sdk import ClaudeAgentOptions, ClaudeSDKClient, StreamEvent

from claude_code_api import environment
from claude_code_api.access import Access
from claude_code_api.conversation import Message, Text
from claude_code_api.credential import Credential, CredentialKind
from claude_code_api.engines.claude_code.history import user_line
from claude_code_api.engines.claude_code.process import Process
from claude_code_api.engines.claude_code.program import Program
from claude_code_api.engines.claude_code.thinking import Thinking
from claude_code_api.secret import Secret
from claude_code_api.settings import given_only
from claude_code_api.stand_in import oauth_token, script

ROOT = Path(__file__).parent.parent
PROMPT = "Say something. " + script(tokens=20)
PATIENCE = 60.0  # seconds

Chat = Sequence[dict[str, Any]]
"""Messages as OpenAI's clients send them."""

_numbers = count()


def unseen() -> str:
    """A system prompt that no process has met."""
    return f"You are assistant number {next(_numbers)} of {time.time_ns()}. " + "Be brief. " * 50


@asynccontextmanager
async def stand_in() -> AsyncIterator[str]:
    """A stand-in for Anthropic's API; gives its URL."""
    async with child("-m", "claude_code_api.stand_in") as process:
        assert process.stdout is not None
        yield (await process.stdout.readline()).decode().split()[-1]


@asynccontextmanager
async def child(*arguments: str, **given: str) -> AsyncIterator[asyncio.subprocess.Process]:
    """Python as a child with an environment of its own, ended with the block."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *arguments,
        env={**environment.inherited(), "PYTHONPATH": str(ROOT), **given},
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
    )
    try:
        yield process
    finally:
        process.terminate()
        await process.wait()


class Gateway(msgspec.Struct, frozen=True):
    """A gateway that runs as `claude-code-api serve`, and a client of it."""

    pid: int
    url: str
    key: Secret
    client: aiohttp.ClientSession

    def claudes(self) -> list[int]:
        """The Claude Code processes that it has now."""
        return [child.pid for child in psutil.Process(self.pid).children(recursive=True)]

    async def ask(self, messages: Chat, **fields: Any) -> tuple[float, str]:
        """Seconds to the first text of a streamed answer, and the whole of it."""
        body = {"model": "haiku", "stream": True, "messages": messages, **fields}
        headers = {"authorization": f"Bearer {self.key.reveal()}"}
        started = time.perf_counter()
        first = 0.0
        said = ""
        async with self.client.post(f"{self.url}/v1/chat/completions", json=body, headers=headers) as response:
            response.raise_for_status()
            async for line in response.content:
                if line.startswith(b"data: {"):
                    text = "".join(c["delta"].get("content") or "" for c in json.loads(line[6:])["choices"])
                    if text and not first:
                        first = time.perf_counter() - started
                    said += text
        return first, said


@asynccontextmanager
async def gateway(directory: Path, upstream: str, **settings: Any) -> AsyncIterator[Gateway]:
    """With one credential and one key, and no limit to its requests."""
    stored = given_only(data_dir=directory / "data", anthropic_base_url=upstream)
    async with Access.open(stored, migrate=True) as access:
        await access.credentials.add("bench", Secret(oauth_token("bench")))
        _, key = await access.keys.create("bench", "bench")
    given = {f"CCAPI_{name.upper()}": str(value) for name, value in {"rate_limit_per_ip": "off", **settings}.items()}
    command = ("-m", "claude_code_api", "serve", "--port", "0", "--https-port", "0", "--data-dir", str(stored.data_dir))
    async with (
        child(*command, ANTHROPIC_BASE_URL=upstream, **given) as process,
        aiohttp.ClientSession() as client,
    ):
        assert process.stdout is not None
        told = re.search(r"http://\S+", (await process.stdout.readline()).decode())
        assert told is not None
        yield Gateway(process.pid, told[0], key, client)


@asynccontextmanager
async def imports_only() -> AsyncIterator[int]:
    """A process that has imported what the gateway imports, and does nothing; gives its id."""
    code = "import claude_code_api.application, claude_code_api.cli.serve, uvloop; print(flush=True); input()"
    async with child("-c", code) as process:
        assert process.stdout is not None
        await process.stdout.readline()
        yield process.pid


# --- the plain SDK --------------------------------------------------------------------------------------


def sdk_options(url: str, home: Path, system: str, **options: Any) -> ClaudeAgentOptions:
    """What a program would give that wants an answer and nothing else."""
    home.mkdir(exist_ok=True)
    own = {
        "ANTHROPIC_BASE_URL": url,
        "CLAUDE_CODE_OAUTH_TOKEN": oauth_token("bench"),
        "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
        "HOME": str(home),
        "CLAUDE_CONFIG_DIR": str(home),
    }
    return ClaudeAgentOptions(
        system_prompt=system, model="haiku", tools=[], setting_sources=[], env=own, cwd=home,
        include_partial_messages=True, **options,
    )  # fmt: skip


async def plain_sdk(options: ClaudeAgentOptions) -> float:
    """Seconds to the first text of an answer by a process that is started for it."""
    started = time.perf_counter()
    first = 0.0
    async with ClaudeSDKClient(options) as client:
        await client.query(PROMPT)
        async for message in client.receive_response():
            if isinstance(message, StreamEvent) and message.event["type"] == "content_block_delta" and not first:
                first = time.perf_counter() - started
    return first


WITHOUT_SESSION: dict[str, str | None] = {"no-session-persistence": None}


# --- the bare program -----------------------------------------------------------------------------------


@asynccontextmanager
async def bare_program(directory: Path, upstream: str, system: str) -> AsyncIterator[Process]:
    """A live process with nothing of the gateway around it but its pipes."""
    program = Program.of(given_only(data_dir=directory / "bare", anthropic_base_url=upstream))
    program.prepare()
    process = Process(program, "bare")
    await process.start()
    try:
        token = Secret(oauth_token("bare"))
        credential = Credential(id="bare", name="bare", kind=CredentialKind.OAUTH, token=token)
        await process.open(credential, system)
        await process.apply(Thinking(), {"model": "haiku"})
        yield process
    finally:
        await process.end()
        program.clear()


async def ask_by_hand(process: Process) -> float:
    """Seconds to the first text of the next turn."""
    started = time.perf_counter()
    first = 0.0
    process.send(user_line(Message("user", (Text(PROMPT),)), ask=True))
    while (message := await process.message(PATIENCE))["type"] != "result":
        if not first and message.get("event", {}).get("type") == "content_block_delta":
            first = time.perf_counter() - started
    return first
