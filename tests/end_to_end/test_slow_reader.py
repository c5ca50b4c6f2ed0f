"""A client that does not read its answer costs its own process and bounded buffers, and nobody else anything."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import aiohttp

from claude_code_api.application import running
from claude_code_api.engines.claude_code.process import BUFFERED_MESSAGES
from claude_code_api.secret import Secret
from claude_code_api.settings import load
from claude_code_api.stand_in import StandIn, oauth_token, script

LONG = script(chunks=["x" * 20_000], repeat=1_500)  # 30 MB; sockets and buffers on the way take some 10


async def until(condition: Callable[[], Any], seconds: float = 60.0) -> None:
    async with asyncio.timeout(seconds):
        while not condition():
            await asyncio.sleep(0.02)


def body(text: str, *, stream: bool) -> bytes:
    message = {"role": "user", "content": text}
    return json.dumps({"model": "haiku", "messages": [message], "stream": stream}).encode()


async def test_others_are_served_while_a_client_reads_nothing(stand_in: StandIn, tmp_path: Path) -> None:
    settings = load(
        data_dir=tmp_path / "data", port=0, https_port=0, anthropic_base_url=stand_in.url, spare_processes=0,
        max_processes=2, rate_limit_per_ip="off", body_timeout=300, stop_grace=0,
    )  # fmt: skip
    async with running(settings) as parts, aiohttp.ClientSession() as client:
        await parts.access.credentials.add("anna", Secret(oauth_token("anna")))
        keys = [(await parts.access.keys.create(name, "anna"))[1].reveal() for name in ("slow", "other")]
        headers = [{"authorization": f"Bearer {key}", "content-type": "application/json"} for key in keys]
        address = urlsplit(parts.server.http_url)

        connection = socket.socket()
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.setblocking(False)
        await asyncio.get_running_loop().sock_connect(connection, (address.hostname, address.port))
        sent = body(LONG, stream=True)
        head = {"host": "localhost", "content-length": str(len(sent)), **headers[0]}
        lines = ["POST /v1/chat/completions HTTP/1.1", *(f"{name}: {value}" for name, value in head.items())]
        await asyncio.get_running_loop().sock_sendall(connection, "\r\n".join(lines).encode() + b"\r\n\r\n" + sent)

        busy = parts.engine._pool._busy
        await until(lambda: busy and len(next(iter(busy)).process.said) >= BUFFERED_MESSAGES)
        (slow,) = busy
        held = len(slow.process.said)
        for _ in range(3):
            url = f"{parts.server.http_url}/v1/chat/completions"
            async with client.post(url, data=body("Hello", stream=False), headers=headers[1]) as answer:
                assert answer.status == 200, await answer.text()
        assert busy == {slow}
        assert len(slow.process.said) == held, "the pipe is not read meanwhile"

        connection.close()
        await until(lambda: not busy)
        async with client.post(url, data=body("Hello", stream=False), headers=headers[0]) as answer:
            assert answer.status == 200
