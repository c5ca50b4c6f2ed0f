"""What this process remembers of the database, for as long as no process has changed keys or credentials."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable
from typing import Generic, TypeVar

from claude_code_api.storage.generation import Generation

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class Memory(Generic[K, V]):
    """At most `size` values, the least recently used leave first; all leave when the generation changes.

    A value read from the database is put with the generation from before it was read (`now`), so that one that
    was overtaken by a change is not kept.
    """

    def __init__(self, generation: Generation, size: int) -> None:
        self._generation = generation
        self._size = size
        self._known_at = generation.current
        self._values: OrderedDict[K, V] = OrderedDict()

    def now(self) -> int:
        current = self._generation.current
        if current != self._known_at:
            self._values.clear()
            self._known_at = current
        return current

    def get(self, key: K) -> V | None:
        self.now()
        value = self._values.get(key)
        if value is not None:
            self._values.move_to_end(key)
        return value

    def put(self, key: K, value: V, read_at: int) -> None:
        if read_at != self.now():
            return
        self._values[key] = value
        self._values.move_to_end(key)
        if len(self._values) > self._size:
            self._values.popitem(last=False)
