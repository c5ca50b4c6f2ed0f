"""Answers in figures: counted as their usage records are written, so that the metrics and the usage agree."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator

from prometheus_client.metrics_core import Metric

from claude_code_api.operations.metrics import Distribution, counter, histogram
from claude_code_api.usage.record import Record

MOST_MODELS = 50
"""Models with series of their own. Anthropic has some ten; who else stands in its place may make up any number."""
OTHER = "other"

_FIRST_TOKEN = (0.1, 0.25, 0.5, 1, 2, 3, 5, 10, 20, 30, 60, 120, 300)
_DURATION = (0.25, 0.5, 1, 2.5, 5, 10, 20, 30, 60, 120, 300, 600, 1800)


class AnswerMetrics:
    """`models` are names that clients may ask for; what Anthropic calls a model is learnt from its answers.

    A name that no answer has borne counts as `other`: a client could make up any number of them.
    """

    def __init__(self, models: Iterable[str]) -> None:
        self._names = {"", *models}
        self._most = len(self._names) + MOST_MODELS
        self._answers: Counter[tuple[str, str, str]] = Counter()
        self._figures: dict[str, _Figures] = {}

    def count(self, record: Record) -> None:
        model = self._name(record)
        self._answers[record.endpoint, model, record.error or ""] += 1
        if record.first_token_ms is not None or record.input_tokens or record.output_tokens:
            figures = self._figures.get(model)
            if figures is None:
                figures = self._figures[model] = _Figures()
            figures.add(record)

    def _name(self, record: Record) -> str:
        if record.model in self._names:
            return record.model
        if record.first_token_ms is None or len(self._names) >= self._most:
            return OTHER
        self._names.add(record.model)
        return record.model

    def collect(self) -> Iterator[Metric]:
        figures = self._figures.copy()
        yield counter(
            "answers",
            "Answers that Claude was asked for, by the code of the error that ended them; it is empty for whole ones, "
            "and given_up where the client left.",
            self._answers.copy(),
            "endpoint",
            "model",
            "code",
        )
        yield histogram(
            "answer_first_token_seconds",
            "Time from a request to the first piece of its answer, waiting for a process included.",
            {model: each.first_token for model, each in figures.items()},
            "model",
        )
        yield histogram(
            "answer_duration_seconds",
            "Time from a request to the end of its answer, of whole answers.",
            {model: each.duration for model, each in figures.items()},
            "model",
        )
        yield counter(
            "tokens",
            "Tokens used: input (not cached), output, read from the cache, written to it.",
            {(model, kind): tokens for model, each in figures.items() for kind, tokens in each.tokens.items()},
            "model",
            "kind",
        )
        yield counter(
            "reasoning_tokens",
            "Output tokens that were thinking; they are among those of kind output.",
            {model: each.reasoning for model, each in figures.items()},
            "model",
        )
        yield counter(
            "cost_dollars",
            "What answers cost, where the price is known; under an OAuth token, what the API would have charged.",
            {model: each.cost / 1e9 for model, each in figures.items() if each.priced},
            "model",
        )


class _Figures:
    """Of one model. `cost` is in billionths of a dollar; one whose price nobody knows has none, rather than 0."""

    def __init__(self) -> None:
        self.tokens = {"input": 0, "output": 0, "cache_read": 0, "cache_write": 0}
        self.reasoning = 0
        self.cost = 0
        self.priced = False
        self.first_token = Distribution(_FIRST_TOKEN)
        self.duration = Distribution(_DURATION)

    def add(self, record: Record) -> None:
        tokens = self.tokens
        tokens["input"] += record.input_tokens
        tokens["output"] += record.output_tokens
        tokens["cache_read"] += record.cache_read_tokens
        tokens["cache_write"] += record.cache_write_tokens
        self.reasoning += record.reasoning_tokens
        if record.cost is not None:
            self.cost += record.cost
            self.priced = True
        if record.first_token_ms is not None:
            self.first_token.add(record.first_token_ms / 1000)
        if record.error is None:
            self.duration.add(record.duration_ms / 1000)
