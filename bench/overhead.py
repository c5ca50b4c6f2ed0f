"""What a request costs beside its answer: key check, limits, decoding, encoding, log, metrics and usage, in processor
time.

The gateway as it is, with its database, its journal and its log, but without sockets, and with an engine that answers
at once in the place of Claude Code.
"""

from __future__ import annotations

import asyncio
import os
import secrets
import tempfile
import time
from collections.abc import AsyncGenerator, AsyncIterator, MutableMapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import structlog
from sqlalchemy import insert

from bench.figures import Figure, Series
from claude_code_api.access import Access
from claude_code_api.access.names import new_id
from claude_code_api.conversation import Accepted, Conversation, Event, Finished, Started, TextDelta, Usage
from claude_code_api.credential import Credential
from claude_code_api.gateway.gateway import Gateway
from claude_code_api.gateway.models import DEFAULT_NAMES
from claude_code_api.operations import logs
from claude_code_api.secret import Secret
from claude_code_api.settings import given_only
from claude_code_api.stand_in import oauth_token
from claude_code_api.storage.tables import api_keys
from claude_code_api.surface.app import App
from claude_code_api.surface.metrics import RequestMetrics
from claude_code_api.usage.metrics import AnswerMetrics
from claude_code_api.usage.recorder import Recorder

FEW, MANY = 10, 1_000_000
PROGRAMS = 10  # that ask, each with a key of its own
IN_A_ROUND = 200  # requests
AT_ONCE = 20_000  # rows
GOAL = 0.000_25  # seconds
LIMITS = "1000000/minute"
BODY = msgspec.json.encode(
    {
        "model": "haiku",
        "messages": [
            {"role": "system", "content": "Be brief."},
            {"role": "user", "content": "How long is the Nile?"},
            {"role": "assistant", "content": "Some 6,650 kilometres."},
            {"role": "user", "content": "And the Amazon?"},
        ],
        "temperature": 0.2,
    }
)


class AtOnce:
    """An engine that has its answer ready."""

    ready = True

    async def models(self, credential: Credential, tenant: str) -> list[dict[str, Any]]:
        return []

    async def answer(
        self, conversation: Conversation, credential: Credential, tenant: str
    ) -> AsyncGenerator[Event, None]:
        yield Accepted()
        yield Started("claude-haiku-4-5")
        yield TextDelta("Some 6,400 kilometres.")
        yield Finished(stop_reason="end_turn", usage=Usage(input_tokens=40, output_tokens=8))


async def with_few_keys(rounds: int) -> Figure:
    return await _of_a_request(rounds, FEW)


async def with_many_keys(rounds: int) -> Figure:
    return await _of_a_request(rounds, MANY)


async def _of_a_request(rounds: int, keys: int) -> Figure:
    values = []
    with tempfile.TemporaryDirectory() as directory, Path(os.devnull).open("w") as nowhere:
        before = structlog.get_config()
        logs.configure("info", "json", nowhere)
        try:
            async with _app(Path(directory), keys) as (app, texts):
                for _ in range(rounds + 1):
                    began = time.process_time()
                    for number in range(IN_A_ROUND):
                        await _ask(app, texts[number % len(texts)])
                    values.append((time.process_time() - began) / IN_A_ROUND)
                    await asyncio.sleep(0)
        finally:
            structlog.configure(**before)
    name = f"processor time of a request beside its answer, with {keys:,} keys"
    return Figure(measured=Series(name, tuple(values[1:])), goal=GOAL)


@asynccontextmanager
async def _app(directory: Path, keys: int) -> AsyncIterator[tuple[App, list[Secret]]]:
    settings = given_only(data_dir=directory / "data", rate_limit_per_ip=LIMITS, rate_limit_per_key=LIMITS)
    async with (
        Access.open(settings, migrate=True) as access,
        Recorder.open(settings, access.database, listener=AnswerMetrics(DEFAULT_NAMES).count) as recorder,
    ):
        credential = await access.credentials.add("main", Secret(oauth_token()))
        texts = [(await access.keys.create(f"program {n}", credential.id))[1] for n in range(PROGRAMS)]
        for begin in range(PROGRAMS, keys, AT_ONCE):
            async with access.database.write() as connection:
                rows = [_row(n, credential.id) for n in range(begin, min(begin + AT_ONCE, keys))]
                await connection.execute(insert(api_keys), rows)
        await access.database.forget_overwritten()  # else what was just written is still being brought into its place
        gateway = Gateway(settings, access, AtOnce(), recorder)  # type: ignore[arg-type]
        yield App(settings, gateway, metrics=RequestMetrics()), texts
        await gateway.close()


def _row(number: int, credential_id: str) -> dict[str, Any]:
    return {
        "id": new_id("key"), "name": f"program {number}", "hash": secrets.token_bytes(32), "checksummed": True,
        "hint": "abcd", "credential_id": credential_id, "models": [], "created_at": datetime.now(UTC),
        "created_by": "bench",
    }  # fmt: skip


async def _ask(app: App, key: Secret) -> None:
    scope = {
        "type": "http", "method": "POST", "path": "/v1/chat/completions", "raw_path": b"/v1/chat/completions",
        "query_string": b"", "scheme": "http", "client": ("127.0.0.1", 4711), "state": {},
        "headers": [
            (b"host", b"127.0.0.1:8000"), (b"authorization", b"Bearer " + key.reveal().encode()),
            (b"content-type", b"application/json"), (b"content-length", b"%d" % len(BODY)),
            (b"user-agent", b"OpenAI/Python"), (b"accept", b"application/json"),
        ],
    }  # fmt: skip
    statuses: list[int] = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": BODY, "more_body": False}

    async def send(message: MutableMapping[str, Any]) -> None:
        statuses.append(message.get("status", 0))

    await app(scope, receive, send)
    if statuses[0] != 200:
        raise RuntimeError(f"answered {statuses[0]}")
