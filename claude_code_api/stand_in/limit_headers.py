"""The response headers that tell of limits: `retry-after`, and the unified limits of a subscription.

Claude Code reads the latter on every answer to an OAuth token and shows them as `rate_limit_event`.
"""

from __future__ import annotations

import functools
import time

from claude_code_api.stand_in.exchange import Headers
from claude_code_api.stand_in.script import Script

_PREFIX = "anthropic-ratelimit-unified-"
_WINDOWS = {"five_hour": "5h", "seven_day": "7d"}
_FIVE_HOURS = 5 * 3600
_USED = {"rejected": 1.0, "allowed_warning": 0.9}


def response_headers(script: Script, *, subscription: bool) -> Headers:
    """The headers of a response by this script; `subscription` is whether an OAuth token asked."""
    if not subscription and script.rate_limit is None and script.retry_after is None and script.headers is None:
        return []
    headers = dict(script.headers or {})
    if script.retry_after is not None:
        headers["retry-after"] = str(script.retry_after)
    if script.rate_limit is not None:
        headers |= unified(script.rate_limit)
    elif subscription:
        return [*_plenty(_window_end()), *_encoded(headers)]
    return _encoded(headers)


def unified(limit: dict[str, str | float]) -> dict[str, str]:
    """`status`, `reset`, `type` and `utilization` of the limit that counts, as headers.

    `type` is `five_hour` or `seven_day` (whose window's own headers are set too), `seven_day_opus`, `overage`, …;
    any other name stands for the header `anthropic-ratelimit-unified-<name>`.
    """
    others = {name: value for name, value in limit.items() if name not in ("status", "reset", "type", "utilization")}
    status = str(limit.get("status", "allowed"))
    reset = int(limit.get("reset", _window_end()))
    claim = str(limit.get("type", "five_hour"))
    headers: dict[str, str | float] = {"status": status, "reset": reset, "representative-claim": claim}
    if claim in _WINDOWS:
        window = _WINDOWS[claim]
        used = limit.get("utilization", _USED.get(status, 0.1))
        headers |= {f"{window}-status": status, f"{window}-reset": reset, f"{window}-utilization": used}
    headers |= {name.replace("_", "-"): value for name, value in others.items()}
    return {_PREFIX + name: str(value) for name, value in headers.items()}


@functools.lru_cache(maxsize=1)
def _plenty(reset: int) -> Headers:
    return _encoded(unified({"reset": reset}))


def _window_end() -> int:
    return (int(time.time()) // _FIVE_HOURS + 1) * _FIVE_HOURS


def _encoded(headers: dict[str, str]) -> Headers:
    return [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in headers.items()]
