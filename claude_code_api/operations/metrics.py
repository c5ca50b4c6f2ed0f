"""Metrics for Prometheus (policy L4): what happens, in figures. Every label comes from a fixed or bounded set.

Counting is a number in a dictionary, and costs a request next to nothing; it becomes text when somebody asks. Requests
and answers are counted in `surface.metrics` and `usage.metrics`. What the parts of the gateway know anyway is not
counted a second time but read, as a Reading.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from itertools import accumulate
from typing import Any, Protocol, TypeVar, get_args

import msgspec
from prometheus_client import CollectorRegistry, GCCollector, ProcessCollector
from prometheus_client.exposition import choose_encoder
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.utils import floatToGoString

from claude_code_api.operations.alerts import Alert, Kind

PREFIX = "claude_code_api_"

Values = float | Mapping[Any, float]
"""One number, or one for each value of the label, or for each tuple of the labels' values."""

Family = TypeVar("Family", CounterMetricFamily, GaugeMetricFamily)


class Counted(Protocol):
    """Something with metrics of its own. `collect` runs beside the event loop."""

    def collect(self) -> Iterable[Metric]: ...


class Reading(msgspec.Struct, frozen=True, kw_only=True):
    """What the parts of a gateway say of themselves at one moment. `credentials` is None where nobody could tell."""

    connections: int
    processes: Mapping[str, int]
    process_limit: int
    processes_started: int
    faults: Mapping[str, int]
    waiting: int
    sign_ins: Mapping[str, int]
    credentials: Mapping[str, int] | None
    certificate_ends_at: datetime | None
    usage_waiting_bytes: int
    usage_lost: int


class Exposition(msgspec.Struct, frozen=True):
    body: bytes
    content_type: bytes


class Metrics:
    """One for each gateway: several in one process do not mix."""

    def __init__(self, version: str, claude_code: str, *counted: Counted) -> None:
        """`claude_code` is its version, empty where nobody knows it."""
        self._build = {(version, claude_code): 1.0}
        self._counted = counted
        self._alerts: Counter[str] = Counter(dict.fromkeys(get_args(Kind), 0))
        self._process = CollectorRegistry()
        ProcessCollector(registry=self._process)
        GCCollector(self._process)

    def count_alert(self, alert: Alert) -> None:
        self._alerts[alert.kind] += 1

    def exposition(self, accept: str, reading: Reading) -> Exposition:
        """All there is, in the format that the `Accept` header asks for. Some milliseconds: not for the event loop."""
        try:
            encode, content_type = choose_encoder(accept)
        except TypeError:  # it compares versions, and what was given is none
            encode, content_type = choose_encoder("")
        return Exposition(encode(_All(self, reading)), content_type.encode("latin-1"))

    def families(self, reading: Reading) -> Iterator[Metric]:
        yield gauge(
            "build_info",
            "The gateway's version, and that of Claude Code where it is the one that came with it; always 1.",
            self._build,
            "version",
            "claude_code",
        )
        for part in self._counted:
            yield from part.collect()
        yield counter(
            "alerts",
            "Alerts raised, by kind. The same about the same counts once in ten minutes.",
            self._alerts.copy(),
            "kind",
        )
        yield from _read(reading)
        yield from self._process.collect()


class _All:
    """Everything, as encoders take it."""

    def __init__(self, metrics: Metrics, reading: Reading) -> None:
        self._metrics = metrics
        self._reading = reading

    def collect(self) -> Iterator[Metric]:
        return self._metrics.families(self._reading)


def _read(reading: Reading) -> Iterator[Metric]:
    yield gauge("http_open_connections", "Connections of clients that are open now.", reading.connections)
    yield gauge(
        "processes",
        "Claude Code processes now: busy with a request or being started for it, idle and kept for a conversation's "
        "next turn, parked until the client has run a tool, or spare, started ahead of requests.",
        reading.processes,
        "state",
    )
    yield gauge("process_limit", "Claude Code processes that may run at once.", reading.process_limit)
    yield gauge("requests_waiting", "Requests that wait for a Claude Code process now.", reading.waiting)
    yield counter("processes_started", "Claude Code processes started.", reading.processes_started)
    yield counter(
        "engine_faults",
        "Faults met while answering, by kind: a Claude Code process could not be started (start), ended by itself "
        "(died), did nothing for too long (silent) or wrote what cannot be read (unreadable); Anthropic's API failed "
        "or broke an answer off (upstream).",
        reading.faults,
        "kind",
    )
    yield counter(
        "sign_ins",
        "Administrators who signed in (signed_in), were refused for a wrong name, password or code (refused), or were "
        "turned away unlooked at since there had been too many attempts (slowed).",
        reading.sign_ins,
        "outcome",
    )
    told = reading.credentials is not None
    yield gauge("database_up", "1 where the database answered when this was read, else 0.", told)
    if reading.credentials is not None:
        yield gauge(
            "credentials",
            "Stored credentials by what Anthropic last said of them: refused, limited (the limit is spent), or ok.",
            reading.credentials,
            "state",
        )
    if ends_at := reading.certificate_ends_at:
        yield gauge(
            "certificate_expiry_timestamp_seconds",
            "When the TLS certificate in use ends, in seconds since the epoch.",
            ends_at.timestamp(),
        )
    yield gauge(
        "usage_waiting_bytes",
        "Usage records that are written down and not in the database yet, where they get every few seconds.",
        reading.usage_waiting_bytes,
    )
    yield counter("usage_lost_records", "Usage records lost, since they could not be written down.", reading.usage_lost)


# --- kinds of metrics -----------------------------------------------------------------------------------


class Distribution:
    """How many values lie up to each of the bounds, and their sum."""

    def __init__(self, bounds: tuple[float, ...]) -> None:
        self._bounds = bounds
        self._counts = [0] * (len(bounds) + 1)
        self._sum = 0.0

    def add(self, value: float) -> None:
        self._counts[bisect_left(self._bounds, value)] += 1
        self._sum += value

    def add_to(self, family: HistogramMetricFamily, labels: list[str]) -> None:
        bounds = [*map(floatToGoString, self._bounds), "+Inf"]
        family.add_metric(labels, list(zip(bounds, accumulate(self._counts), strict=True)), self._sum)


def counter(name: str, about: str, values: Values, *labels: str) -> Metric:
    """Its name gets the ending `_total`."""
    return _filled(CounterMetricFamily(PREFIX + name, about, labels=labels), values)


def gauge(name: str, about: str, values: Values, *labels: str) -> Metric:
    return _filled(GaugeMetricFamily(PREFIX + name, about, labels=labels), values)


def histogram(name: str, about: str, values: Mapping[str, Distribution], label: str) -> Metric:
    family = HistogramMetricFamily(PREFIX + name, about, labels=[label])
    for value, distribution in values.items():
        distribution.add_to(family, [value])
    return family


def _filled(family: Family, values: Values) -> Family:
    if isinstance(values, Mapping):
        for label, value in values.items():
            family.add_metric([label] if isinstance(label, str) else label, value)
    else:
        family.add_metric([], values)
    return family
