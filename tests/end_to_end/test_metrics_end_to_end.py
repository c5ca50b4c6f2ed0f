"""The metrics of a gateway that runs: they agree with what was asked, and nothing that anybody wrote is in them."""

from __future__ import annotations

import asyncio
import re
import socket
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any
from urllib.parse import urlsplit

import httpx2
import openai
import pytest
from asking import ask, stream
from canaries import Search, canary
from gateways import Gateway, StartGateway, until
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_open_metrics
from scraping import Prometheus, Scrape

from claude_code_api import application
from claude_code_api.access.credentials import Credentials
from claude_code_api.errors import StorageFailure
from claude_code_api.secret import Secret
from claude_code_api.stand_in import oauth_token, script

pytestmark = pytest.mark.policy("L4")

PASSWORD = "correct horse battery staple 7"
CHAT = "/v1/chat/completions"


@pytest.fixture
def gateway(start_gateway: StartGateway) -> Iterator[Gateway]:
    """One for each test, so that all it counts is the test's."""
    with start_gateway(admin_password=Secret(PASSWORD), max_body_bytes=50_000) as gateway:
        yield gateway


@pytest.fixture
def prometheus(gateway: Gateway) -> Iterator[Prometheus]:
    prometheus = Prometheus(gateway)
    yield prometheus
    prometheus.client.close()


def fails(client: openai.OpenAI, content: str = "Hello", **fields: Any) -> str:
    """The code of the error."""
    with pytest.raises(openai.APIStatusError) as failure:
        ask(client, content, **fields)
    return str(failure.value.code)


# --- the figures ----------------------------------------------------------------------------------------


def test_answers_tokens_and_cost_are_those_that_were_given(gateway: Gateway, prometheus: Prometheus) -> None:
    with gateway.client(gateway.key()) as client:
        usages = [ask(client, f"Question {n}").usage for n in range(3)]
        usages += [stream(client, f"More {n}", stream_options={"include_usage": True})[-1].usage for n in range(2)]
        scrape = prometheus.scrape()
    model = next(dict(has)["model"] for name, has in scrape.series if name.endswith("tokens_total"))
    assert model.startswith("claude-haiku")
    assert scrape.value("answers_total", endpoint=CHAT, model=model, code="") == scrape.value("answers_total") == 5
    tokens = {kind: scrape.value("tokens_total", model=model, kind=kind)
              for kind in ("input", "output", "cache_read", "cache_write")}  # fmt: skip
    assert tokens.pop("output") == sum(usage.completion_tokens for usage in usages)
    assert sum(tokens.values()) == sum(usage.prompt_tokens for usage in usages)
    assert tokens["cache_read"] == sum(usage.prompt_tokens_details.cached_tokens for usage in usages)
    for histogram in ("answer_first_token_seconds", "answer_duration_seconds"):
        assert scrape.value(f"{histogram}_bucket", le="+Inf") == scrape.value(f"{histogram}_count", model=model) == 5
        assert 0 < scrape.value(f"{histogram}_sum") < 60
    until(lambda: prometheus.scrape().value("http_requests_total", route=CHAT, status="200", code="") == 5)

    def recorded() -> Any:
        told = prometheus.client.get("/admin/api/v1/usage", params={"by": "model"}).json()["data"]
        return told[0]["figures"] if told and told[0]["figures"]["requests"] == 5 else None

    usage = until(recorded)
    assert usage["cost"] / 1e9 == pytest.approx(scrape.value("cost_dollars_total", model=model))
    assert usage["output_tokens"] == scrape.value("tokens_total", kind="output")


