"""What one request does not show and many do: a key that comes from everywhere, and one that only runs into its limit
(policy L4). Costs a request some microseconds, and is bounded in memory.
"""

from __future__ import annotations

import hashlib
import secrets
import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

from claude_code_api.operations.alerts import Alerts
from claude_code_api.secret import Secret

WITHIN = 3600.0
"""Seconds in which addresses, and refusals by a limit, are counted together."""
MOST_KEYS = 2000
"""Keys that are watched, those used last; and as many texts that are no key."""
MANY_REFUSALS = 100


_Watched = OrderedDict[str, OrderedDict[str, float]]
"""By key, when each address was seen last; of both, those seen last stand at the end."""


class Suspicions:
    def __init__(self, alerts: Alerts, addresses: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._alerts = alerts
        self._addresses = addresses
        self._clock = clock
        self._salt = secrets.token_bytes(16)
        # Apart, so that whoever makes up keys cannot drive out what is known of those that exist.
        self._used: _Watched = OrderedDict()
        self._tried: _Watched = OrderedDict()
        self._limited: OrderedDict[str, tuple[float, int]] = OrderedDict()

    def used(self, key_id: str, address: str) -> None:
        """A live key, from an address that is shortened already."""
        if self._is_everywhere(self._used, key_id, address):
            self._tell("an API key is used from many addresses", key_id)

    def tried(self, text: Secret, address: str) -> None:
        """What is no key, or none any more. It is remembered as a hash under a salt of this process."""
        hashed = hashlib.blake2b(
            text.reveal().encode(errors="surrogatepass"), key=self._salt, digest_size=16
        ).hexdigest()
        if self._is_everywhere(self._tried, hashed, address):
            self._tell("an API key that is refused is tried from many addresses", f"…{text.hint}")

    def limited(self, key_id: str) -> None:
        """A request that a key's own limit refused."""
        now = self._clock()
        began, count = self._limited.pop(key_id, (now, 0))
        if now - began > WITHIN:
            began, count = now, 0
        self._limited[key_id] = began, count + 1
        _shrink(self._limited)
        if count + 1 == MANY_REFUSALS:
            self._alerts.tell("limit_spent", f"the limit of an API key has refused {MANY_REFUSALS} requests", key_id)

    def _is_everywhere(self, watched: _Watched, who: str, address: str) -> bool:
        now = self._clock()
        seen = watched.pop(who, None)
        if seen is None:
            seen = OrderedDict()
        watched[who] = seen
        _shrink(watched)
        seen[address] = now
        seen.move_to_end(address)
        while now - next(iter(seen.values())) > WITHIN:
            seen.popitem(last=False)
        if len(seen) <= self._addresses:
            return False
        seen.popitem(last=False)
        return True

    def _tell(self, message: str, about: str) -> None:
        self._alerts.tell("key_from_many_addresses", message, about, addresses=self._addresses)


def _shrink(watched: OrderedDict[str, Any]) -> None:
    if len(watched) > MOST_KEYS:
        watched.popitem(last=False)
