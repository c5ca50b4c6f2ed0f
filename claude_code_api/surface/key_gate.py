"""What holds for every answer under an API key, whoever asks for it: it counts against the key's limit (policy N4), and
ends within a second when the key is revoked (policy K3).
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import TYPE_CHECKING

import structlog

from claude_code_api.errors import RequestFailure, Unauthenticated
from claude_code_api.settings import Settings
from claude_code_api.surface.exchange import Exchange
from claude_code_api.surface.gateway import Gateway
from claude_code_api.surface.rate_limits import Allowance, RateLimits, tightest
from claude_code_api.surface.shared_counters import SharedCounters

if TYPE_CHECKING:  # the surface needs no database
    from claude_code_api.access import ApiKey

log = structlog.get_logger(__name__)

LOOK_INTERVAL = 0.25
"""Seconds. A look is a comparison of two numbers, and more only after some key or credential was changed."""

End = Callable[[RequestFailure], None]


class KeyGate:
    """One for each server. It looks after keys only while answers are under way."""

    def __init__(self, settings: Settings, gateway: Gateway, shared: SharedCounters | None = None) -> None:
        self._settings = settings
        self._gateway = gateway
        self._limits = RateLimits(shared)
        self._running: dict[object, tuple[ApiKey, End]] = {}
        self._looking: asyncio.Task[None] | None = None

    @asynccontextmanager
    async def passing(self, exchange: Exchange, key: ApiKey) -> AsyncIterator[None]:
        """Counts the request, and ends the exchange with Unauthenticated if the key ends before it.

        RateLimited where the key's limit is spent. To be entered by the task that answers.
        """
        if by_key := await self._charge(key):
            exchange.allowance = tightest(by_key, exchange.allowance)
            if by_key.spent:
                raise by_key.refusal
        with self._watching(key, exchange.end):
            yield

    @asynccontextmanager
    async def using(self, key: ApiKey) -> AsyncIterator[None]:
        """The same for an answer that is no exchange's own: the block ends with Unauthenticated."""
        if (by_key := await self._charge(key)) and by_key.spent:
            raise by_key.refusal
        task, ended = asyncio.current_task(), list[RequestFailure]()

        def end(failure: RequestFailure) -> None:
            ended.append(failure)
            if task:
                task.cancel()

        with self._watching(key, end):
            try:
                yield
            except asyncio.CancelledError:
                if not ended:
                    raise
                if task:
                    task.uncancel()
                raise ended[0] from None

    async def _charge(self, key: ApiKey) -> Allowance | None:
        rates = key.rate_limit or self._settings.rate_limit_per_key
        allowance = await self._limits.charge(rates, "key:" + key.id)
        if allowance and allowance.spent:
            self._gateway.note_limited(key)
        return allowance

    @contextmanager
    def _watching(self, key: ApiKey, end: End) -> Iterator[None]:
        entry = object()
        self._running[entry] = key, end
        if self._looking is None or self._looking.done():
            self._looking = asyncio.create_task(self._look(self._gateway.changes()))
        try:
            yield
        finally:
            del self._running[entry]

    async def _look(self, seen: int) -> None:
        failing = False
        while True:
            await asyncio.sleep(LOOK_INTERVAL)
            if not self._running:
                return  # and where nothing is under way, the database may be closed by now
            now = self._gateway.changes()
            if now != seen:
                try:
                    await self._end_refused()
                except Exception:  # whatever it was, the next look tries again
                    if not failing:
                        log.warning("keys of running answers cannot be looked at", exc_info=True)
                    failing = True
                    continue
                seen, failing = now, False

    async def _end_refused(self) -> None:
        live: dict[str, bool] = {}
        for entry, (key, end) in list(self._running.items()):
            if key.id not in live:
                live[key.id] = await self._gateway.is_live(key)
            if not live[key.id] and entry in self._running:
                end(Unauthenticated("The API key is no longer valid: it was revoked or has expired."))
