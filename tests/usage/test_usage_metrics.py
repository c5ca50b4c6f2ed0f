"""Answers in figures: of each model its own, of names that a client made up none."""

from __future__ import annotations

from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.metrics_core import Metric
from tallying import lines_in, one_answer, recorded

from claude_code_api.conversation import Started
from claude_code_api.errors import RateLimited
from claude_code_api.settings import given_only
from claude_code_api.storage.database import Database
from claude_code_api.usage.metrics import MOST_MODELS, OTHER, AnswerMetrics
from claude_code_api.usage.record import Record
from claude_code_api.usage.recorder import Recorder

pytestmark = pytest.mark.policy("L4")


def record(model: str, **fields: Any) -> Record:
    given = {
        "request_id": "req_1", "key_id": "key_1", "credential_id": "cred_1", "endpoint": "/v1/chat/completions",
        "stream": False, "status": 200, "error": None, "started_at": datetime.now(UTC), "first_token_ms": 700,
        "duration_ms": 2000, "input_tokens": 1, "output_tokens": 2, "cache_read_tokens": 3, "cache_write_tokens": 4,
        "reasoning_tokens": 1, "cost": 1_500_000_000,
    }  # fmt: skip
    return Record(model=model, **given | fields)


def failed(model: str, error: str = "model_not_found") -> Record:
    nothing = {"first_token_ms": None, "input_tokens": 0, "output_tokens": 0, "cache_read_tokens": 0, "cost": 0}
    return record(model, error=error, status=404, **nothing)


def collected(metrics: AnswerMetrics) -> dict[str, Metric]:
    return {family.name.removeprefix("claude_code_api_"): family for family in metrics.collect()}


def values(family: Metric, *labels: str) -> dict[Any, float]:
    return {tuple(each.labels[label] for label in labels): each.value for each in family.samples}


def test_tokens_cost_and_times_are_those_of_the_record() -> None:
    metrics = AnswerMetrics([])
    for _ in range(2):
        metrics.count(record("claude-sonnet-5-5"))
    metrics.count(record("claude-unpriced-1", cost=None, error="overloaded", status=503))
    found = collected(metrics)
    assert values(found["tokens"], "model", "kind") == {
        ("claude-sonnet-5-5", "input"): 2, ("claude-sonnet-5-5", "output"): 4,
        ("claude-sonnet-5-5", "cache_read"): 6, ("claude-sonnet-5-5", "cache_write"): 8,
        ("claude-unpriced-1", "input"): 1, ("claude-unpriced-1", "output"): 2,
        ("claude-unpriced-1", "cache_read"): 3, ("claude-unpriced-1", "cache_write"): 4,
    }  # fmt: skip
    assert values(found["cost_dollars"], "model") == {("claude-sonnet-5-5",): 3.0}
    assert values(found["reasoning_tokens"], "model")["claude-sonnet-5-5",] == 2
    counts = {name: _counts(found[f"answer_{name}_seconds"]) for name in ("first_token", "duration")}
    assert counts["first_token"] == {"claude-sonnet-5-5": 2, "claude-unpriced-1": 1}
    assert counts["duration"] == {"claude-sonnet-5-5": 2, "claude-unpriced-1": 0}  # it ended before its end


def _counts(family: Metric) -> dict[str, float]:
    return {each.labels["model"]: each.value for each in family.samples if each.name.endswith("_count")}


def test_names_that_no_answer_has_borne_have_no_series() -> None:
    metrics = AnswerMetrics(["sonnet"])
    metrics.count(failed("sonnet"))
    metrics.count(failed(""))
    for n in range(1000):
        metrics.count(failed(f"claude-sonnet-4-5-20{n:06}"))
    assert values(collected(metrics)["answers"], "model", "code") == {
        ("sonnet", "model_not_found"): 1, ("", "model_not_found"): 1, (OTHER, "model_not_found"): 1000,
    }  # fmt: skip
    assert [family.samples for family in metrics.collect() if "answers" not in family.name] == [[]] * 5


def test_an_upstream_that_makes_up_names_gets_a_bounded_number_of_series() -> None:
    metrics = AnswerMetrics(["sonnet"])
    for n in range(1000):
        metrics.count(record(f"claude-{n}"))
    metrics.count(failed("sonnet"))
    found = values(collected(metrics)["answers"], "model")
    assert len(found) == MOST_MODELS + 2
    assert found[OTHER,] == 1000 - MOST_MODELS
    assert sum(values(collected(metrics)["tokens"], "model", "kind").values()) == 10_000


def test_a_model_keeps_its_name_when_it_fails_after_an_answer() -> None:
    metrics = AnswerMetrics([])
    metrics.count(record("claude-sonnet-5-5"))
    metrics.count(failed("claude-sonnet-5-5", "overloaded"))
    assert values(collected(metrics)["answers"], "model", "code") == {
        ("claude-sonnet-5-5", ""): 1, ("claude-sonnet-5-5", "overloaded"): 1,
    }  # fmt: skip


async def test_what_is_written_down_is_what_is_counted(tmp_path: Path, database: Database) -> None:
    settings = given_only(data_dir=tmp_path)
    heard: list[Record] = []
    async with Recorder.open(settings, database, listener=heard.append) as recorder:
        assert recorder.waiting_bytes == 0
        one_answer(recorder, "req_1")
        with suppress(RateLimited), recorded(recorder, "req_2") as tally:
            tally.ask("haiku", "cred_a")
            tally.read(Started("claude-haiku-4-5"))
            raise RateLimited("Come back later.")
        assert heard == lines_in(settings)
        assert [each.error for each in heard] == [None, "rate_limit_exceeded"]
        assert recorder.waiting_bytes > 200
    assert recorder.waiting_bytes == recorder.lost == 0
