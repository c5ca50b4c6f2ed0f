"""A server really started on free ports, in a thread and loop of its own, over a gateway that follows a script."""

from __future__ import annotations

import asyncio
import json
import ssl
import threading
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator
from concurrent.futures import Future
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.parse import urlsplit

import uvloop

from claude_code_api.conversation import Accepted, Conversation, Event, Finished, Started, TextDelta, Usage
from claude_code_api.errors import NotFound, Unauthenticated
from claude_code_api.gateway.models import Model
from claude_code_api.gateway.request import Request
from claude_code_api.secret import Secret
from claude_code_api.settings import Settings
from claude_code_api.surface import App, Server

KEY = "sk-" + "a" * 48
OTHER_KEY = "sk-" + "b" * 48
CHAT = "/v1/chat/completions"
FINISHED = Finished(stop_reason="end_turn", usage=Usage(input_tokens=7, output_tokens=2))
HELLO = (Accepted(), Started("claude-sonnet"), TextDelta("Hel"), TextDelta("lo"), FINISHED)


class Gate:
    """A step of a script that waits until it is opened; `reached` and `left` tell the test where the script is."""

    def __init__(self) -> None:
        self.reached = threading.Event()
        self.left = threading.Event()
        self._opened = asyncio.Event()
        self._loop: asyncio.AbstractEventLoop | None = None

    async def wait(self) -> None:
        self._loop = asyncio.get_running_loop()
        self.reached.set()
        try:
            await self._opened.wait()
        finally:
            self.left.set()

    def open(self) -> None:
        assert self._loop
        self._loop.call_soon_threadsafe(self._opened.set)


class ScriptedGateway:
    """Answers every conversation with `script`: events are given, failures raised, gates waited at."""

    def __init__(self) -> None:
        self.script: Any = HELLO
        self.is_ready = True
        self.rate_limits: dict[str, str | None] = {KEY: None, OTHER_KEY: None}
        self.conversations: list[Conversation] = []
        self.given = 0
        self.closed = threading.Event()
        self.before_key: Gate | None = None
        self.before_close: Gate | None = None
        self.presented: list[Secret | None] = []
        self.change = 0
        self.looked = threading.Event()
        self.revoked: set[str] = set()
        self.limited: list[Any] = []

    def note_limited(self, key: Any) -> None:
        self.limited.append(key)

    async def authenticate(self, presented: Secret | None, address: str) -> Any:
        self.presented.append(presented)
        if self.before_key:
            await self.before_key.wait()
        if presented is None or presented.reveal() not in self.rate_limits:
            raise Unauthenticated("No such API key.")
        text = presented.reveal()
        return SimpleNamespace(id="key_" + text[3], rate_limit=self.rate_limits[text])

    def changes(self) -> int:
        return self.change

    async def is_live(self, key: Any) -> bool:
        self.looked.set()
        return key.id not in self.revoked

    async def models(self, key: Any) -> list[Model]:
        return [Model("sonnet", 0, "anthropic")]

    async def model(self, key: Any, model_id: str) -> Model:
        if model_id == "crash":
            raise ValueError("a secret of the client's")
        if model_id != "sonnet":
            raise NotFound("No such model.", code="model_not_found")
        return Model(model_id, 0, "anthropic")

    async def answer(self, key: Any, conversation: Conversation, request: Request) -> AsyncGenerator[Event, None]:
        self.conversations.append(conversation)
        self.closed.clear()
        try:
            for step in self.script:
                if isinstance(step, Gate):
                    await step.wait()
                elif isinstance(step, BaseException):
                    raise step
                else:
                    self.given += 1
                    yield step
        finally:
            if self.before_close:
                await self.before_close.wait()
            self.closed.set()

    def ready(self) -> bool:
        return self.is_ready


