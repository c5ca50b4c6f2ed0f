"""One connection: Uvicorn's HTTP/1.1 protocol with the limits that it has not (policy V2).

What a client does wrong on the wire is answered by the application like everything else: the request's state says
under `ENDED` why it ends, and the application gives that its shape, its headers and its line in the log.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, Literal

import httptools
from uvicorn import Config
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle
from uvicorn.server import ServerState

from claude_code_api.errors import HeadersTooLarge, InvalidRequest, Overloaded, RequestFailure, RequestTimeout
from claude_code_api.settings import Settings
from claude_code_api.surface.exchange import ENDED, ClientDisconnected
from claude_code_api.surface.outgoing import Outgoing

LINGER = 2.0
"""Seconds in which a client may still send what we no longer read. Closed at once, a connection with unread data is
reset, and the client may lose the answer that told it why (RFC 9112, 9.6)."""

REFUSED_AT_ONCE = 64
"""Connections above `max_connections`, where all are occupied, that are told so; more are closed without a word."""

AHEAD = 32
"""Requests that a client may send before it has its answer to another one; hardly any client sends any. Each takes
2.5 KB: without a bound, one connection had 5000 of them waiting, 12 MB."""

FRAMING_FACTOR = 16
"""Bytes that chunking may cost for each byte of the body; single-byte chunks cost 6."""

Waiting = Literal["", "head", "body", "answer", "idle"]


class Connections(ServerState):
    """What the connections of all listeners share."""

    def __init__(self) -> None:
        super().__init__()
        self.stopping = False
        self.none_left = asyncio.Event()
        self.unoccupied: dict[Connection, None] = {}
        """Those on which no answer is being given, the longest ago first: clients that have yet to ask for something,
        are idle, or send what nobody wants. None of them has shown a key."""

    def make_room(self) -> bool:
        """Ends one of them for a new connection, so that whoever opens very many keeps nobody out but himself."""
        for connection in self.unoccupied:
            del self.unoccupied[connection]
            connection.transport.abort()
            return True
        return False


class Connection(HttpToolsProtocol):
    """At any time it waits for one thing: a head, a body, an answer of ours, or the next request."""

    def __init__(self, config: Config, shared: Connections, app_state: dict[str, Any], settings: Settings) -> None:
        super().__init__(config, shared, app_state)
        self._shared = shared
        self._settings = settings
        self._waits_for: Waiting = ""
        self._deadline: asyncio.TimerHandle | None = None
        self._stall: asyncio.TimerHandle | None = None
        self._has_place = False  # among `max_connections`
        self._deaf = False  # nothing more is read from this client
        self._in_head = False
        self._in_body = False
        self._message_ended = False  # within the block of data at hand
        self._block = 0
        self._head_bytes = 0
        self._body_bytes = 0
        self._wire_bytes = 0
        self._hosts = 0
        self._codings: list[bytes] = []
        self._running: RequestResponseCycle | None = None
        self._task: asyncio.Task[None] | None = None

    # --- the connection -------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as in Uvicorn
        super().connection_made(transport)
        self._outgoing = Outgoing(transport, self.close_gently)
        excess = len(self.connections) - self._settings.max_connections
        if self._shared.stopping:
            transport.abort()
        elif excess <= 0 or self._shared.make_room():
            self._has_place = True
            self._shared.unoccupied[self] = None
            self._watch()
        elif excess > REFUSED_AT_ONCE:
            transport.abort()
        else:
            self._refuse(Overloaded("Too many connections are open. Come back in a moment.", retry_after=1))

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self._shared.unoccupied.pop(self, None)
        for timer in (self._deadline, self._stall):
            if timer:
                timer.cancel()
        self.pipeline.clear()
        if self._running:
            self._running.disconnected = True
            self._end(ClientDisconnected)
        if not self.connections:
            self._shared.none_left.set()

    def shutdown(self) -> None:
        """Ends after the answer that is being given; at once where there is none."""
        self.pipeline.clear()
        if self._running:
            self._running.keep_alive = False
        elif not self._deaf:
            self._close()

    def end_answer(self, failure: RequestFailure) -> None:
        """Ends the answer that is being given with a failure, and the connection with it."""
        if self._running:
            self._running.keep_alive = False
            self._end(failure)

    def _end(self, reason: RequestFailure | type[ClientDisconnected]) -> None:
        if self._running and self._task:
            self._running.scope["state"][ENDED] = reason
            # Not before its first step: a task that has not begun would end without an answer.
            self.loop.call_soon(self._task.cancel)

    def _close(self) -> None:
        self._outgoing.flush()
        # With unsent data, `close` would wait for a client that may never read it.
        if self.transport.get_write_buffer_size():
            self.transport.abort()
        else:
            self.transport.close()

    def close_gently(self) -> None:
        """After the last answer: at once where everything was read, else when the client had time to stop sending."""
        self.pipeline.clear()
        if not (self._in_head or self._in_body or self._deaf):
            self.transport.close()
        elif not self.transport.is_closing():
            self._stop_reading()
            self.flow.resume_reading()
            if self.transport.can_write_eof():
                self.transport.write_eof()
            self._set_deadline(LINGER, self._close)

    # --- what comes in --------------------------------------------------------------------------------------

    def data_received(self, data: bytes) -> None:
        if self._deaf:
            return
        self._message_ended = False
        self._block = len(data)
        try:
            self._parse(memoryview(data))
        except httptools.HttpParserError as fault:
            self._refuse(_failure_of(fault))
        else:
            self._count()
        self._watch()

    def _parse(self, data: memoryview) -> None:
        """An offer to change the protocol (`Upgrade`) is ignored, its request one like any other (RFC 9110, 7.8).

        The parser lets such a request end with its head, so it is given that head again without the offer.
        """
        while True:
            try:
                self.parser.feed_data(data)
            except httptools.HttpParserUpgrade as offer:
                data = data[offer.args[0] :]
                fields = [b"%s: %s\r\n" % field for field in self.headers if field[0] != b"upgrade"]
                version = self.parser.get_http_version().encode()
                start = b"%s %s HTTP/%s\r\n" % (self.parser.get_method(), self.url, version)
                self.parser = httptools.HttpRequestParser(self)
                self.parser.set_dangerous_leniencies(lenient_data_after_close=True)  # as in Uvicorn
                self.parser.feed_data(b"".join([start, *fields, b"\r\n"]))
            else:
                return

    def eof_received(self) -> None:
        """A client that stops sending has left, though it may have closed its half alone and wait for the answer.

        Nobody can tell: a client that disconnects sends the same FIN, and one that stays is known by no later sign than
        a failing write, while what runs upstream is to end within a second. So asyncio closes the transport, as it
        does for None, and the answer is cancelled.
        """

    def _count(self) -> None:
        settings = self._settings
        if self._in_head:
            self._head_bytes += 1 if self._message_ended else self._block
            if self._head_bytes > settings.max_head_bytes:
                self._refuse(_head_too_large(settings))
        elif self._in_body:
            self._wire_bytes += self._block
            if self._wire_bytes > 2 * settings.max_head_bytes + FRAMING_FACTOR * self._body_bytes:
                self._refuse(InvalidRequest("The body's chunks are nearly all framing.", code="invalid_http"))

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._in_head = True
        self._head_bytes = self._body_bytes = self._wire_bytes = self._hosts = 0
        self._codings = []

    def on_header(self, name: bytes, value: bytes) -> None:
        if not self._in_head:
            return  # a trailer, which is no header of the request
        name = name.lower()
        if name == b"host":
            self._hosts += 1
        elif name == b"transfer-encoding":
            self._codings.append(value.strip().lower())
        elif name == b"expect" and value.lower() == b"100-continue":
            self.expect_100_continue = True
        self.headers.append((name, value))

    def on_headers_complete(self) -> None:
        version = self.parser.get_http_version()
        if self._head_bytes + self._block > self._settings.max_head_bytes:
            size = len(self.url) + sum(len(name) + len(value) + 4 for name, value in self.headers)
            if size > self._settings.max_head_bytes:
                raise _head_too_large(self._settings)
        if len(self.pipeline) >= AHEAD:
            raise InvalidRequest("Too many requests were sent ahead.", code="invalid_http")
        if version not in ("1.0", "1.1"):
            raise InvalidRequest("HTTP/1.1 is spoken here.", code="invalid_http")
        if self._hosts > 1 or (version == "1.1" and not self._hosts):
            raise InvalidRequest("The request must have exactly one `Host` header.", code="invalid_http")
        if self._codings and (version != "1.1" or self._codings != [b"chunked"]):
            raise InvalidRequest("`Transfer-Encoding` may only be `chunked`.", code="invalid_http")
        if self.parser.should_upgrade():
            if self.parser.get_method() == b"CONNECT":
                raise InvalidRequest("This is no proxy.", code="invalid_http")
            return  # and is still in the head; see `_parse`
        super().on_headers_complete()
        self._in_head, self._in_body = False, True

    def on_body(self, body: bytes) -> None:
        self._body_bytes += len(body)
        if self.cycle.response_complete and self._body_bytes > self._settings.max_body_bytes:
            self.transport.abort()  # nobody wants this body, and there is no end to it
        super().on_body(body)

    def on_message_complete(self) -> None:
        if self._in_head:
            return  # it was parsed up to an `Upgrade`
        super().on_message_complete()
        self._in_body = False
        self._message_ended = True
        if not self.pipeline:
            self.flow.resume_reading()  # or nobody would notice when the client leaves

    def _refuse(self, failure: RequestFailure) -> None:
        """Reads no more, and answers with the failure where an answer is still owed."""
        self._stop_reading()
        running = self._running
        if running:
            self.pipeline.clear()
            running.keep_alive = False
            if running is self.cycle and self._in_body and not running.response_started:
                self._end(failure)
        elif self._in_body:
            self._close()  # the request was answered; this was the rest of its body
        else:
            self.on_message_begin()
            self.scope["method"] = self.scope["path"] = ""
            self.scope["query_string"] = self.scope["raw_path"] = b""
            self.scope["state"][ENDED] = failure
            self._start_asgi_task(self._last_cycle(), self.app)

    def _stop_reading(self) -> None:
        self._deaf = True
        if self._deadline:
            self._deadline.cancel()

    # --- what goes out --------------------------------------------------------------------------------------

    def _last_cycle(self) -> RequestResponseCycle:
        return RequestResponseCycle(
            scope=self.scope,
            transport=self.transport,
            flow=self.flow,
            logger=self.logger,
            access_logger=self.access_logger,
            access_log=False,
            default_headers=self.server_state.default_headers,
            message_event=asyncio.Event(),
            expect_100_continue=False,
            keep_alive=False,
            on_response=self.on_response_complete,
        )

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        cycle.transport = self._outgoing  # type: ignore[assignment]  # all of it that a cycle uses
        self._running = cycle
        self._shared.unoccupied.pop(self, None)
        self._task = task = self.loop.create_task(cycle.run_asgi(app))
        task.add_done_callback(self.tasks.discard)
        self.tasks.add(task)

    def on_response_complete(self) -> None:
        self.server_state.total_requests += 1
        self._running = self._task = None
        if self.transport.is_closing():
            return
        self.flow.resume_reading()
        if self.pipeline:
            self._start_asgi_task(*self.pipeline.pop())
        elif self._has_place:
            self._shared.unoccupied[self] = None
        self._watch()

    def pause_writing(self) -> None:
        """A client that reads slowly is waited for, but none that takes nothing for as long as a body may pause."""
        super().pause_writing()
        self._stall = self.loop.call_later(self._settings.body_timeout, self.transport.abort)

    def resume_writing(self) -> None:
        super().resume_writing()
        if self._stall:
            self._stall.cancel()

    # --- deadlines ------------------------------------------------------------------------------------------

    def _watch(self) -> None:
        """Sets the deadline of what is waited for now: of a head since it began, of a body since its last byte."""
        waits_for: Waiting
        if self._deaf:
            return  # there is an answer to be given, and `close_gently` sets the last deadline
        if self._in_body:
            waits_for = "body"
        elif self._running:
            waits_for = "answer"
        else:
            waits_for = "head" if self._in_head or self.cycle is None else "idle"
        if waits_for == self._waits_for != "body":
            return
        self._waits_for = waits_for
        settings = self._settings
        if waits_for == "body":
            self._set_deadline(settings.body_timeout, self._body_late)
        elif waits_for == "head":
            self._set_deadline(settings.head_timeout, self._head_late)
        elif waits_for == "idle":
            self._set_deadline(self.timeout_keep_alive, self._close)
        elif self._deadline:
            self._deadline.cancel()

    def _set_deadline(self, seconds: float, action: Callable[[], None]) -> None:
        if self._deadline:
            self._deadline.cancel()
        self._deadline = self.loop.call_later(seconds, action)

    def _head_late(self) -> None:
        if self._in_head:
            self._refuse(RequestTimeout(f"The request's head took over {self._settings.head_timeout:g} seconds."))
        else:
            self._close()

    def _body_late(self) -> None:
        if self.flow.read_paused:  # by us
            self._watch()
        else:
            pause = self._settings.body_timeout
            self._refuse(RequestTimeout(f"The request's body paused for over {pause:g} seconds."))


def _failure_of(fault: httptools.HttpParserError) -> RequestFailure:
    """The failure that one of our own callbacks raised, or what the parser found."""
    cause = fault.__context__
    if isinstance(cause, RequestFailure):
        return cause
    if isinstance(fault, httptools.HttpParserCallbackError):
        return InvalidRequest("This is not a valid HTTP request.", code="invalid_http")
    return InvalidRequest(f"This is not a valid HTTP request: {fault}.", code="invalid_http")


def _head_too_large(settings: Settings) -> HeadersTooLarge:
    return HeadersTooLarge(f"The request's head is larger than {settings.max_head_bytes} bytes.")
