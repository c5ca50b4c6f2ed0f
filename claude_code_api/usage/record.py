"""The record of one request: its figures, and nothing that anybody wrote or was answered."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime

import msgspec

from claude_code_api.conversation import Accepted, Event, Finished, RateLimitStatus, Started, Usage
from claude_code_api.usage.prices import Prices

MOST = 10**12
"""Tokens that are believed of one answer. More would be a fault upstream, and must not break a sum."""


class Record(msgspec.Struct, frozen=True, kw_only=True):
    """One row of `usage_records`; its fields are the table's columns.

    `model` is the one that answered, or was asked for by a name that is known; empty otherwise. `status` is what the
    client was answered with, or would have been had no stream begun; 499 where the request was given up. `error` is
    the failure's code. Times are in milliseconds after `started_at`. `input_tokens` are those neither read from nor
    written to the cache. `cost` is in billionths of a US dollar, None where nobody knows the price.
    """

    request_id: str
    key_id: str
    credential_id: str
    endpoint: str
    model: str
    stream: bool
    status: int
    error: str | None
    started_at: datetime
    first_token_ms: int | None
    duration_ms: int
    input_tokens: int
    output_tokens: int
    cache_read_tokens: int
    cache_write_tokens: int
    reasoning_tokens: int
    cost: int | None


class Tally:
    """What is known of one request so far. It becomes one record: with `Finished`, or with what ended it before."""

    def __init__(
        self, *, request_id: str, key_id: str, endpoint: str, stream: bool, prices: Prices,
        keep: Callable[[Record, bool], None],
    ) -> None:  # fmt: skip
        self.credential_id = ""
        self.settled = False
        self._request_id, self._key_id, self._endpoint, self._stream = request_id, key_id, endpoint, stream
        self._prices = prices
        self._keep = keep
        self._model = ""
        self._usage = Usage()
        self._started_at = datetime.now(UTC)
        self._began = time.perf_counter()
        self._first_token_ms: int | None = None

    def ask(self, model: str, credential_id: str, *, known: bool = False) -> None:
        """Whom the request goes to. A name that is not known, nor in a price list, may be anything: it is not kept."""
        self.credential_id = credential_id
        self._model = model if known or self._prices.knows(model) else ""

    def read(self, event: Event) -> None:
        """An event on its way to the client. `Finished` may pass on only when this returns."""
        if isinstance(event, (Accepted, RateLimitStatus)):  # a union would be made anew each time
            return
        if isinstance(event, Started):
            self._model, self._usage = event.model[:100], event.usage
        elif isinstance(event, Finished):
            self._usage = event.usage
            self._settle(200, None, whole=True)
        elif self._first_token_ms is None:
            self._first_token_ms = self._elapsed_ms()

    def fail(self, status: int, error: str) -> None:
        """The request ended otherwise; nothing where its answer was whole before."""
        if not self.settled:
            self._settle(status, error, whole=False)

    def _settle(self, status: int, error: str | None, *, whole: bool) -> None:
        usage = _believed(self._usage)
        record = Record(
            request_id=self._request_id,
            key_id=self._key_id,
            credential_id=self.credential_id,
            endpoint=self._endpoint,
            model=self._model,
            stream=self._stream,
            status=status,
            error=error,
            started_at=self._started_at,
            first_token_ms=self._first_token_ms,
            duration_ms=self._elapsed_ms(),
            input_tokens=usage.input_tokens,
            output_tokens=usage.output_tokens,
            cache_read_tokens=usage.cache_read_input_tokens,
            cache_write_tokens=usage.cache_creation_input_tokens,
            reasoning_tokens=usage.reasoning_tokens or 0,
            cost=self._prices.cost(self._model, usage, self._started_at),
        )
        self._keep(record, whole)
        self.settled = True

    def _elapsed_ms(self) -> int:
        return round((time.perf_counter() - self._began) * 1000)


def _believed(usage: Usage) -> Usage:
    counts = msgspec.structs.asdict(usage)
    return Usage(**{name: max(0, min(tokens or 0, MOST)) for name, tokens in counts.items()})
