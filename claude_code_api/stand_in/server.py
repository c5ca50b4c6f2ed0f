"""The stand-in as a server on loopback, in the running event loop or in a thread of its own."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

import uvloop
from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import ServerState

from claude_code_api.stand_in.app import App
from claude_code_api.stand_in.exchange import TRANSPORT
from claude_code_api.stand_in.record import RecordedRequest, Records

HOST = "127.0.0.1"


class StandIn:
    """`async with StandIn() as stand_in:` serves in this loop, `with StandIn.in_thread() as stand_in:` in another.

    `port` 0 takes a free one. `requests` are the newest ones recorded, newest last; how many are kept is
    bounded, by number and by size.
    """

    def __init__(self, port: int = 0) -> None:
        self._port = port
        self._records = Records()
        self._state = ServerState()
        self._server: asyncio.Server | None = None
        self.url = ""

    @property
    def requests(self) -> list[RecordedRequest]:
        return self._records.snapshot()

    def clear(self) -> None:
        self._records.clear()

    async def __aenter__(self) -> StandIn:
        config = Config(
            App(self._records),
            http=_Protocol,
            ws="none",
            lifespan="off",
            interface="asgi3",
            access_log=False,
            log_config=None,
            proxy_headers=False,
            timeout_keep_alive=75,
        )
        config.load()
        loop = asyncio.get_running_loop()

        def protocol() -> asyncio.Protocol:
            return _Protocol(config, self._state, {}, loop)

        self._server = await loop.create_server(protocol, HOST, self._port, backlog=2048)
        self.url = f"http://{HOST}:{self._server.sockets[0].getsockname()[1]}"
        return self

    async def __aexit__(self, *_: object) -> None:
        """Ends at once: streams in progress are cut, as when the real service goes away."""
        server, self._server = self._server, None
        if server is None:
            return
        server.close()
        for connection in list(self._state.connections):
            connection.transport.abort()
        # Each of them waits for its client at most, who is gone now.
        await asyncio.gather(*self._state.tasks)
        await server.wait_closed()

    @classmethod
    @contextmanager
    def in_thread(cls, port: int = 0) -> Generator[StandIn, None, None]:
        """Serves in a thread with a loop of its own, for callers that block or measure theirs."""
        stand_in = cls(port)
        started = threading.Event()
        failure: list[BaseException] = []
        stop: list[Any] = []

        async def serve() -> None:
            ended = asyncio.Event()
            loop = asyncio.get_running_loop()
            stop.append(lambda: loop.call_soon_threadsafe(ended.set))
            async with stand_in:
                started.set()
                await ended.wait()

        def run() -> None:
            try:
                with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
                    runner.run(serve())
            except BaseException as error:  # noqa: BLE001 - handed to the thread that waits
                failure.append(error)
            finally:
                started.set()

        thread = threading.Thread(target=run, name="stand-in", daemon=True)
        thread.start()
        started.wait()
        try:
            if failure:
                raise failure[0]
            yield stand_in
        finally:
            if not failure:
                stop[0]()
            thread.join()


class _Protocol(HttpToolsProtocol):
    """Uvicorn's protocol, whose requests also know their transport: a script may cut it."""

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self.scope["extensions"] = {TRANSPORT: self.transport}  # type: ignore[dict-item]
