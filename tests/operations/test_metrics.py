"""Metrics: well formed in each format, as documented, and read from parts of which one may fail."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, get_args

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_open_metrics
from scraping import PREFIX, Scrape

from claude_code_api.operations.alerts import Alerts, Kind
from claude_code_api.operations.metrics import Distribution, Metrics, Reading, histogram
from claude_code_api.surface.metrics import RequestMetrics
from claude_code_api.usage.metrics import AnswerMetrics
from claude_code_api.usage.record import Record

pytestmark = pytest.mark.policy("L4")

PAGE = Path(__file__).parents[2] / "docs" / "metrics.md"


def reading(**fields: Any) -> Reading:
    given = {
        "connections": 3, "processes": {"busy": 1, "idle": 2}, "process_limit": 8, "processes_started": 5,
        "faults": {"died": 1}, "waiting": 4, "sign_ins": {"refused": 6}, "credentials": {"ok": 1},
        "certificate_ends_at": datetime(2027, 1, 1, tzinfo=UTC), "usage_waiting_bytes": 7, "usage_lost": 0,
    }  # fmt: skip
    return Reading(**given | fields)


def record(**fields: Any) -> Record:
    given = {
        "request_id": "req_1", "key_id": "key_1", "credential_id": "cred_1", "endpoint": "/v1/chat/completions",
        "model": "claude-sonnet-5-5", "stream": False, "status": 200, "error": None, "started_at": datetime.now(UTC),
        "first_token_ms": 700, "duration_ms": 2000, "input_tokens": 1, "output_tokens": 2, "cache_read_tokens": 3,
        "cache_write_tokens": 4, "reasoning_tokens": 0, "cost": 1_500_000_000,
    }  # fmt: skip
    return Record(**given | fields)


@pytest.fixture
def metrics() -> Metrics:
    """With something in each."""
    requests, answers = RequestMetrics(), AnswerMetrics(["sonnet"])
    requests.count("/v1/chat/completions", "POST", 200, "", 1.5)
    requests.count("/v1/models", "GET", 401, "invalid_api_key", 0.001)
    answers.count(record())
    return Metrics("1.2.3", "2.1.0", requests, answers)


def text(metrics: Metrics, accept: str = "", **fields: Any) -> str:
    return metrics.exposition(accept, reading(**fields)).body.decode()


# --- the formats ----------------------------------------------------------------------------------------


def test_each_metric_says_what_it_is_and_no_series_comes_twice(metrics: Metrics) -> None:
    scrape = Scrape(text(metrics))  # which refuses a series that comes twice
    assert scrape.types.keys() == scrape.helps.keys()
    assert all(len(about) > 15 for about in scrape.helps.values())
    assert {name for name in scrape.types if not name.startswith(PREFIX)} == {
        name for name in scrape.types if name.startswith(("process_", "python_gc_"))
    }
    counters = {name for name, kind in scrape.types.items() if kind == "counter"}
    assert counters == {name for name in scrape.types if name.endswith("_total")}
    assert scrape.types[f"{PREFIX}answer_first_token_seconds"] == "histogram"
    assert scrape.value("build_info", version="1.2.3", claude_code="2.1.0") == 1


def test_both_formats_tell_the_same(metrics: Metrics) -> None:
    plain = Scrape(text(metrics))
    asked = metrics.exposition("application/openmetrics-text;version=1.0.0,text/plain;q=0.5", reading())
    assert asked.content_type.startswith(b"application/openmetrics-text; version=1.0.0; charset=utf-8")
    opened = Scrape(asked.body.decode(), parse_open_metrics)
    ours = [{each: v for each, v in scrape.series.items() if each[0].startswith(PREFIX)} for scrape in (plain, opened)]
    assert len(ours[0]) > 50
    assert ours[0] == ours[1]


@pytest.mark.parametrize(
    "accept",
    ["", "*/*", "text/html", "application/openmetrics-text;version=x", "application/openmetrics-text;version=1.a.0",
     "text/plain;version=1.x", f"text/plain;version={'9' * 5000}", ";;;=,,", "text/plain;version=0.0.4;q=0.5",
     "application/openmetrics-text;version=0.0.1"],
)  # fmt: skip
def test_whatever_is_accepted_is_answered_with_text(metrics: Metrics, accept: str) -> None:
    asked = metrics.exposition(accept, reading())
    assert asked.content_type == b"text/plain; version=0.0.4; charset=utf-8"
    assert Scrape(asked.body.decode()).series


def test_a_distribution_counts_up_to_each_bound_and_the_bound_itself() -> None:
    some = Distribution((0.5, 1))
    for value in (0.1, 0.5, 0.7, 1, 30):
        some.add(value)
    family = histogram("some_seconds", "Some.", {"a": some}, "model")
    assert {sample.labels.get("le", sample.name): sample.value for sample in family.samples} == {
        "0.5": 2, "1.0": 4, "+Inf": 5,
        f"{PREFIX}some_seconds_count": 5, f"{PREFIX}some_seconds_sum": pytest.approx(32.3),
    }  # fmt: skip


# --- what is read ---------------------------------------------------------------------------------------


def test_every_kind_of_alert_is_there_from_the_start_and_counted_when_raised(metrics: Metrics) -> None:
    alerts = Alerts()
    alerts.listen(metrics.count_alert)
    assert {dict(labels)["kind"] for name, labels in Scrape(text(metrics)).series if name.endswith("alerts_total")} == {
        *get_args(Kind)
    }
    for about in ("cred_1", "cred_1", "cred_2"):
        alerts.tell("credential_refused", "refused", about)
    scrape = Scrape(text(metrics))
    assert scrape.value("alerts_total") == scrape.value("alerts_total", kind="credential_refused") == 2
    assert "cred_" not in scrape.text


def test_without_the_database_all_the_rest_is_told(metrics: Metrics) -> None:
    scrape, whole = Scrape(text(metrics, credentials=None)), Scrape(text(metrics))
    assert (scrape.value("database_up"), whole.value("database_up")) == (0, 1)
    assert whole.types.keys() - scrape.types.keys() == {f"{PREFIX}credentials"}


def test_before_there_is_a_certificate_its_end_is_not_told(metrics: Metrics) -> None:
    assert "certificate" not in text(metrics, certificate_ends_at=None)
    assert (
        Scrape(text(metrics)).value("certificate_expiry_timestamp_seconds")
        == datetime(2027, 1, 1, tzinfo=UTC).timestamp()
    )


# --- the page -------------------------------------------------------------------------------------------


def test_every_metric_stands_in_the_documentation_with_its_labels_and_nothing_else_does(metrics: Metrics) -> None:
    rows = re.findall(r"^\| `(\w+)` \| (\w+) \|(.*?)\| .+ \|$", PAGE.read_text(encoding="utf-8"), re.MULTILINE)
    documented = {name: (kind, set(re.findall(r"`(\w+)`", labels))) for name, kind, labels in rows}
    scrape = Scrape(text(metrics))
    there = {
        name: (kind, scrape.labels[name.removesuffix("_total") if kind == "counter" else name])
        for name, kind in scrape.types.items()
    }
    assert documented == there


def test_the_documentation_asks_for_metrics_that_exist() -> None:
    page = PAGE.read_text(encoding="utf-8")
    named = set(re.findall(rf"\b{PREFIX}\w+", page))
    rows = set(re.findall(r"^\| `(\w+)` ", page, re.MULTILINE))
    assert {re.sub(r"_(bucket|sum|count)$", "", name) for name in named} <= rows
