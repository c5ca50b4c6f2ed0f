"""Tenants side by side: what one sends and is answered is seen by no other, here and upstream."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from typing import Any

import openai
import pytest
from making import device_of

from claude_code_api.stand_in import StandIn, oauth_token, script

TENANTS = ("anna", "bert", "carla")
REQUESTS = 60


async def ask(client: openai.AsyncOpenAI, mark: str, *, streamed: bool) -> str:
    """The answer to a conversation that bears the mark everywhere; the stand-in repeats all of it."""
    messages: Any = [
        {"role": "system", "content": f"system {mark}"},
        {"role": "user", "content": f"first {mark}"},
        {"role": "assistant", "content": f"second {mark}"},
        {"role": "user", "content": f"third {mark} {script(echo='all')}"},
    ]
    if not streamed:
        answer = await client.chat.completions.create(model="haiku", messages=messages)
        return str(answer.choices[0].message.content)
    chunks = await client.chat.completions.create(model="haiku", messages=messages, stream=True)
    return "".join([chunk.choices[0].delta.content or "" async for chunk in chunks])


@pytest.mark.policy("T1")
async def test_sixty_requests_at_once_of_three_tenants_never_meet(start_gateway: Any, stand_in: StandIn) -> None:
    with start_gateway(max_processes=6, spare_processes=1, queue_timeout=110) as gateway:
        clients = {tenant: gateway.async_client(gateway.key(tenant)) for tenant in TENANTS}
        owners = {f"mark-{number:02}-{TENANTS[number % 3]}": TENANTS[number % 3] for number in range(REQUESTS)}
        answers = await asyncio.gather(
            *(ask(clients[tenant], mark, streamed=mark < "mark-30") for mark, tenant in owners.items())
        )
        for client in clients.values():
            await client.close()

    for mark, answer in zip(owners, answers, strict=True):
        assert [other for other in owners if other in answer] == [mark]

    devices = defaultdict(set)
    assert len(stand_in.requests) == REQUESTS
    for request in stand_in.requests:
        seen = str(request.body)
        (mark,) = [mark for mark in owners if mark in seen]
        assert seen.count(mark) == 4
        tenant = owners.pop(mark)
        assert request.account == oauth_token(tenant)
        assert not [other for other in TENANTS if other != tenant and oauth_token(other) in seen + str(request.headers)]
        devices[tenant].add(device_of(request))
    assert owners == {}
    assert [len(identities) for identities in devices.values()] == [1, 1, 1]
    assert len(set.union(*devices.values())) == 3