class Served:
    """A running server, seen from a test's own event loop."""

    def __init__(self, server: Server, gateway: ScriptedGateway, loop: asyncio.AbstractEventLoop) -> None:
        self.server = server
        self.gateway = gateway
        self._loop = loop
        self.http, self.https = server.http_url, server.https_url

    def call(self, coroutine: Any) -> Future[Any]:
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop)

    def on_loop(self, function: Callable[[], Any]) -> Any:
        async def call() -> Any:
            return function()

        return self.call(call()).result(10)

    async def stop(self, grace: float) -> None:
        await asyncio.wrap_future(self.call(self.server.stop(grace)))

    async def reload_certificate(self) -> None:
        await asyncio.wrap_future(self.call(self.server.reload_certificate()))

    @asynccontextmanager
    async def raw(self, *, tls: bool = False) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
        url = urlsplit(self.https if tls else self.http)
        context = trusting(self.server) if tls else None
        reader, writer = await asyncio.open_connection(url.hostname, url.port, ssl=context, limit=1000)
        try:
            yield reader, writer
        finally:
            writer.transport.abort()

    async def exchange(self, *data: bytes, tls: bool = False) -> RawAnswer:
        """Sends bytes and reads until the server closes."""
        async with self.raw(tls=tls) as (reader, writer), asyncio.timeout(10):
            for part in data:
                writer.write(part)
                await writer.drain()
            return RawAnswer(await reader.read(-1))


class RawAnswer:
    def __init__(self, data: bytes) -> None:
        head, _, self.body = data.partition(b"\r\n\r\n")
        first, *fields = head.decode("latin-1").split("\r\n")
        self.status = int(first.split()[1]) if first else 0
        self.headers = {name.lower(): value for name, _, value in (field.partition(": ") for field in fields)}

    @property
    def error(self) -> dict[str, Any]:
        return json.loads(self.body)["error"]


def trusting(server: Server) -> ssl.SSLContext:
    assert server.certificate
    path = server._settings.data_dir / "tls" / "certificate.pem"
    context = ssl.create_default_context(cafile=path)
    context.verify_flags |= ssl.VERIFY_X509_STRICT
    return context


def request(method: str = "GET", path: str = "/health", body: bytes = b"", **fields: str) -> bytes:
    """The bytes of a request; fields' names with `_` for `-`."""
    given = {"host": "localhost", "connection": "close", **{n.replace("_", "-"): v for n, v in fields.items()}}
    if body and "transfer-encoding" not in given:
        given.setdefault("content-length", str(len(body)))
    lines = [f"{method} {path} HTTP/1.1", *(f"{name}: {value}" for name, value in given.items())]
    return "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + body


def chat_body(**fields: Any) -> bytes:
    return json.dumps({"model": "sonnet", "messages": [{"role": "user", "content": "Hi"}], **fields}).encode()


def chat_request(**fields: Any) -> bytes:
    return request("POST", CHAT, chat_body(**fields), authorization=f"Bearer {KEY}")


@contextmanager
def serving(gateway: ScriptedGateway, data_dir: Path, **given: Any) -> Iterator[Served]:
    settings = Settings(**{"port": 0, "https_port": 0, "data_dir": data_dir, "rate_limit_per_ip": "off", **given})
    ready: Future[Served] = Future()
    ended: list[Callable[[], None]] = []

    async def serve() -> None:
        loop, end = asyncio.get_running_loop(), asyncio.Event()
        ended.append(lambda: loop.call_soon_threadsafe(end.set))
        try:
            server = Server(App(settings, gateway), settings)
            await server.start()
        except BaseException as fault:  # noqa: BLE001 - told to the thread that waits
            ready.set_exception(fault)
            return
        ready.set_result(Served(server, gateway, loop))
        await end.wait()
        await server.stop(0)

    def run() -> None:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(serve())

    thread = threading.Thread(target=run, name="surface")
    thread.start()
    try:
        yield ready.result(20)
    finally:
        if not ready.exception():
            ended[0]()
        thread.join(20)


async def happened(event: threading.Event, seconds: float = 5) -> bool:
    return await asyncio.to_thread(event.wait, seconds)
