"""A gateway that is killed under load: every answer that a client received whole is counted, and counted once.

`KILLS` says how often; `make drill` takes a hundred.
"""

from __future__ import annotations

import asyncio
import os
import random
import signal
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import aiohttp
import pytest
from gateways import GatewayProcess, until
from sqlalchemy import func, select

from claude_code_api.access import Access
from claude_code_api.stand_in import StandIn, script
from claude_code_api.storage.tables import usage_hours, usage_records

KILLS = int(os.environ.get("KILLS", "2"))
CLIENTS = 6
MODELS = ("haiku", "sonnet")


class Load:
    """Clients that ask as fast as they are answered, until the gateway is gone; `whole` are ids of whole answers."""

    def __init__(self) -> None:
        self.whole: set[str] = set()
        self.asked = 0

    @contextmanager
    def on(self, url: str, key: str) -> Iterator[None]:
        thread = threading.Thread(target=lambda: asyncio.run(self._run(url, key)))
        thread.start()
        try:
            yield
        finally:
            thread.join(60)
            assert not thread.is_alive()

    async def _run(self, url: str, key: str) -> None:
        async with aiohttp.ClientSession(headers={"authorization": f"Bearer {key}"}) as session:
            await asyncio.gather(*(self._ask_on(session, f"{url}/v1/chat/completions", n) for n in range(CLIENTS)))

    async def _ask_on(self, session: aiohttp.ClientSession, url: str, client: int) -> None:
        while True:
            text = script(tokens=random.randint(1, 30), pause=random.choice([0, 0.005]))
            messages = [{"role": "user", "content": text}]
            body = {"model": random.choice(MODELS), "messages": messages, "stream": bool(client % 2)}
            self.asked += 1
            try:
                async with session.post(url, json=body) as response:
                    assert response.status == 200
                    content = await response.read()
            except (aiohttp.ClientError, OSError):
                return
            if not body["stream"] or content.endswith(b"data: [DONE]\n\n"):
                self.whole.add(response.headers["x-request-id"])


def test_every_whole_answer_is_counted_once_however_often_the_gateway_is_killed(
    gateway_process: Callable[..., GatewayProcess], stand_in: StandIn, capsys: pytest.CaptureFixture[str]
) -> None:
    load = Load()
    gateway = gateway_process(max_processes=3, log_level="warning")
    key = gateway.key()
    for _ in range(KILLS):
        gateway.start()
        before = len(load.whole)
        with load.on(gateway.http_url, key):
            until(lambda before=before: len(load.whole) > before, 30)  # type: ignore[misc]
            threading.Event().wait(random.uniform(0, 1.5))
            gateway.end(signal.SIGKILL)
        stand_in.clear()
    with gateway.started():
        pass  # it takes over what the killed ones left, and stops in order
    counts, hours = gateway.access(counted)
    assert load.whole - counts.keys() == set(), "answers that were never counted"
    assert set(counts.values()) == {1}
    assert hours == len(counts)
    assert len(counts) <= load.asked
    assert list((gateway.settings.data_dir / "usage").glob("*.journal")) == []
    with capsys.disabled():
        if KILLS > 10:
            print(f"\n{KILLS} kills, {load.asked} asked, {len(load.whole)} whole answers, {len(counts)} records")


async def counted(access: Access) -> tuple[Counter[str], int]:
    """How often each request is in the records, and how many requests the hours say."""
    async with access.database.read() as connection:
        ids: Any = await connection.scalars(select(usage_records.c.request_id))
        return Counter(ids), int(await connection.scalar(select(func.sum(usage_hours.c.requests))) or 0)
