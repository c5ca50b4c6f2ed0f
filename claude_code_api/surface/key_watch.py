"""Ends the answers that run under a key which is revoked meanwhile, within a second (policy K3)."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import structlog

from claude_code_api.errors import Unauthenticated
from claude_code_api.surface.exchange import Exchange
from claude_code_api.surface.gateway import Gateway

if TYPE_CHECKING:  # the surface needs no database
    from claude_code_api.access import ApiKey

log = structlog.get_logger(__name__)

LOOK_INTERVAL = 0.25
"""Seconds. A look is a comparison of two numbers, and more only after some key or credential was changed."""


class KeyWatch:
    """Looks only while answers are under way."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway
        self._running: dict[Exchange, ApiKey] = {}
        self._looking: asyncio.Task[None] | None = None

    @contextmanager
    def watching(self, exchange: Exchange, key: ApiKey) -> Iterator[None]:
        """Ends the exchange with Unauthenticated if the key ends before it; to be entered by the task that answers."""
        self._running[exchange] = key
        if self._looking is None or self._looking.done():
            self._looking = asyncio.create_task(self._look(self._gateway.changes()))
        try:
            yield
        finally:
            del self._running[exchange]

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
        for exchange, key in list(self._running.items()):
            if key.id not in live:
                live[key.id] = await self._gateway.is_live(key)
            if not live[key.id] and exchange in self._running:
                exchange.end(Unauthenticated("The API key is no longer valid: it was revoked or has expired."))
