"""One request and its answer: what every route is given, and the only way to answer."""

from __future__ import annotations

import asyncio
import re
import secrets
import time
import traceback

import structlog

from claude_code_api.dialects.openai_chat import error
from claude_code_api.errors import InternalError, MethodNotAllowed, Overloaded, RequestFailure, StorageFailure
from claude_code_api.surface.asgi import Fields, Receive, Scope, Send
from claude_code_api.surface.client import Client
from claude_code_api.surface.rate_limits import Allowance
from claude_code_api.surface.security_headers import NO_STORE, NOTHING, security_headers

_log = structlog.get_logger(__name__)

ENDED = "ended"
"""Key of the scope's state: why the server ended this request, a RequestFailure or ClientDisconnected.
It is set before the task that answers is cancelled."""

DATABASE_RETRY = 5
"""Seconds after which it is worth asking again."""

_SANE_ID = re.compile(rb"[A-Za-z0-9._-]{1,64}")


class ClientDisconnected(Exception):
    """Nobody is left to answer."""


class Exchange:
    """`notes` go into the request's line of the log, so they hold nothing that anybody wrote or was answered."""

    def __init__(self, scope: Scope, receive: Receive, send: Send, headers: dict[bytes, bytes], client: Client) -> None:
        self.method: str = scope["method"]
        self.path: str = scope["path"]
        self.query: bytes = scope.get("query_string", b"")
        self.fields: Fields = scope["headers"]
        self.headers = headers
        self.client = client
        self.receive = receive
        self.id = "req_" + secrets.token_hex(12)
        self.status = 0
        self.body_read = False
        self.notes: dict[str, object] = {}
        self.allowance: Allowance | None = None
        self.extra_headers: Fields = []
        self.content_policy = NOTHING
        self.cache_control = NO_STORE
        self._send = send
        self._state: dict[str, object] = scope.setdefault("state", {})
        self._task = asyncio.current_task()
        self._began = time.perf_counter()

    @property
    def elapsed(self) -> float:
        """Seconds since the request's head was read."""
        return time.perf_counter() - self._began

    @property
    def elapsed_ms(self) -> float:
        return round(self.elapsed * 1000, 1)

    # --- answering ------------------------------------------------------------------------------------------

    async def begin(self, status: int, headers: Fields) -> None:
        """The head of the answer; from then on only `write`."""
        self.status = status
        if b"expect" in self.headers and not self.body_read:
            # The client still holds the body back, so nobody can tell what the next byte would belong to.
            headers = [*headers, (b"connection", b"close")]
        await self._send(
            {
                "type": "http.response.start",
                "status": status,
                "headers": [
                    *security_headers(self.client.secure),
                    (b"cache-control", self.cache_control),
                    (b"content-security-policy", self.content_policy),
                    (b"x-request-id", self.id.encode()),
                    *(self.allowance.headers if self.allowance else ()),
                    *self.extra_headers,
                    *headers,
                ],
            }
        )

    async def write(self, data: bytes, *, more: bool) -> None:
        """Waits while the client reads slower than we write."""
        if self._state.get(ENDED) is ClientDisconnected:
            raise ClientDisconnected
        await self._send({"type": "http.response.body", "body": data, "more_body": more})

    async def answer(
        self, status: int, body: bytes, headers: Fields | None = None, content_type: bytes = b"application/json"
    ) -> None:
        """A whole answer; one that is empty has no content type."""
        fields = [(b"content-length", b"%d" % len(body)), *(headers or [])]
        if status == 204:
            fields = fields[1:]
        elif body:
            fields.append((b"content-type", content_type))
        await self.begin(status, fields)
        await self.write(body, more=False)

    async def refuse(self, failure: RequestFailure) -> None:
        headers: Fields = []
        if failure.retry_after is not None:
            headers.append((b"retry-after", b"%d" % failure.retry_after))
        if isinstance(failure, MethodNotAllowed):
            headers.append((b"allow", ", ".join(failure.allowed).encode()))
        if failure.status == 401:
            headers.append((b"www-authenticate", b"Bearer"))
        if failure.status == 413:
            headers.append((b"connection", b"close"))  # rather than read the rest of it
        self.notes["error"] = failure.code
        await self.answer(failure.status, error(failure), headers)

    def end(self, failure: RequestFailure) -> None:
        """Has the answer end with a failure, whatever it waits for."""
        self._state[ENDED] = failure
        if self._task:
            self._task.cancel()

    # --- failing --------------------------------------------------------------------------------------------

    def raise_if_ended(self) -> None:
        """For a request that the server refused before anything of ours saw it."""
        ended = self._state.get(ENDED)
        if isinstance(ended, RequestFailure):
            raise ended

    def failure_of(self, fault: BaseException) -> RequestFailure | None:
        """What the client is told of `fault`; None where it is gone. What is our own fault is logged."""
        if isinstance(fault, asyncio.CancelledError):
            task = asyncio.current_task()
            if task:
                task.uncancel()  # the cancellation said that this request ends, which it now does
            ended = self._state.get(ENDED)
            return ended if isinstance(ended, RequestFailure) else None
        if isinstance(fault, ClientDisconnected):
            return None
        if isinstance(fault, RequestFailure):
            return fault
        if isinstance(fault, StorageFailure):
            _log.error("request failed", request_id=self.id, reason=fault.message)
            return Overloaded(
                f"The gateway's database does not answer; come back in a moment. Its log tells more under {self.id}.",
                code="database_unavailable",
                retry_after=DATABASE_RETRY,
            )
        _log.error("request failed", request_id=self.id, fault=_without_values(fault))
        return InternalError(f"The gateway failed. Its log tells more under {self.id}.")

    async def fail(self, fault: BaseException) -> None:
        """Answers with the failure, unless an answer has begun or nobody waits for one."""
        failure = self.failure_of(fault)
        fault.__traceback__ = fault.__cause__ = fault.__context__ = None  # their frames hold what the request held
        if failure is None:
            self.notes["disconnected"] = True
            self.status = self.status or 499  # as nginx logs it; nobody sees it
        elif not self.status:
            await self.refuse(failure)

    # --- telling --------------------------------------------------------------------------------------------

    def log(self) -> None:
        """One line, without content and query (policy L2)."""
        given = self.headers.get(b"x-client-request-id", b"")
        if _SANE_ID.fullmatch(given):
            self.notes["client_request_id"] = given.decode()
        _log.info(
            "request",
            request_id=self.id,
            method=self.method,
            path=self.path[:200],
            status=self.status,
            ms=self.elapsed_ms,
            client=self.client.shortened,
            secure=self.client.secure,
            **self.notes,
        )


def _without_values(fault: BaseException | None) -> str:
    """A traceback without the exceptions' messages: those can quote what a client sent (policy L2)."""
    parts = []
    while fault is not None:
        frames = "".join(traceback.format_tb(fault.__traceback__))
        parts.append(f"{frames}{type(fault).__module__}.{type(fault).__qualname__}")
        fault = fault.__cause__ or fault.__context__
    return "\n".join(reversed(parts))
