"""What limits a client: requests a minute, the way without TLS, and the form of everything that it sends."""

from __future__ import annotations

import http.client
import json
import ssl
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import openai
import pytest
from fuzzing import TIMES
from gateways import Gateway
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from claude_code_api.stand_in import StandIn, script

CHAT = "/v1/chat/completions"
LIMITS = ("x-ratelimit-limit", "x-ratelimit-remaining", "x-ratelimit-reset", "x-ratelimit-remaining-requests")
HTTP = "http"
HTTPS = "https"


class Raw:
    """A connection that is kept, for what no client library would send."""

    def __init__(self, url: str, tls: ssl.SSLContext | None = None) -> None:
        address = urlsplit(url)
        host, port = str(address.hostname), address.port
        self._connection = (
            http.client.HTTPSConnection(host, port, context=tls, timeout=20)
            if tls
            else http.client.HTTPConnection(host, port, timeout=20)
        )

    def __call__(
        self, method: str, path: str, body: bytes | None = None, /, **headers: Any
    ) -> tuple[int, dict[str, str], Any]:
        """Status, headers and decoded body of an answer. `_` in a header's name stands for `-`."""
        fields = {name.replace("_", "-"): value for name, value in headers.items()}
        self._connection.request(method, path, body, fields)
        answer = self._connection.getresponse()
        read = answer.read()
        shown = {name.lower(): value for name, value in answer.getheaders()}
        return answer.status, shown, json.loads(read) if read else None

    def close(self) -> None:
        self._connection.close()


@pytest.fixture
def raw(gateway: Gateway) -> Iterator[Raw]:
    connection = Raw(gateway.http_url)
    yield connection
    connection.close()


@pytest.fixture(scope="module")
def key(gateway: Gateway) -> str:
    return gateway.key()


class TestRate:
    @pytest.mark.policy("N4")
    def test_an_address_has_a_hundred_requests_a_minute_and_is_always_told(self, start_gateway: Any) -> None:
        with start_gateway(rate_limit_per_ip=None) as gateway:
            key = gateway.key()
            raw = Raw(gateway.http_url)
            remaining = []
            for number in range(100):  # good and bad ones count alike
                bearer, path = (key, "/v1/nothing") if number % 2 else ("sk-none", CHAT)
                _, headers, _ = raw("POST", path, b"{}", authorization=f"Bearer {bearer}")
                assert set(LIMITS) <= set(headers)
                remaining.append(int(headers["x-ratelimit-remaining"]))
            assert remaining == list(range(99, -1, -1))

            status, headers, told = raw("POST", CHAT, b"{}", authorization=f"Bearer {key}")
            assert (status, told["error"]["type"], told["error"]["code"]) == (
                429, "rate_limit_error", "rate_limit_exceeded",
            )  # fmt: skip
            assert 1 <= int(headers["retry-after"]) <= 60
            assert headers["x-ratelimit-limit"] == "100"
            for path in ("/v1/health", "/health/live", "/health/ready"):
                assert raw("GET", path)[0] == 200
            with gateway.client(key) as client, pytest.raises(openai.RateLimitError):
                client.models.list()
            raw.close()

    @pytest.mark.policy("N4")
    def test_health_counts_against_no_limit(self, start_gateway: Any) -> None:
        with start_gateway(rate_limit_per_ip="3/minute") as gateway:
            raw = Raw(gateway.http_url)
            assert {raw("GET", "/v1/health")[1]["x-ratelimit-remaining"] for _ in range(5)} == {"3"}
            raw.close()

    def test_a_key_may_have_a_limit_of_its_own(self, gateway: Gateway) -> None:
        with gateway.client(gateway.key(rate_limit="2/minute")) as client:
            assert [client.models.list().object for _ in range(2)] == ["list"] * 2
            with pytest.raises(openai.RateLimitError) as raised:
                client.models.list()
            assert raised.value.code == "rate_limit_exceeded"
            assert int(raised.value.response.headers["retry-after"]) > 0
        with gateway.client(gateway.key()) as other:
            assert other.models.list().data

    def test_a_key_may_have_a_limit_to_requests_at_once(self, gateway: Gateway) -> None:
        messages: Any = [{"role": "user", "content": f"Slowly. {script(tokens=100, pause=0.1)}"}]
        with gateway.client(gateway.key(max_concurrent=1)) as client:
            with client.chat.completions.create(model="haiku", messages=messages, stream=True) as running:
                next(running)
                with pytest.raises(openai.RateLimitError) as raised:
                    client.chat.completions.create(model="haiku", messages=messages)
                assert (raised.value.code, raised.value.type) == ("rate_limit_exceeded", "rate_limit_error")
                assert "may have 1 under way" in raised.value.message
                assert int(raised.value.response.headers["retry-after"]) > 0
            # The first one has ended; that it is counted off may take a moment, in which the client comes back.
            quick: Any = [{"role": "user", "content": "Now."}]
            assert client.with_options(max_retries=5).chat.completions.create(model="haiku", messages=quick).choices


