"""Nothing of ours blocks the event loop that all answers share."""

from __future__ import annotations

import asyncio
import secrets
import time
from base64 import b32decode
from collections.abc import Callable, Iterator

import aiohttp
import pytest
from blockbuster import BlockBuster, BlockingError
from redis_server import RedisServer

from claude_code_api.access import Access
from claude_code_api.access.one_time_codes import STEP, code_at
from claude_code_api.application import running
from claude_code_api.engines.claude_code.program import Program
from claude_code_api.errors import Unauthenticated
from claude_code_api.secret import Secret
from claude_code_api.settings import Settings
from claude_code_api.stand_in import oauth_token, script


@pytest.fixture
def blocking_calls_fail() -> Iterator[BlockBuster]:
    blockbuster = BlockBuster("claude_code_api")
    # A line of the usage journal goes into the kernel's memory before its answer ends: some microseconds.
    blockbuster.functions["os.write"].can_block_in("usage/journal.py", {"append"})
    # What the kernel knows of a process lies on no disk.
    blockbuster.functions["io.TextIOWrapper.read"].can_block_in("claude_code/capacity.py", {"private_memory"})
    yield blockbuster
    blockbuster.deactivate()


async def test_no_request_blocks_the_event_loop(
    settings: Callable[..., Settings], blocking_calls_fail: BlockBuster, redis: RedisServer
) -> None:
    async with (
        running(settings(port=0, https_port=0, spare_processes=1, redis_url=redis.url)) as gateway,
        aiohttp.ClientSession(gateway.server.http_url) as client,
    ):
        blocking_calls_fail.activate()
        await gateway.access.credentials.add("anna", Secret(oauth_token("anna")))
        _, key = await gateway.access.keys.create("key", "anna")
        headers = {"authorization": f"Bearer {key.reveal()}"}

        async def ask(prompt: str, **fields: object) -> int:
            body = {"model": "haiku", "messages": [{"role": "user", "content": prompt}], **fields}
            async with client.post("/v1/chat/completions", json=body, headers=headers) as response:
                await response.read()
                return response.status

        async with client.get("/v1/models", headers=headers) as response:
            assert response.status == 200
        statuses = await asyncio.gather(
            ask("Hello"),
            ask("Hello", stream=True),
            ask(f"Go {script(status=429)}"),
            ask("Hello", tools=[{"type": "function"}]),
        )
        assert statuses == [200, 200, 429, 400]
        _, token = await gateway.access.admin_tokens.create("prometheus", "viewer")
        headers = {"authorization": f"Bearer {token.reveal()}"}
        async with client.get(f"{gateway.server.https_url}/metrics", headers=headers, ssl=False) as response:
            assert response.status == 200
        blocking_calls_fail.deactivate()


async def test_no_administrator_blocks_the_event_loop(
    settings: Callable[..., Settings], blocking_calls_fail: BlockBuster
) -> None:
    right, new = Secret(secrets.token_urlsafe()), Secret(secrets.token_urlsafe())
    async with Access.open(settings()) as access:
        blocking_calls_fail.activate()
        anna = await access.administrators.set_password("anna", right)
        first = await access.sign_in.attempt("anna", right, address="192.0.2.1")
        for _ in range(2):
            with pytest.raises(Unauthenticated):
                await access.sign_in.attempt("anna", new, address="192.0.2.1", known=first.known)
        enrolment = await access.second_factors.begin(anna, right)
        code = code_at(b32decode(enrolment.secret.reveal()), int(time.time()) // STEP)
        paper = await access.second_factors.confirm(anna, code.reveal())
        await access.sign_in.attempt("anna", right, paper[0].reveal(), address="192.0.2.1")
        await access.own_password.change(anna, right, new, session_id=first.session.id)
        await access.sessions.check(first.secret)
        _, invitation = await access.invitations.invite("bert", "admin")
        await access.invitations.accept(invitation, right)
        _, token = await access.admin_tokens.create("deploy", "admin")
        await access.admin_tokens.check(token)
        await access.administrators.remove("bert")
        blocking_calls_fail.deactivate()


async def test_a_blocking_call_would_be_found(
    settings: Callable[..., Settings], blocking_calls_fail: BlockBuster
) -> None:
    program = Program.of(settings())
    blocking_calls_fail.activate()
    with pytest.raises(BlockingError):
        program.clear()
