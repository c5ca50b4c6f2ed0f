"""Requests in figures: routes of a fixed set, whatever a client asks for, on every way in which a request ends."""

from __future__ import annotations

from typing import Any

import pytest
from surface_server import CHAT, ScriptedGateway
from test_surface_app import ADMIN, HEALTH, ROUTES, ask

from claude_code_api.errors import Overloaded
from claude_code_api.settings import Settings
from claude_code_api.surface import App
from claude_code_api.surface.metrics import RequestMetrics

pytestmark = pytest.mark.policy("L4")

ROUTE_NAMES = {CHAT, "/v1/models", "/v1/models/{id}", "/health", "/docs", "/docs.css", "/openapi.json", "/metrics",
               "/admin", "/admin/api", "other"}  # fmt: skip


class Counting:
    def __init__(self, gateway: ScriptedGateway | None = None, **given: Any) -> None:
        self.metrics = RequestMetrics()
        settings = Settings(**{"rate_limit_per_ip": "off", **given})
        self.app = App(settings, gateway or ScriptedGateway(), metrics=self.metrics)

    async def ask(self, path: str = "/v1/models", **fields: Any) -> int:
        status, _, _ = await ask(path, app=self.app, **{"scheme": "https", **fields})
        return status

    def counted(self, *labels: str) -> dict[Any, float]:
        """How many requests there were by these labels."""
        (requests, _) = self.metrics.collect()
        found: dict[Any, float] = {}
        for sample in requests.samples:
            key = tuple(sample.labels[label] for label in labels)
            found[key] = found.get(key, 0) + sample.value
        return found


async def test_each_request_is_counted_by_its_route_and_how_it_ended() -> None:
    counting = Counting()
    expected: dict[Any, float] = {}
    for method, path, status in ROUTES:
        assert await counting.ask(path, method=method) == status
        key = method, str(status)
        expected[key] = expected.get(key, 0) + 1
    assert counting.counted("method", "status") == expected
    by_route = counting.counted("route", "status")
    assert by_route["/health", "200"] == len(HEALTH) + 1
    assert by_route["/v1/models/{id}", "500"] == 1
    assert by_route[CHAT, "405"] == 2
    assert counting.counted("status", "code")["404", "model_not_found"] == 1


async def test_paths_and_methods_that_clients_make_up_make_no_series() -> None:
    counting = Counting()
    made_up = ["/{}", "/v1/{}", "/v1/models/{}", "/admin/{}", "/admin/api/v1/{}", "/auth/{}", "/metrics/{}", "/docs/{}"]
    for n in range(200):
        path = made_up[n % len(made_up)].format(f"made-up-{n}")
        await counting.ask(path, method=f"MAKE{n}" if n % 2 else "GET", headers={"user-agent": f"made-up-{n}"})
    (requests, durations) = counting.metrics.collect()
    assert len(requests.samples) < 20
    assert {sample.labels["route"] for sample in (*requests.samples, *durations.samples)} <= ROUTE_NAMES
    assert {sample.labels["method"] for sample in requests.samples} == {"GET", "other"}
    assert sum(sample.value for sample in requests.samples) == 200
    assert "made-up" not in str((requests, durations))


async def test_routes_of_administrators_are_named_by_their_beginning() -> None:
    counting = Counting()
    for method, path in (*ADMIN, ("GET", "/admin/api/v1/keys")):
        assert await counting.ask(path, method=method, scheme="http") == 308
    assert counting.counted("route") == {("/admin",): len(ADMIN) - 2, ("/admin/api",): 1, ("/metrics",): 2}


async def test_limits_wrong_keys_and_broken_streams_are_told_by_their_code() -> None:
    gateway = ScriptedGateway()
    counting = Counting(gateway, rate_limit_per_key="3/minute")
    assert await counting.ask(headers={"authorization": "Bearer sk-wrong"}) == 401
    gateway.script = [*gateway.script[:3], Overloaded("Later.")]
    assert await counting.ask(CHAT, method="POST", headers={"content-type": "application/json"}) == 503
    assert [await counting.ask() for _ in range(4)] == [200, 200, 429, 429]
    assert counting.counted("status", "code") == {
        ("401", "invalid_api_key"): 1, ("503", "overloaded"): 1, ("200", ""): 2, ("429", "rate_limit_exceeded"): 2,
    }  # fmt: skip