class TestPlainHttp:
    ELSEWHERE = {"x_forwarded_for": "203.0.113.9"}  # noqa: RUF012 - never changed

    def test_it_is_for_programs_on_this_machine(self, start_gateway: Any) -> None:
        with start_gateway(trusted_proxies="127.0.0.1") as gateway:
            authorization = f"Bearer {gateway.key()}"
            plain, sealed = Raw(gateway.http_url), Raw(gateway.https_url, gateway.tls())
            assert plain("GET", "/v1/models", authorization=authorization)[0] == 200
            status, _, told = plain("GET", "/v1/models", authorization=authorization, **self.ELSEWHERE)
            assert (status, told["error"]["type"], told["error"]["code"]) == (403, "permission_error", "https_required")
            assert gateway.https_url in told["error"]["message"]
            assert plain("GET", "/v1/health", **self.ELSEWHERE)[0] == 200
            assert sealed("GET", "/v1/models", authorization=authorization, **self.ELSEWHERE)[0] == 200
            plain.close()
            sealed.close()

    def test_the_operator_may_switch_it_off(self, start_gateway: Any) -> None:
        with start_gateway(plain_http="off") as gateway, gateway.client(gateway.key()) as client:
            with pytest.raises(openai.PermissionDeniedError) as raised:
                client.models.list()
            assert raised.value.code == "https_required"
            raw = Raw(gateway.http_url)
            assert raw("GET", "/v1/health")[0] == 200
            raw.close()

    def test_the_operator_may_allow_it(self, start_gateway: Any) -> None:
        with start_gateway(plain_http="allow", trusted_proxies="127.0.0.1") as gateway:
            raw = Raw(gateway.http_url)
            assert raw("GET", "/v1/models", authorization=f"Bearer {gateway.key()}", **self.ELSEWHERE)[0] == 200
            raw.close()


@pytest.mark.policy("N3")
@pytest.mark.parametrize("scheme", [HTTP, HTTPS])
def test_every_answer_bears_the_security_headers(gateway: Gateway, key: str, scheme: str) -> None:
    raw = Raw(gateway.http_url) if scheme == HTTP else Raw(gateway.https_url, gateway.tls())
    answers = [
        raw("GET", "/v1/health"),
        raw("GET", "/v1/models", authorization=f"Bearer {key}"),
        raw("POST", CHAT, b"{}", authorization=f"Bearer {key}"),
        raw("POST", CHAT, b"{}"),
        raw("GET", "/nothing"),
        raw("DELETE", CHAT),
    ]
    raw.close()
    assert [status for status, _, _ in answers] == [200, 200, 400, 401, 404, 405]
    for _, headers, _ in answers:
        assert headers["x-frame-options"] == "DENY"
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["x-xss-protection"] == "1; mode=block"
        assert headers["referrer-policy"] == "strict-origin-when-cross-origin"
        assert "unsafe-inline" not in headers["content-security-policy"]
        assert ("strict-transport-security" in headers) == (scheme == HTTPS)
        assert headers["x-request-id"]


@pytest.mark.policy("V1")
@pytest.mark.parametrize(
    "body",
    [
        {}, {"messages": None}, {"messages": "Hello"}, {"messages": {}}, {"messages": 1}, {"messages": []},
        {"messages": ["Hello"]}, {"messages": [[]]}, {"messages": [None]}, {"messages": [{}]},
        {"messages": [{"role": "user"}]}, {"messages": [{"content": "x"}]}, {"messages": [{"role": 1, "content": "x"}]},
        {"messages": [{"role": "user", "content": 1}]}, {"messages": [{"role": "user", "content": [{"text": "x"}]}]},
        {"messages": [{"role": "user", "content": [{"type": "text"}]}]}, [], "text", 1, None,
    ],
    ids=json.dumps,
)  # fmt: skip
def test_messages_that_are_missing_or_wrong_are_told_as_such(raw: Raw, key: str, body: Any) -> None:
    given = {"model": "haiku"} | body if isinstance(body, dict) else body
    status, _, told = raw("POST", CHAT, json.dumps(given).encode(), authorization=f"Bearer {key}")
    error = told["error"]
    assert (status, error["type"], error["code"]) == (400, "invalid_request_error", "invalid_messages")
    assert error["message"].startswith("Invalid request format")
    assert error["param"].startswith("messages")


# --- nothing that is sent is a fault of ours ------------------------------------------------------------------

