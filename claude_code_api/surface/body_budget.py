"""What the bodies of all requests together may hold of memory, and how the API keys share it (policy V2).

Bodies are read before a request waits for a process, so that there can be as many as there are connections.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from claude_code_api.errors import Overloaded

FREE = 64 * 1024
"""Bytes of each body that do not count, so that an ordinary question is read however much is held. There are no more
of them than connections."""


class BodyBudget:
    """A key may hold as much as is left for the others: one alone half of all, two a third each.

    So there is always room for a key that holds nothing, without a share that would lie idle.
    """

    def __init__(self, size: int, largest_body: int) -> None:
        self._left = max(size, 2 * largest_body)
        self._held: Counter[str] = Counter()

    @contextmanager
    def share(self, owner: str) -> Iterator[Share]:
        """A body's share, given back with the end of the block."""
        share = Share(self, owner)
        try:
            yield share
        finally:
            self._take(owner, -share.held)
            if not self._held[owner]:
                del self._held[owner]

    def _take(self, owner: str, size: int) -> None:
        self._left -= size
        self._held[owner] += size

    def grow(self, owner: str, size: int) -> None:
        if self._held[owner] + size > self._left - size:
            raise Overloaded(
                "The bodies of too many large requests are held at once. Come back in a moment.", retry_after=1
            )
        self._take(owner, size)


class Share:
    """What one body holds; `held` leaves out what is free."""

    __slots__ = ("_budget", "_owner", "_size", "held")

    def __init__(self, budget: BodyBudget, owner: str) -> None:
        self._budget = budget
        self._owner = owner
        self._size = 0
        self.held = 0

    def grow(self, size: int) -> None:
        """The body has so many bytes more. Overloaded where there is no room for them."""
        self._size += size
        more = max(0, self._size - FREE) - self.held
        if more:
            self._budget.grow(self._owner, more)
            self.held += more