def test_each_refusal_is_counted_by_its_code_and_each_alert_by_its_kind(
    gateway: Gateway, prometheus: Prometheus
) -> None:
    key = gateway.key()
    with gateway.client(key) as client, gateway.client("sk-wrong") as wrong:
        assert fails(client, f"Go {script(status=429)}") == "rate_limit_exceeded"
        assert fails(client, f"Go {script(status=529)}") == "overloaded"
        assert fails(client, model="nobody knows") == "model_not_found"
        assert fails(client, "x" * 60_000) == "request_too_large"
        assert [fails(wrong) for _ in range(3)] == ["invalid_api_key"] * 3
        with pytest.raises(openai.APIError):
            stream(client, f"Go {script(tokens=5, pause=0.01, cut=2)}")
    with gateway.client(gateway.key("bert", token="sk-ant-oat01-refused" + oauth_token("bert")[13:])) as client:
        assert fails(client) == "invalid_credential"
    scrape = until(lambda: (now := prometheus.scrape()).value("alerts_total") == 2 and now)
    expected = {
        ("429", "rate_limit_exceeded"): 1, ("503", "overloaded"): 1, ("404", "model_not_found"): 1,
        ("413", "request_too_large"): 1, ("401", "invalid_api_key"): 3, ("502", "invalid_credential"): 1,
        ("200", "upstream_error"): 1,
    }  # fmt: skip
    for (status, code), count in expected.items():
        assert scrape.value("http_requests_total", route=CHAT, status=status, code=code) == count, code
    assert scrape.value("http_requests_total", route=CHAT) == sum(expected.values())
    assert scrape.value("http_request_duration_seconds_count", route=CHAT) == sum(expected.values())
    refused_before = 1 + 3  # the body that was too large, and wrong keys: Claude was asked for nothing
    assert scrape.value("answers_total") == sum(expected.values()) - refused_before
    assert scrape.value("answers_total", code="") == 0
    assert (
        scrape.value("alerts_total", kind="limit_spent") == scrape.value("alerts_total", kind="credential_refused") == 1
    )
    assert {state: scrape.value("credentials", state=state) for state in ("ok", "limited", "refused")} == {
        "ok": 0, "limited": 1, "refused": 1,
    }  # fmt: skip
    assert scrape.value("engine_faults_total", kind="upstream") >= 2


def test_what_runs_and_who_waits_is_told(start_gateway: StartGateway) -> None:
    with start_gateway(max_processes=1) as gateway, gateway.client(gateway.key()) as client:
        prometheus = Prometheus(gateway)
        with ThreadPoolExecutor(2) as threads, prometheus.client:
            asked = [threads.submit(ask, client, f"Go {n} {script(delay=1.5, text='done')}") for n in range(2)]
            scrape = until(lambda: (now := prometheus.scrape()).value("requests_waiting") and now)
            for each in asked:
                each.result()
            rest = until(lambda: (now := prometheus.scrape()).value("processes", state="busy") == 0 and now)
    assert scrape.value("processes", state="busy") == scrape.value("requests_waiting") == 1
    assert scrape.value("process_limit") == 1
    assert scrape.value("http_open_connections") >= 3
    assert (rest.value("requests_waiting"), rest.value("processes", state="idle")) == (0, 1)
    assert rest.value("processes_started_total") >= 1
    assert rest.value("answers_total", code="") == 2


def test_a_process_that_waits_for_a_tool_is_parked(gateway: Gateway, prometheus: Prometheus) -> None:
    tool = {"type": "function", "function": {"name": "note", "parameters": {"type": "object"}}}
    call = {"name": "mcp__client__note", "input": {}}
    with gateway.client(gateway.key()) as client:
        assert ask(client, f"Go {script(tools=[call])}", tools=[tool]).choices[0].finish_reason == "tool_calls"
    scrape = until(lambda: (now := prometheus.scrape()).value("processes", state="busy") == 0 and now)
    assert (scrape.value("processes", state="parked"), scrape.value("processes", state="idle")) == (1, 0)


def test_sign_ins_are_counted(gateway: Gateway, prometheus: Prometheus) -> None:
    for password, status in (("wrong", 401), (PASSWORD, 201)):
        own = {"json": {"username": "admin", "password": password}, "headers": {"origin": gateway.https_url}}
        assert (
            httpx2.post(f"{gateway.https_url}/admin/api/v1/session", verify=gateway.tls(), **own).status_code == status
        )
    scrape = prometheus.scrape()
    assert (scrape.value("sign_ins_total", outcome="signed_in"), scrape.value("sign_ins_total", outcome="refused")) == (
        1,
        1,
    )
    assert scrape.value("sign_ins_total", outcome="slowed") == 0


def test_two_gateways_in_one_process_do_not_mix(start_gateway: StartGateway, gateway: Gateway) -> None:
    with start_gateway() as other, other.client(other.key()) as client:
        ask(client)
        here, there = Prometheus(gateway), Prometheus(other)
        with here.client, there.client:
            assert (here.scrape().value("answers_total"), there.scrape().value("answers_total")) == (0, 1)


# --- who may see them -----------------------------------------------------------------------------------


