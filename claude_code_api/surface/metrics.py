"""Requests in figures: by route, method, status and error, never by what a client made up."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from prometheus_client.metrics_core import Metric

from claude_code_api.operations.metrics import Distribution, counter, histogram

OTHER = "other"

_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
_DURATION = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600)


class RequestMetrics:
    """Every request that was answered, or would have been had its client stayed (499)."""

    def __init__(self) -> None:
        self._requests: Counter[tuple[str, str, str, str]] = Counter()
        self._durations: dict[str, Distribution] = {}

    def count(self, route: str, method: str, status: int, code: str, seconds: float) -> None:
        """`route` and `code` are from sets of ours."""
        self._requests[route, method if method in _METHODS else OTHER, str(status), code] += 1
        durations = self._durations.get(route)
        if durations is None:
            durations = self._durations[route] = Distribution(_DURATION)
        durations.add(seconds)

    def collect(self) -> Iterator[Metric]:
        yield counter(
            "http_requests",
            "Requests by route, method, status and code of the error that was told, which is empty where there was "
            "none. A stream that broke off has the status 200 and a code; 499 is for clients that left.",
            self._requests.copy(),
            "route",
            "method",
            "status",
            "code",
        )
        yield histogram(
            "http_request_duration_seconds",
            "Time from a request's head to the end of its answer, streams included.",
            self._durations.copy(),
            "route",
        )
