"""What Prometheus would see: a scrape, read by the parsers of its own library, which refuse what is malformed."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable

import httpx2
from gateways import Gateway
from prometheus_client.metrics_core import Metric
from prometheus_client.parser import text_string_to_metric_families

Series = tuple[str, frozenset[tuple[str, str]]]
PREFIX = "claude_code_api_"


class Scrape:
    """`series` are all samples by name and labels; `types` are the metrics, `labels` those that each has."""

    def __init__(self, text: str, parse: Callable[[str], Iterable[Metric]] = text_string_to_metric_families) -> None:
        self.text = text
        self.types = dict(re.findall(r"^# TYPE (\S+) (\S+)$", text, re.MULTILINE))
        self.helps = dict(re.findall(r"^# HELP (\S+) (.+)$", text, re.MULTILINE))
        self.series: dict[Series, float] = {}
        self.labels: dict[str, set[str]] = {}
        for family in parse(text):
            labels = self.labels.setdefault(family.name, set())
            for sample in family.samples:
                key = sample.name, frozenset(sample.labels.items())
                assert key not in self.series, key
                self.series[key] = sample.value
                labels |= sample.labels.keys() - {"le"}

    def value(self, metric: str, **labels: str) -> float:
        """The sum of all series that have these labels; 0 where there is none."""
        name = PREFIX + metric
        return sum(value for (found, has), value in self.series.items() if found == name and labels.items() <= has)


class Prometheus:
    """Scrapes a gateway with an admin token of its own."""

    def __init__(self, gateway: Gateway) -> None:
        _, token = gateway.access(lambda access: access.admin_tokens.create("prometheus", "viewer"))
        headers = {"authorization": f"Bearer {token.reveal()}"}
        self.client = httpx2.Client(base_url=gateway.https_url, verify=gateway.tls(), headers=headers, timeout=30)
        self.token = token.reveal()

    def scrape(self) -> Scrape:
        return Scrape(self.client.get("/metrics").raise_for_status().text)