many = settings(
    max_examples=300 * TIMES,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
few = settings(many, max_examples=100 * TIMES)

FIELDS = (
    "messages", "max_tokens", "max_completion_tokens", "temperature", "top_p", "stop", "stream", "stream_options",
    "user", "metadata", "n", "tools", "tool_choice", "response_format", "logit_bias", "seed", "store", "functions",
    "audio", "new",
)  # fmt: skip
HEADERS = ("authorization", "x_api_key", "content_type", "x_request_id", "x_forwarded_for", "origin", "cookie")
PATHS = (
    "/", "/v1/models", "/v1/models/a%00b", CHAT, "/v1/../x", "/v1/chat/completions/", "/admin", "//", "/%",
)  # fmt: skip
# No model has such a name, so that even a request which is right in everything else asks nothing of Claude Code.
NO_MODEL = "no-model-of-ours"

values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.integers(-3, 3) | st.floats(0, 2) | st.text(max_size=20)
    | st.sampled_from(["user", "assistant", "system", "text", "image_url", "data:image/png;base64,AAAA"]),
    lambda inner: st.lists(inner, max_size=4)
    | st.dictionaries(
        st.sampled_from(["role", "content", "type", "text", "image_url", "url", "tool_calls", "refusal"])
        | st.text(max_size=5),
        inner, max_size=4,
    ),
    max_leaves=12,
)  # fmt: skip
said = st.fixed_dictionaries(
    {"role": st.sampled_from(["user", "assistant", "system", "developer", "tool", "function"]), "content": values},
    optional={"name": values, "tool_calls": values, "refusal": values},
)
requests = st.fixed_dictionaries(
    {"messages": st.lists(said | values, max_size=4) | values}, optional=dict.fromkeys(FIELDS[1:], values)
)


def is_told(status: int, headers: dict[str, str], told: Any) -> None:
    """An error of the client's, in the shape and with the headers of every error."""
    assert 400 <= status < 500
    assert headers["content-type"] == "application/json"
    assert headers["x-request-id"]
    assert set(told) == {"error"}
    assert set(told["error"]) == {"message", "type", "param", "code"}
    assert told["error"]["message"]
    assert told["error"]["type"] == "invalid_request_error"


@pytest.fixture(scope="module")
def models_are_known(gateway: Gateway, key: str) -> None:
    """From now on an unknown name is told as such without a process."""
    with gateway.client(key) as client:
        client.models.list()


@pytest.mark.fuzz
@pytest.mark.policy("V2")
class TestAnyInput:
    @pytest.fixture(autouse=True)
    def _claude_is_asked_nothing(self, models_are_known: None, stand_in: StandIn) -> Iterator[None]:
        yield
        assert stand_in.requests == []

    @many
    @given(requests)
    @example({"messages": [{"role": "user", "content": "Hello"}]})
    @example({"messages": [{"role": "user", "content": "Hello"}], "max_tokens": 10**400})
    @example({"messages": [{"role": "user", "content": "\x00\ud800"}], "temperature": float("nan")})
    def test_no_request_is_a_fault_of_ours(self, raw: Raw, key: str, request: Any) -> None:
        body = json.dumps(request | {"model": NO_MODEL}).encode("utf-8", "surrogatepass")
        is_told(*raw("POST", CHAT, body, authorization=f"Bearer {key}"))

    @few
    @given(values)
    def test_no_model_is_one(self, raw: Raw, key: str, model: Any) -> None:
        name = f"{NO_MODEL} {model}" if isinstance(model, str) else model
        body = json.dumps({"model": name, "messages": [{"role": "user", "content": "x"}]}).encode()
        is_told(*raw("POST", CHAT, body, authorization=f"Bearer {key}"))

    @few
    @given(st.binary(max_size=200), st.sampled_from(["", "gzip", "deflate", "br", "gzip, gzip", "\x7f"]))
    @example(b"[" * 100_000, "")
    @example(b'{"messages":' * 1000, "")
    @example(b"\xff\xfe{\0}\0", "")
    @example(b'{"messages": [{"role": "user", "content": "\\ud800"}], "model": "no-model-of-ours"}', "")
    def test_no_body_is_one(self, raw: Raw, key: str, body: bytes, encoding: str) -> None:
        is_told(*raw("POST", CHAT, body, authorization=f"Bearer {key}", content_encoding=encoding))

    @few
    @given(
        st.sampled_from(HEADERS),
        st.text(st.characters(min_codepoint=0x20, max_codepoint=0xFF, exclude_characters="\x7f"), max_size=60),
        st.sampled_from(PATHS),
        st.sampled_from(["GET", "POST", "PUT", "DELETE", "HEAD", "OPTIONS", "PATCH", "TRACE"]),
    )
    def test_no_header_path_or_method_is_one(self, raw: Raw, name: str, value: str, path: str, method: str) -> None:
        status, headers, _ = raw(method, path, **{name: value})
        assert status < 500
        assert headers["x-request-id"]
        assert headers["x-content-type-options"] == "nosniff"
