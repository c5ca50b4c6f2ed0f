"""What every route has in common: headers, errors, keys, limits on clients, plain HTTP."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
import structlog
from surface_server import CHAT, KEY, OTHER_KEY, ScriptedGateway, chat_body, request

from claude_code_api.settings import Settings
from claude_code_api.surface import App

API = {"default-src 'none'; frame-ancestors 'none'"}
HEALTH = [prefix + path for prefix in ("", "/v1") for path in ("/health", "/health/live", "/health/ready")]
ROUTES = [
    ("GET", "/v1/models", 200),
    ("HEAD", "/v1/models", 200),
    ("GET", "/v1/models/sonnet", 200),
    ("GET", "/v1/models/nothing", 404),
    ("GET", "/v1/models/crash", 500),
    ("GET", "/v1/models/", 404),
    ("POST", CHAT, 200),
    ("GET", CHAT, 405),
    ("POST", "/v1/models", 405),
    ("OPTIONS", CHAT, 405),
    ("DELETE", "/nowhere", 404),
    ("GET", "/v1/%2e%2e/etc/passwd", 404),
    *(("GET", path, 200) for path in HEALTH),
    ("HEAD", "/health", 200),
    ("POST", "/health", 405),
]
ADMIN = [
    ("GET", "/"),
    ("HEAD", "/admin"),
    ("GET", "/admin/login"),
    ("GET", "/auth"),
    ("GET", "/metrics"),
    ("HEAD", "/metrics"),
]


async def ask(
    path: str = "/v1/models",
    *,
    method: str = "GET",
    gateway: ScriptedGateway | None = None,
    app: Any = None,
    client: tuple[str, int] | None = ("203.0.113.9", 4711),
    scheme: str = "http",
    headers: dict[str, str] | None = None,
    **given: Any,
) -> tuple[int, dict[str, str], bytes]:
    """One request without a socket, from any address."""
    settings = Settings(**{"rate_limit_per_ip": "off", **given})
    fields = {"host": "gateway.test:8000", "authorization": f"Bearer {KEY}", **(headers or {})}
    scope = {
        "type": "http",
        "method": method,
        "path": path,
        "raw_path": path.encode(),
        "query_string": b"a=b",
        "scheme": scheme,
        "client": client,
        "headers": [(name.encode(), value.encode()) for name, value in fields.items() if value],
    }
    sent: list[Any] = []

    async def receive() -> Any:
        return {"type": "http.request", "body": chat_body(), "more_body": False}

    async def send(message: Any) -> None:
        sent.append(message)

    await (app or App(settings, gateway or ScriptedGateway()))(scope, receive, send)
    answered = {name.decode(): value.decode() for name, value in sent[0]["headers"]}
    return sent[0]["status"], answered, b"".join(message["body"] for message in sent[1:])


def error_of(body: bytes) -> dict[str, Any]:
    error: dict[str, Any] = json.loads(body)["error"]
    assert set(error) == {"message", "type", "param", "code"}
    return error


# --- headers --------------------------------------------------------------------------------------------


@pytest.mark.policy("N3")
@pytest.mark.parametrize("tls", [False, True], ids=["http", "https"])
async def test_every_answer_bears_the_security_headers(serve, tls):
    served = serve()
    for method, path, status in [*ROUTES, *((m, p, 404 if tls else 308) for m, p in ADMIN)]:
        body = chat_body() if path == CHAT and method == "POST" else b""
        answer = await served.exchange(request(method, path, body, authorization=f"Bearer {KEY}"), tls=tls)
        where = (method, path)
        assert (answer.status, where) == (status, where)
        assert answer.headers["x-frame-options"] == "DENY", where
        assert answer.headers["x-content-type-options"] == "nosniff", where
        assert answer.headers["x-xss-protection"] == "1; mode=block", where
        assert answer.headers["referrer-policy"] == "strict-origin-when-cross-origin", where
        assert answer.headers["content-security-policy"] == "default-src 'none'; frame-ancestors 'none'", where
        assert answer.headers["cache-control"] == "no-store", where
        assert answer.headers.get("strict-transport-security") == ("max-age=31536000" if tls else None), where
        assert answer.headers["x-request-id"].startswith("req_"), where
        assert "server" not in answer.headers, where
        assert "date" in answer.headers, where
        if method == "HEAD" or status == 308:
            assert answer.body == b"", where
        elif status >= 400:
            assert set(answer.error) == {"message", "type", "param", "code"}, where


async def test_request_ids_are_never_the_same():
    ids = {(await ask("/health"))[1]["x-request-id"] for _ in range(50)}
    assert len(ids) == 50


async def test_a_wrong_method_is_told_which_ones_are_right():
    assert (await ask("/health", method="PUT"))[1]["allow"] == "GET, HEAD"
    assert (await ask(CHAT, scheme="https"))[1]["allow"] == "POST"


# --- health ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", HEALTH)
async def test_health_needs_no_key_and_no_encryption_and_tells_nothing(path):
    status, _, body = await ask(path, headers={"authorization": ""}, plain_http="off")
    assert (status, body) == (200, b'{"status":"ok"}')


@pytest.mark.parametrize("path", HEALTH)
async def test_only_readiness_tells_that_the_gateway_is_not_ready(path):
    gateway = ScriptedGateway()
    gateway.is_ready = False
    status, headers, body = await ask(path, gateway=gateway)
    if path.endswith("/ready"):
        assert (status, error_of(body)["code"], headers["retry-after"]) == (503, "not_ready", "1")
    else:
        assert status == 200


# --- keys -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"authorization": f"Bearer {KEY}"}, 200),
        ({"authorization": f"bearer  {KEY} "}, 200),
        ({"authorization": "", "x-api-key": KEY}, 200),
        ({"authorization": f"Bearer {KEY}", "x-api-key": KEY}, 200),
        ({"authorization": f"Bearer {KEY}", "x-api-key": OTHER_KEY}, 401),
        ({"authorization": ""}, 401),
        ({"authorization": "Bearer"}, 401),
        ({"authorization": f"Basic {KEY}"}, 401),
        ({"authorization": f"Bearer {KEY} {KEY}"}, 401),
        ({"authorization": "Bearer kéy"}, 401),
        ({"authorization": "Bearer sk-unknown"}, 401),
        ({"authorization": "", "x-api-key": " "}, 401),
    ],
)
async def test_a_key_comes_as_bearer_token_or_x_api_key(headers, status):
    answered, fields, body = await ask(headers=headers, scheme="https")
    assert answered == status
    if status == 401:
        assert error_of(body)["code"] == "invalid_api_key"
        assert fields["www-authenticate"] == "Bearer"
        assert KEY not in body.decode()


@pytest.mark.parametrize(
    ("given", "status"),
    [
        ("application/json", 200),
        ("application/json; charset=utf-8", 200),
        ("application/vnd.api+json", 200),
        ("", 200),
        ("text/plain", 415),
        ("application/x-www-form-urlencoded", 415),
        ("application/jsonp", 415),
    ],
)
async def test_a_body_must_be_json_where_it_says_what_it_is(given, status):
    assert (await ask(CHAT, method="POST", scheme="https", headers={"content-type": given}))[0] == status


# --- rate limits ----------------------------------------------------------------------------------------


@pytest.mark.policy("N4")
async def test_an_address_gets_a_hundred_requests_a_minute_by_default():
    app = App(Settings(), ScriptedGateway())
    for count in range(1, 101):
        status, headers, _ = await ask(app=app, scheme="https")
        assert status == 200
        assert headers["x-ratelimit-limit"] == headers["x-ratelimit-limit-requests"] == "100"
        assert headers["x-ratelimit-remaining"] == headers["x-ratelimit-remaining-requests"] == str(100 - count)
        assert 0 < int(headers["x-ratelimit-reset"]) <= 60
    status, headers, body = await ask(app=app, scheme="https")
    assert (status, error_of(body)["type"], error_of(body)["code"]) == (429, "rate_limit_error", "rate_limit_exceeded")
    assert headers["retry-after"] == headers["x-ratelimit-reset"]
    assert headers["x-ratelimit-remaining"] == "0"
    assert (await ask(app=app, client=("203.0.113.10", 1), scheme="https"))[0] == 200


@pytest.mark.policy("N4")
async def test_ipv6_is_counted_by_its_64_and_mapped_ipv4_as_ipv4():
    for one, other, same in [
        ("2001:db8:1:2::1", "2001:db8:1:2:ffff::9", True),
        ("2001:db8:1:2::1", "2001:db8:1:3::1", False),
        ("::ffff:203.0.113.9", "203.0.113.9", True),
        ("::ffff:203.0.113.9", "::ffff:203.0.113.10", False),
    ]:
        app = App(Settings(rate_limit_per_ip="1/minute"), ScriptedGateway())
        assert (await ask(app=app, client=(one, 1), scheme="https"))[0] == 200
        assert (await ask(app=app, client=(other, 1), scheme="https"))[0] == (429 if same else 200)


async def test_refusals_count_and_bear_the_headers_too():
    app = App(Settings(rate_limit_per_ip="3/minute"), ScriptedGateway())
    statuses = []
    for path, headers in [("/v1/models", {"authorization": ""}), ("/nowhere", {}), ("/", {}), ("/v1/models", {})]:
        status, fields, _ = await ask(path, app=app, headers=headers)
        statuses.append(status)
        assert fields["x-ratelimit-limit"] == "3"
    assert statuses == [403, 403, 308, 429]


async def test_health_counts_against_no_limit_but_shows_it():
    app = App(Settings(rate_limit_per_ip="2/minute"), ScriptedGateway())
    for _ in range(5):
        status, headers, _ = await ask("/health", app=app)
        assert (status, headers["x-ratelimit-remaining"]) == (200, "2")


async def test_without_a_limit_no_header_speaks_of_one():
    assert not [name for name in (await ask(scheme="https"))[1] if "ratelimit" in name]


async def test_of_several_windows_the_tightest_is_shown():
    app = App(Settings(rate_limit_per_ip="5/day;2/hour"), ScriptedGateway())
    _, headers, _ = await ask(app=app, scheme="https")
    assert (headers["x-ratelimit-limit"], headers["x-ratelimit-remaining"]) == ("2", "1")
    assert headers["x-ratelimit-reset-requests"] in ("1h0m0s", "59m59s")
    await ask(app=app, scheme="https")
    status, headers, _ = await ask(app=app, scheme="https")
    assert (status, headers["x-ratelimit-limit"]) == (429, "2")


@pytest.mark.policy("N4")
async def test_a_key_has_a_limit_of_its_own():
    gateway = ScriptedGateway()
    gateway.rate_limits[OTHER_KEY] = "3/minute"
    app = App(Settings(rate_limit_per_ip="50/minute", rate_limit_per_key="1/minute"), gateway)
    other = {"authorization": f"Bearer {OTHER_KEY}"}
    assert [(await ask(app=app, scheme="https"))[0] for _ in range(2)] == [200, 429]
    seen = [await ask(app=app, scheme="https", headers=other) for _ in range(4)]
    assert [status for status, _, _ in seen] == [200, 200, 200, 429]
    assert [headers["x-ratelimit-remaining"] for _, headers, _ in seen] == ["2", "1", "0", "0"]
    assert len(gateway.limited) == 2


async def test_a_key_may_be_free_of_the_limit_for_keys():
    gateway = ScriptedGateway()
    gateway.rate_limits[KEY] = "off"
    app = App(Settings(rate_limit_per_ip="9/minute", rate_limit_per_key="1/minute"), gateway)
    seen = [await ask(app=app, scheme="https") for _ in range(3)]
    assert [headers["x-ratelimit-limit"] for _, headers, _ in seen] == ["9"] * 3


@pytest.mark.policy("N4")
@pytest.mark.parametrize(
    ("trusted", "forwarded", "counted"),
    [
        ((), "198.51.100.1", "203.0.113.0/24"),
        (("203.0.113.9",), "198.51.100.1", "198.51.100.0/24"),
        (("203.0.113.9",), "192.0.2.1, 198.51.100.1:4711", "198.51.100.0/24"),
        (("203.0.113.0/24",), "198.51.100.1, 203.0.113.7", "198.51.100.0/24"),
        (("203.0.113.0/24",), "203.0.113.7, 203.0.113.8", "203.0.113.0/24"),
        (("203.0.113.0/24",), "nonsense", "203.0.113.0/24"),
        (("203.0.113.0/24",), "", "203.0.113.0/24"),
        (("203.0.113.9",), "[2001:db8:9::1]:99", "2001:db8:9::/48"),
        (("192.0.2.0/24",), "198.51.100.1", "203.0.113.0/24"),
    ],
)
async def test_forwarded_addresses_count_only_from_trusted_proxies(trusted, forwarded, counted):
    with structlog.testing.capture_logs() as logs:
        await ask("/health", headers={"x-forwarded-for": forwarded}, trusted_proxies=trusted)
    assert logs[0]["client"] == counted


async def test_a_peer_without_an_address_is_counted_too():
    app = App(Settings(rate_limit_per_ip="1/minute"), ScriptedGateway())
    assert [(await ask(app=app, client=None, scheme="https"))[0] for _ in range(2)] == [200, 429]


# --- plain HTTP -----------------------------------------------------------------------------------------

LOCAL = ("127.0.0.1", 1)
LOCAL_6 = ("::1", 1)
REMOTE = ("203.0.113.9", 1)


@pytest.mark.parametrize(
    ("plain_http", "client", "allowed"),
    [
        ("loopback", LOCAL, True),
        ("loopback", LOCAL_6, True),
        ("loopback", ("::ffff:127.0.0.1", 1), True),
        ("loopback", REMOTE, False),
        ("loopback", None, False),
        ("allow", REMOTE, True),
        ("off", LOCAL, False),
    ],
)
async def test_plain_http_is_answered_as_the_setting_says(plain_http, client, allowed):
    status, _, body = await ask(client=client, plain_http=plain_http)
    assert status == (200 if allowed else 403)
    if not allowed:
        error = error_of(body)
        assert (error["type"], error["code"]) == ("permission_error", "https_required")
        assert "https://127.0.0.1:8443" in error["message"]
        assert "plain_http" in error["message"]


@pytest.mark.parametrize(
    ("trusted", "protocol", "status"),
    [
        (("127.0.0.1",), "https", 200),
        (("127.0.0.1",), "http, HTTPS", 200),
        (("127.0.0.1",), "https, http", 403),
        (("127.0.0.1",), "", 403),
        ((), "https", 200),  # an unknown peer on this machine
    ],
)
async def test_behind_a_trusted_proxy_the_clients_own_encryption_counts(trusted, protocol, status):
    headers = {"x-forwarded-for": "198.51.100.1", "x-forwarded-proto": protocol}
    answered, fields, _ = await ask(client=LOCAL, headers=headers, trusted_proxies=trusted)
    assert answered == status
    assert ("strict-transport-security" in fields) == (bool(trusted) and status == 200)


async def test_a_remote_client_cannot_claim_encryption():
    assert (await ask(client=REMOTE, headers={"x-forwarded-proto": "https"}))[0] == 403


@pytest.mark.policy("A1")
@pytest.mark.parametrize("client", [LOCAL, REMOTE])
@pytest.mark.parametrize("plain_http", ["loopback", "allow", "off"])
@pytest.mark.parametrize("path", ["/", "/auth", "/auth/x", "/admin", "/admin/login", "/admin/api/v1/keys"])
async def test_the_web_interface_is_redirected_to_https_or_refused(client, plain_http, path):
    for method in ("GET", "HEAD"):
        status, headers, body = await ask(path, method=method, client=client, plain_http=plain_http)
        assert (status, body) == (308, b"")
        assert headers["location"] == f"https://127.0.0.1:8443{path}?a=b"
        assert "set-cookie" not in headers
    for method in ("POST", "DELETE", "OPTIONS"):
        status, headers, body = await ask(path, method=method, client=client, plain_http=plain_http)
        assert (status, error_of(body)["code"]) == (403, "https_required")
    assert (await ask(path, scheme="https"))[0] == 404


async def test_similar_paths_are_not_the_web_interface():
    assert (await ask("/administrator", client=LOCAL))[0] == 404


# --- CORS -----------------------------------------------------------------------------------------------

PREFLIGHT = {
    "origin": "https://app.test",
    "access-control-request-method": "POST",
    "access-control-request-headers": "authorization, content-type",
    "authorization": "",
}


async def test_pages_of_configured_origins_may_call():
    given = {"cors_origins": ("https://app.test/",), "scheme": "https"}
    status, headers, body = await ask(CHAT, method="OPTIONS", headers=PREFLIGHT, **given)
    assert (status, body) == (204, b"")
    assert headers["access-control-allow-origin"] == "https://app.test"
    assert headers["access-control-allow-headers"] == "authorization, content-type"
    assert "POST" in headers["access-control-allow-methods"]
    assert "content-type" not in headers
    _, headers, _ = await ask(headers={"origin": "https://app.test"}, **given)
    assert headers["access-control-allow-origin"] == "https://app.test"
    assert "x-request-id" in headers["access-control-expose-headers"]
    assert headers["vary"] == "origin"


@pytest.mark.parametrize("origins", [(), ("https://app.test",)])
async def test_other_pages_may_not(origins):
    given = {"cors_origins": origins, "scheme": "https"}
    status, headers, _ = await ask(CHAT, method="OPTIONS", headers=PREFLIGHT | {"origin": "https://evil.test"}, **given)
    assert status == 405
    assert not [name for name in headers if name.startswith("access-control")]
    assert ("vary" in headers) == bool(origins)


async def test_a_preflight_is_no_way_to_inject_headers():
    wanted = PREFLIGHT | {"access-control-request-headers": "x;y"}
    _, headers, _ = await ask(
        CHAT, method="OPTIONS", headers=wanted, cors_origins=("https://app.test",), scheme="https"
    )
    assert headers["access-control-allow-headers"] == "authorization"


async def test_options_without_a_request_method_is_no_preflight():
    headers = {"origin": "https://app.test"}
    given = {"cors_origins": ("https://app.test",), "scheme": "https"}
    assert (await ask(CHAT, method="OPTIONS", headers=headers, **given))[0] == 405


# --- the log --------------------------------------------------------------------------------------------


@pytest.mark.policy("L2")
async def test_a_fault_of_ours_shows_where_but_not_what():
    with structlog.testing.capture_logs() as logs:
        status, headers, body = await ask("/v1/models/crash", scheme="https")
    assert (status, error_of(body)["code"]) == (500, "internal_error")
    assert headers["x-request-id"] in error_of(body)["message"]
    assert "a secret of the client's" not in str(logs) + body.decode()
    assert "ValueError" in logs[0]["fault"]


@pytest.mark.policy("L3")
async def test_only_a_sane_request_id_of_the_clients_is_logged():
    with structlog.testing.capture_logs() as logs:
        await ask("/health", headers={"x-client-request-id": 'x" status=200'})
        await ask("/health", headers={"x-client-request-id": "abc-1"})
    assert [line.get("client_request_id") for line in logs] == [None, "abc-1"]


async def test_a_cancellation_that_nobody_explains_ends_the_request_silently():
    class Cancelled(ScriptedGateway):
        async def models(self, key: Any) -> Any:
            raise asyncio.CancelledError

    with structlog.testing.capture_logs() as logs, pytest.raises(IndexError):
        await ask(gateway=Cancelled(), scheme="https")
    assert logs[0]["status"] == 499
