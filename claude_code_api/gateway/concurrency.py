"""Answers that are under way for each API key, waiting ones too, and the limit to them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from claude_code_api.errors import RateLimited

RETRY_AFTER = 2  # seconds; the official clients try again twice


class Concurrency:
    """Counts in this process, and only keys that have an answer under way."""

    def __init__(self) -> None:
        self._under_way: dict[str, int] = {}

    @contextmanager
    def one(self, key_id: str, limit: int | None) -> Iterator[None]:
        """One more answer for a key, counted until it ends, however it does. RateLimited where that is too many.

        It is refused, as with OpenAI's API, rather than made to wait: a program that has run away then learns of it,
        and the queue stays for those who keep to their limits.
        """
        count = self._under_way.get(key_id, 0)
        if limit is not None and count >= limit:
            raise RateLimited(
                f"Too many requests at once: this API key may have {limit} under way. "
                "Try again when one of them has ended.",
                retry_after=RETRY_AFTER,
            )
        self._under_way[key_id] = count + 1
        try:
            yield
        finally:
            self._under_way[key_id] -= 1
            if not self._under_way[key_id]:
                del self._under_way[key_id]
