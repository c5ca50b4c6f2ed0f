"""Limits in Redis: they outlive a restart and are shared; without Redis the gateway goes on, and limits go on in it."""

from __future__ import annotations

import http.client
import json
import signal
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from canaries import Search
from gateways import Gateway, GatewayProcess, StartGateway, until
from redis_server import RedisServer

from claude_code_api.cli.serve import counts_alone
from claude_code_api.settings import given_only
from claude_code_api.stand_in import StandIn
from claude_code_api.surface import shared_counters

pytestmark = pytest.mark.policy("N5")

AT_MOST = 10.0
"""Seconds within which whatever is bounded by half a second has ended, on the slowest machine."""


def ask(gateway: Gateway, path: str = "/v1/models", **headers: str) -> tuple[int, int]:
    """The status of an answer, and how many requests it says remain."""
    connection = http.client.HTTPConnection(urlsplit(gateway.http_url).netloc, timeout=AT_MOST)
    connection.request("GET", path, headers=headers)
    answer = connection.getresponse()
    answer.read()
    connection.close()
    return answer.status, int(answer.headers["x-ratelimit-remaining"])


def remaining(gateway: Gateway, times: int) -> list[int]:
    return [ask(gateway)[1] for _ in range(times)]


@pytest.fixture
def process(tmp_path: Path, stand_in: StandIn, redis: RedisServer) -> GatewayProcess:
    """One that has yet to be started."""
    return GatewayProcess(tmp_path / "gateway", stand_in.url, rate_limit_per_ip="9/hour", redis_url=redis.url)


@pytest.fixture
def start(start_gateway: StartGateway, redis: RedisServer, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Starts gateways that share no data and a limit. They ask Redis again at once."""
    monkeypatch.setattr(shared_counters, "RETRY_AFTER", 0.0)
    with ExitStack() as stack:
        yield lambda **fields: stack.enter_context(
            start_gateway(**{"rate_limit_per_ip": "9/hour", "redis_url": redis.url, **fields})
        )


# --- while Redis answers --------------------------------------------------------------------------------


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_limits_outlive_a_restart(process: GatewayProcess, redis: RedisServer, number: signal.Signals) -> None:
    with process.started():
        assert remaining(process, 4) == [8, 7, 6, 5]
        process.end(number)
    assert until(lambda: redis.clients() == 0)
    with process.started():
        assert remaining(process, 5) == [4, 3, 2, 1, 0]
        assert ask(process) == (429, 0)
        assert process.end() == 0
    assert until(lambda: redis.clients() == 0)


def test_gateways_share_the_limit_of_an_address(start: Callable[..., Gateway]) -> None:
    one, other = start(), start()
    assert [ask(gateway)[1] for gateway in (one, other, other, one)] == [8, 7, 6, 5]
    assert ask(other, "/health") == (200, 5)
    assert remaining(other, 5) == [4, 3, 2, 1, 0]
    assert ask(one) == (429, 0)
    assert ask(one, "/health") == (200, 0)


def test_a_key_is_counted_under_its_id(start: Callable[..., Gateway], redis: RedisServer) -> None:
    gateway = start(rate_limit_per_ip="off")
    key = gateway.key(rate_limit="5/hour")
    assert [ask(gateway, authorization=f"Bearer {key}") for _ in range(2)] == [(200, 4), (200, 3)]
    (record,) = gateway.access(lambda access: access.keys.page()).items
    assert redis("KEYS", "*LIMITER*") == [f"claude-code-api:LIMITER/key:{record.id}/5/1/hour"]


# --- while it does not ----------------------------------------------------------------------------------


def test_a_redis_that_is_gone_stops_no_request_and_no_limit(start: Callable[..., Gateway], redis: RedisServer) -> None:
    gateway, other = start(), start()
    assert remaining(gateway, 2) == [8, 7]
    assert remaining(other, 1) == [6]
    redis.end()
    assert remaining(gateway, 3) == [6, 5, 4]
    assert ask(gateway, "/health") == (200, 4)
    assert remaining(gateway, 4) == [3, 2, 1, 0]
    assert ask(gateway) == (429, 0)
    assert remaining(other, 1) == [7]
    redis.start()
    assert [ask(each)[1] for each in (gateway, other, gateway)] == [8, 7, 6]


def test_that_it_is_gone_is_told_once_and_that_it_is_back(process: GatewayProcess, redis: RedisServer) -> None:
    process.environment["CCAPI_RATE_LIMIT_PER_IP"] = "100000/hour"
    with process.started():
        assert remaining(process, 2) == [99_999, 99_998]
        redis.end()
        assert remaining(process, 3) == [99_997, 99_996, 99_995]
        redis.start()
        assert until(lambda: ask(process)[1] == 99_999, 30, every=0.1)  # a new one, which begins to count
        logged = [json.loads(line) for line in process.errors.read_text().splitlines() if line.startswith("{")]
    told = [(line["level"], line["event"]) for line in logged if "redis" in line]
    assert told == [
        ("warning", "Redis does not answer: this gateway counts limits by itself"),
        ("info", "Redis answers again: limits are shared"),
    ]
    assert [line["alert"] for line in logged if "alert" in line] == ["limits_not_shared"]


def test_a_redis_that_hangs_holds_no_request_for_long(
    start: Callable[..., Gateway], redis: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shared_counters, "RETRY_AFTER", 3600.0)
    gateway = start()
    assert remaining(gateway, 1) == [8]
    redis.hang()
    began = time.monotonic()
    assert remaining(gateway, 8) == [7, 6, 5, 4, 3, 2, 1, 0]
    assert ask(gateway)[0] == 429
    assert time.monotonic() - began < AT_MOST


# --- the start, and the stop ----------------------------------------------------------------------------


@pytest.mark.policy("T1")
@pytest.mark.parametrize("wrong", ["password", "port", "nothing but that"])
def test_a_redis_that_cannot_be_used_stops_the_start_with_one_line(
    process: GatewayProcess, redis: RedisServer, wrong: str
) -> None:
    where, why = f"127.0.0.1, port {redis.port}", "it does not answer in time"
    if wrong == "password":
        process.environment["CCAPI_REDIS_URL"] = redis.url.replace("redis://:", "redis://:not")
        why = "it refuses the password"
    elif wrong == "port":
        process.environment["CCAPI_REDIS_URL"] = redis.url.replace(f":{redis.port}", ":1")
        where, why = "127.0.0.1, port 1", "nothing listens there"
    else:
        redis.hang()
    process.run()
    assert process.process
    assert process.process.wait(60) == 1
    assert process.errors.read_text() == f"The setting redis_url: Redis at {where} cannot be used: {why}.\n"
    assert process.output.read_text() == ""
    search = Search({"password": redis.password})
    search.look_into([process.directory])
    assert search.found == set()


def test_the_start_says_where_limits_are_not_shared() -> None:
    postgresql = "postgresql+asyncpg://host/name"
    assert counts_alone(given_only(database_url=postgresql))
    assert not counts_alone(given_only(database_url=postgresql, redis_url="redis://host"))
    assert not counts_alone(given_only())
