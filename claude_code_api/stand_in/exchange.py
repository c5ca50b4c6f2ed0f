"""One request and its response over ASGI, with the connection below them."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from claude_code_api.stand_in.answer import identifier
from claude_code_api.stand_in.errors import MESSAGES, Refused
from claude_code_api.stand_in.record import RecordedRequest

Scope = dict[str, Any]
Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]
Headers = list[tuple[bytes, bytes]]

# Where the server puts the transport into a scope; ASGI itself cannot cut a connection.
TRANSPORT = "stand_in.transport"
MAX_BODY_BYTES = 32 * 1024 * 1024
# Deltas without a pause are written together; past this size the connection gets its say.
_WRITE_BYTES = 64 * 1024

_JSON = (b"content-type", b"application/json")
_STREAM = [(b"content-type", b"text/event-stream; charset=utf-8"), (b"cache-control", b"no-cache")]


class Gone(Exception):
    """There is nobody to answer any more."""


class Exchange:
    """`record` is what is kept of the request; `extra_headers` go into every response."""

    def __init__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self._receive = receive
        self._send = send
        self._transport: asyncio.Transport = scope["extensions"][TRANSPORT]
        self.headers: dict[bytes, bytes] = dict(scope["headers"])
        self.record = RecordedRequest(scope)
        self.request_id = identifier("req")
        self.extra_headers: Headers = [(b"request-id", self.request_id.encode())]

    async def read_body(self) -> bytes:
        parts = []
        size = 0
        while True:
            message = await self._receive()
            if message["type"] == "http.disconnect":
                raise Gone
            parts.append(message["body"])
            size += len(message["body"])
            if size > MAX_BODY_BYTES:
                raise Refused(413, "request_too_large", MESSAGES["request_too_large"])
            if not message["more_body"]:
                body = b"".join(parts)
                self.record.take(body)
                return body

    async def wait(self, seconds: float) -> None:
        """Waits so long; Gone when the client leaves meanwhile."""
        if not seconds:
            await asyncio.sleep(0)
            return
        try:
            async with asyncio.timeout(seconds):
                await self._receive()  # the body is read: what can come is that the client is gone
        except TimeoutError:
            return
        raise Gone

    def cut(self) -> None:
        """Ends the connection as a crash would."""
        self._transport.abort()

    async def respond(self, status: int, body: bytes) -> None:
        await self._start(status, [_JSON, (b"content-length", b"%d" % len(body))])
        await self.write(body, last=True)

    async def respond_half(self, body: bytes) -> None:
        """Half of a body whose length was told, then the cut."""
        await self._start(200, [_JSON, (b"content-length", b"%d" % len(body))])
        await self.write(body[: len(body) // 2])
        self.cut()

    async def start_stream(self) -> None:
        await self._start(200, _STREAM)

    async def write(self, data: bytes, *, last: bool = False) -> None:
        if self._transport.is_closing():
            raise Gone
        await self._send({"type": "http.response.body", "body": data, "more_body": not last})

    async def write_together(self, parts: list[bytes]) -> None:
        """The rest of a stream, in as few writes as its size allows."""
        waiting: list[bytes] = []
        size = 0
        for part in parts:
            waiting.append(part)
            size += len(part)
            if size >= _WRITE_BYTES:
                await self.write(b"".join(waiting))
                waiting, size = [], 0
        await self.write(b"".join(waiting), last=True)

    async def _start(self, status: int, headers: Headers) -> None:
        await self._send({"type": "http.response.start", "status": status, "headers": headers + self.extra_headers})
