"""What the stand-in was asked: the newest requests, for those who test what is sent upstream."""

from __future__ import annotations

import threading
import time
from collections import deque
from datetime import UTC, datetime
from typing import Any

import msgspec

MAX_REQUESTS = 2000
MAX_BYTES = 64 * 1024 * 1024


class RecordedRequest:
    """One request. `account` is the token or API key that it came with ("" where the form was wrong).

    `received` is the time of its last byte; `disconnected` says that the client went away before the
    answer ended; `size` is that of the body in bytes.
    """

    __slots__ = (
        "_body",
        "_decoded",
        "_headers",
        "_received",
        "account",
        "disconnected",
        "method",
        "path",
        "query",
        "size",
    )

    def __init__(self, scope: dict[str, Any]) -> None:
        self.method: str = scope["method"]
        self.path: str = scope["path"]
        self.query: str = scope["query_string"].decode("latin-1")
        self._headers: list[tuple[bytes, bytes]] = scope["headers"]
        self._received = time.time()
        self._body = b""
        self._decoded: Any = None
        self.size = 0
        self.account = ""
        self.disconnected = False

    def take(self, body: bytes) -> None:
        self._body = body
        self.size = len(body)
        self._received = time.time()

    @property
    def headers(self) -> dict[str, str]:
        return {name.decode("latin-1"): value.decode("latin-1") for name, value in self._headers}

    @property
    def received(self) -> datetime:
        return datetime.fromtimestamp(self._received, UTC)

    @property
    def body(self) -> Any:
        """The decoded JSON; text where the body is no JSON, None where there is none."""
        if self._decoded is None and self._body:
            try:
                self._decoded = msgspec.json.decode(self._body)
            except (msgspec.DecodeError, UnicodeDecodeError):
                self._decoded = self._body.decode("utf-8", "replace")
        return self._decoded

    def as_json(self) -> dict[str, Any]:
        names = ("method", "path", "query", "headers", "body", "account", "received", "disconnected")
        return {name: getattr(self, name) for name in names}


class Records:
    """The newest requests, bounded by number and by bytes; read and cleared from any thread."""

    def __init__(self, max_requests: int = MAX_REQUESTS, max_bytes: int = MAX_BYTES) -> None:
        self._kept: deque[RecordedRequest] = deque()
        self._max_requests = max_requests
        self._max_bytes = max_bytes
        self._bytes = 0
        self._lock = threading.Lock()

    def add(self, request: RecordedRequest) -> None:
        with self._lock:
            self._kept.append(request)
            self._bytes += request.size
            while len(self._kept) > self._max_requests or (self._bytes > self._max_bytes and len(self._kept) > 1):
                self._bytes -= self._kept.popleft().size

    def clear(self) -> None:
        with self._lock:
            self._kept.clear()
            self._bytes = 0

    def snapshot(self) -> list[RecordedRequest]:
        with self._lock:
            return list(self._kept)