def test_only_administrators_and_admin_tokens_are_told(gateway: Gateway, prometheus: Prometheus) -> None:
    bearers = (None, gateway.key(), "sk-" + "x" * 48, "adm-" + "x" * 48, prometheus.token[:-1])
    for bearer in bearers:
        headers = {"authorization": f"Bearer {bearer}"} if bearer else {}
        refused = httpx2.get(f"{gateway.https_url}/metrics", verify=gateway.tls(), headers=headers)
        assert refused.status_code == 401, bearer
        assert "claude_code_api_" not in refused.text
    gateway.access(_revoke_all)
    assert prometheus.client.get("/metrics").status_code == 401


async def _revoke_all(access: Any) -> None:
    for token in await access.admin_tokens.list():
        await access.admin_tokens.revoke(token.id)


@pytest.mark.policy("A1")
def test_plain_http_leads_to_https_and_tells_nothing(gateway: Gateway, prometheus: Prometheus) -> None:
    headers = dict(prometheus.client.headers)
    for method, status in (("GET", 308), ("HEAD", 308), ("POST", 403)):
        answer = httpx2.request(method, f"{gateway.http_url}/metrics?a=b", headers=headers)
        assert answer.status_code == status
        assert "claude_code_api_" not in answer.text
        if status == 308:
            assert answer.headers["location"] == f"{gateway.https_url}/metrics?a=b"


def test_metrics_are_read_and_nothing_else(gateway: Gateway, prometheus: Prometheus) -> None:
    whole, head = prometheus.client.get("/metrics"), prometheus.client.head("/metrics")
    assert head.status_code == 200
    assert head.content == b""
    assert int(head.headers["content-length"]) > 5000
    assert whole.headers["content-type"] == head.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    assert "content-encoding" not in prometheus.client.get("/metrics", headers={"accept-encoding": "gzip"}).headers
    for method in ("POST", "PUT", "DELETE", "OPTIONS"):
        refused = prometheus.client.request(method, "/metrics")
        assert (refused.status_code, refused.headers["allow"]) == (405, "GET, HEAD")
    assert prometheus.client.get("/metrics/").status_code == 404
    opened = prometheus.client.get("/metrics", headers={"accept": "application/openmetrics-text; version=1.0.0"})
    assert Scrape(opened.text, parse_open_metrics).value("build_info") == 1
    assert prometheus.client.get("/metrics", headers={"accept": "application/openmetrics-text; version=x"}).is_success


# --- what is not in them --------------------------------------------------------------------------------


@pytest.mark.policy("T1", "L2")
def test_nothing_that_anybody_wrote_is_in_them(gateway: Gateway, prometheus: Prometheus) -> None:
    marks: dict[str, str] = {}

    def mark(name: str) -> str:
        marks[name] = canary()
        return marks[name]

    token = f"sk-ant-oat01-{mark('token')}{canary()}-{canary()}AA"
    key = gateway.key(mark("name of a credential and a key"), token=token)
    marks |= {"key": key[3:], "admin token": prometheus.token[4:]}
    answer = mark("answer")
    fields = {"user": mark("user"), "extra_headers": {"user-agent": mark("agent"), "x-client-request-id": mark("id")},
              "extra_query": {"q": mark("query")}}  # fmt: skip
    with gateway.client(key) as client:
        ask(client, f"{mark('prompt')} {script(text=answer)}", **fields)
        stream(client, f"{mark('streamed prompt')} {script(text=answer)}", **fields)
        fails(client, f"{mark('failing prompt')} {script(status=400)}", **fields)
        fails(client, model=f"claude-{mark('full name').lower()}")
        fails(client, model=mark("model"))
    with gateway.client(f"sk-{mark('wrong key')}{canary()}") as client:
        fails(client)
    for path in (f"/{mark('path')}", f"/v1/models/{mark('path of a model')}", f"/admin/{mark('admin path')}"):
        prometheus.client.get(path)
    session = {"json": {"username": mark("name of an administrator"), "password": mark("password")}}
    headers = {"origin": gateway.https_url}
    httpx2.post(f"{gateway.https_url}/admin/api/v1/session", verify=gateway.tls(), headers=headers, **session)
    _send(gateway, f"{mark('method')[:20].upper()} / HTTP/1.1\r\nhost: {mark('host')}\r\n\r\n")
    _send(gateway, f"GET / HTTP/1.1\r\nhost: {mark('another host')}\r\nx-{mark('field')}: {mark('value')}\r\n\r\n")
    search = Search(marks)
    search.look(prometheus.scrape().text.encode(), "the metrics")
    search.look(prometheus.client.get("/metrics", headers={"accept": mark("accept")}).content, "the metrics")
    assert search.found == set()
    text = prometheus.scrape().text
    assert "127.0.0" not in text
    assert re.findall(r"(?:key|cred|token|req|admin)_[0-9a-f]{8,}", text) == []


