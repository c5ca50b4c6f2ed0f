"""Alerts: what somebody should hear of, in the log, on the overview and by webhook (policy L4)."""

from __future__ import annotations

import time
from collections import OrderedDict, deque
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, Literal

import msgspec
import structlog

log = structlog.get_logger(__name__)

Kind = Literal[
    "login_storm",
    "key_from_many_addresses",
    "credential_refused",
    "limit_spent",
    "audit_broken",
    "usage_not_recorded",
    "usage_not_folded",
    "limits_not_shared",
]

AGAIN_AFTER = 600.0
"""Seconds for which the same alert about the same thing is not raised again."""
KEPT = 100
REMEMBERED = 10_000
"""Alerts that are known as raised already."""


class Alert(msgspec.Struct, frozen=True, kw_only=True):
    """`about` is the id of what it is about, or a shortened address; None where it is about the gateway itself."""

    kind: Kind
    message: str
    about: str | None
    at: datetime


class Alerts:
    """One for each process. Raising one costs the caller a log line and nothing else: it never waits."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._kept: deque[Alert] = deque(maxlen=KEPT)
        self._raised: OrderedDict[tuple[Kind, str | None], float] = OrderedDict()
        self._listeners: list[Callable[[Alert], None]] = []

    def tell(
        self, kind: Kind, message: str, about: str | None = None, *, level: Literal["warning", "error"] = "warning",
        **details: Any,
    ) -> bool:  # fmt: skip
        """Whether it was raised: not where the same was within ten minutes. `details` go into the log alone."""
        now = self._clock()
        last = self._raised.get((kind, about))
        if last is not None and now - last < AGAIN_AFTER:
            return False
        self._raised[kind, about] = now
        self._raised.move_to_end((kind, about))
        if len(self._raised) > REMEMBERED:
            self._raised.popitem(last=False)
        alert = Alert(kind=kind, message=message, about=about, at=datetime.now(UTC))
        named = {} if about is None else {"about": about}
        (log.error if level == "error" else log.warning)(message, alert=kind, **named, **details)
        self._kept.append(alert)
        for listener in self._listeners:
            listener(alert)
        return True

    def latest(self) -> list[Alert]:
        """Those that this process raised of late, newest first."""
        return list(reversed(self._kept))

    def listen(self, listener: Callable[[Alert], None]) -> None:
        """Hands on each alert from now on; it must not wait for anything, nor fail."""
        self._listeners.append(listener)
