"""A gateway that really runs, under attack: nothing is let in, memory stays bounded, others are served."""

from __future__ import annotations

import asyncio
import gzip
import resource
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

import psutil
import pytest
from asking import said, user
from gateways import GatewayProcess, until

pytestmark = pytest.mark.policy("V2")

MANY = 10_000
FOR_EACH = 64 * 1024
"""Bytes that a connection on which a client hangs may take, over TLS too, whose buffers are most of it."""

HALF_A_HEAD = b"GET /v1/models HTTP/1.1\r\nhost: localhost\r\n"
HALF_A_HANDSHAKE = b"\x16\x03\x01\x02\x00\x01"


def memory(gateway: GatewayProcess) -> int:
    """Bytes that the gateway's own process holds."""
    return int(psutil.Process(gateway.pid).memory_info().rss)


@contextmanager
def connections(most: int) -> Iterator[int]:
    """How many may be open here and there: `most`, or what the system lets us have."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    try:
        yield min(most, hard - 1000)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


class Hanging(asyncio.Protocol):
    """A client that stops in the middle of what it says."""

    told = 0
    """Bytes that any of them was told."""

    def __init__(self, says: bytes) -> None:
        self._says = says

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.WriteTransport)
        transport.write(self._says)

    def data_received(self, data: bytes) -> None:
        Hanging.told += len(data)


async def hang(url: str, says: bytes, number: int) -> list[asyncio.BaseTransport]:
    address = urlsplit(url)
    loop = asyncio.get_running_loop()
    opened: list[asyncio.BaseTransport] = []
    while len(opened) < number:
        some = min(200, number - len(opened))
        made = (loop.create_connection(lambda: Hanging(says), address.hostname, address.port) for _ in range(some))
        opened += [transport for transport, _ in await asyncio.gather(*made)]
    return opened


@pytest.mark.parametrize(("most", "limit"), [(MANY, MANY + 100), (3000, 1000)], ids=["all held", "as by default"])
async def test_ten_thousand_connections_that_hang_take_bounded_memory_and_keep_nobody_out(
    gateway_process: Callable[..., GatewayProcess], most: int, limit: int
) -> None:
    serving = gateway_process(head_timeout=60, max_connections=limit)
    with connections(most) as number, serving.started() as gateway:
        async with gateway.async_client(gateway.key()) as client:
            question = {"model": "haiku", "messages": [user("Hello")]}
            await client.chat.completions.create(**question)
            before, Hanging.told = memory(gateway), 0
            opened = await hang(gateway.http_url, HALF_A_HEAD, number // 2)
            opened += await hang(gateway.https_url, HALF_A_HANDSHAKE, number // 2)
            try:
                held = min(limit, number // 2) + number // 2  # what has not shaken hands yet counts as no connection
                await asyncio.to_thread(until, lambda: psutil.Process(gateway.pid).num_fds() >= held, 60)
                assert memory(gateway) - before < number * FOR_EACH
                assert Hanging.told == 0, "nobody was told anything"
                async with gateway.async_client(gateway.key("bert")) as other:  # a connection of its own
                    assert said(await other.chat.completions.create(**question))
                    assert (await other._client.get(f"{gateway.http_url}/health")).status_code == 200
                assert said(await client.chat.completions.create(**question))
            finally:
                for transport in opened:
                    assert isinstance(transport, asyncio.Transport)
                    transport.abort()


async def test_bombs_never_unfold_and_keep_nobody_out(gateway_process: Callable[..., GatewayProcess]) -> None:
    """300 KB each, of which 300 MB would come; and such as stay within the limit, all at once."""
    over = gzip.compress(b'{"messages":"' + bytes(300_000_000), 1)
    within = gzip.compress(b'{"model":"none","messages":[{"role":"user","content":"%s"}]}' % (b"x" * 30_000_000), 1)
    with gateway_process().started() as gateway:
        headers = {"authorization": f"Bearer {gateway.key()}", "content-encoding": "gzip"}
        async with gateway.async_client(gateway.key("bert")) as client:
            question: Any = {"model": "haiku", "messages": [user("Hello")]}
            await client.chat.completions.create(**question)
            before, most = memory(gateway), 0

            async def throw(bomb: bytes) -> int:
                nonlocal most
                url = f"{gateway.http_url}/v1/chat/completions"
                answer = await client._client.post(url, content=bomb, headers=headers, timeout=60)
                most = max(most, memory(gateway))
                return answer.status_code

            thrown = asyncio.gather(*map(throw, [over, within] * 15))
            assert said(await client.chat.completions.create(**question))
            assert set(await thrown) <= {404, 413, 503}
    held = gateway.settings.max_bodies_bytes // 2  # by one key
    assert most - before < 1.5 * held