def _send(gateway: Gateway, text: str) -> None:
    address = urlsplit(gateway.http_url)
    peer = address.hostname, address.port
    with socket.create_connection(peer, timeout=20) as connection, suppress(ConnectionError):
        connection.sendall(text.encode())
        connection.shutdown(socket.SHUT_WR)
        while connection.recv(65536):
            pass


def test_a_client_that_makes_things_up_makes_no_series(gateway: Gateway, prometheus: Prometheus) -> None:
    key = gateway.key()

    def make_up(beginning: int, count: int) -> set[Any]:
        with httpx2.Client(base_url=gateway.http_url) as client:
            for n in range(beginning, beginning + count):
                for path in (f"/made-up-{n}", f"/v1/models/made-up-{n}", f"/admin/made-up-{n}"):
                    client.get(path, headers={"authorization": f"Bearer sk-{n}"})
        for n in range(beginning, beginning + count // 10):
            _send(gateway, f"MADE{n} /made-up HTTP/1.1\r\nhost: a\r\n\r\n")
        with gateway.client(key) as client:
            for n in range(beginning, beginning + count // 10):
                fails(client, model=f"made-up-{n}")
                fails(client, model=f"claude-sonnet-4-5-20{n:06}")
        return set(prometheus.scrape().series)

    prometheus.scrape()
    before = make_up(0, 10)
    assert make_up(1000, 300) == before


# --- when something is wrong ----------------------------------------------------------------------------


@pytest.mark.parametrize("hangs", [False, True])
def test_a_database_that_fails_keeps_nobody_from_the_rest(
    gateway: Gateway, prometheus: Prometheus, monkeypatch: pytest.MonkeyPatch, hangs: bool
) -> None:
    async def fail(_: Credentials) -> dict[str, int]:
        if hangs:
            await asyncio.sleep(60)
        raise StorageFailure("The database failed: disk I/O error.")

    whole = prometheus.scrape()
    monkeypatch.setattr(Credentials, "count", fail)
    monkeypatch.setattr(application, "PATIENCE", 0.1)
    scrape = prometheus.scrape()
    assert (whole.value("database_up"), scrape.value("database_up")) == (1, 0)
    assert whole.types.keys() - scrape.types.keys() == {"claude_code_api_credentials"}


def test_a_flood_of_wrong_keys_is_counted_and_costs_no_series(gateway: Gateway, prometheus: Prometheus) -> None:
    with httpx2.Client(base_url=gateway.http_url) as client:
        for n in range(500):
            assert client.get("/v1/models", headers={"authorization": f"Bearer sk-{n}"}).status_code == 401
    scrape = prometheus.scrape()
    assert scrape.value("http_requests_total", route="/v1/models", code="invalid_api_key") == 500
    assert len([name for name, has in scrape.series if ("code", "invalid_api_key") in has]) == 1


def test_scrapes_while_the_gateway_stops_are_whole_or_none(
    start_gateway: StartGateway, capfd: pytest.CaptureFixture[str]
) -> None:
    bodies: list[str] = []
    lost = threading.Event()

    def scrape_on(prometheus: Prometheus) -> None:
        with suppress(httpx2.TransportError), prometheus.client:
            while True:
                bodies.append(prometheus.client.get("/metrics").raise_for_status().text)
        lost.set()

    with ThreadPoolExecutor(4) as threads:
        with start_gateway() as gateway:
            scraping = [threads.submit(scrape_on, Prometheus(gateway)) for _ in range(4)]
            until(lambda: len(bodies) > 20)
        for each in scraping:
            each.result(20)
    assert lost.is_set()
    assert all(Scrape(body).value("process_limit") for body in bodies)
    assert "request failed" not in "".join(capfd.readouterr())


def test_many_scrapes_at_once_are_answered(gateway: Gateway, prometheus: Prometheus) -> None:
    scrape: Callable[[Any], Scrape] = lambda _: prometheus.scrape()  # noqa: E731
    with ThreadPoolExecutor(8) as threads:
        assert len(list(threads.map(scrape, range(64)))) == 64
    asked = until(lambda: (now := prometheus.scrape().value("http_requests_total", route="/metrics")) >= 64 and now)
    assert asked <= 70
