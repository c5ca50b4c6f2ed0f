"""Whatever a `Host` field or a target says, nobody is redirected to where an attacker wants it."""

from __future__ import annotations

from urllib.parse import urlsplit

import pytest
from surface_server import KEY, RawAnswer, request

EVIL = (
    "evil.example", "evil.example:8443", "127.0.0.1@evil.example", "127.0.0.1:8443@evil.example", "a:b@evil.example",
    "localhost.evil.example", "evil.example#localhost", "evil.example/localhost", "localhost/@evil.example",
    "evil.example\\localhost", "\\\\evil.example", "//evil.example", "localhost,evil.example", "localhost evil.example",
    "localhost\tevil.example", "[::1%25eth0]", "[::1%eth0@evil.example]", "[::1]evil.example", "[::1", "[evil.example]",
    "[", "::1", "0x7f000001", "2130706433", "localhost%0d%0aset-cookie:%20a=b", "localhost%00", "%2e%2e", "*", ".", "",
    "'; DROP TABLE api_keys; --", "${jndi:ldap://evil.example}", "<script>", "lócalhost", "localhost\x85evil.example",
    "x" * 50_000, "*.localhost", "localhost:99999999", "localhost:-1", "localhost:@evil.example", "LOCALHOST",
)  # fmt: skip
TARGETS = (
    "/admin//evil.example", "/admin/@evil.example", "/admin/%0d%0aset-cookie:%20a=b", "/admin/\\evil.example",
    "/admin?next=//evil.example", "/admin/?\\\\evil.example#x", "http://evil.example/admin",
    "https://127.0.0.1:8443@evil.example/admin", "http://evil.example:80/auth/x",
)  # fmt: skip


def assert_stays_here(answer: RawAnswer, https_url: str, names: tuple[str, ...]) -> None:
    assert answer.status in (308, 400, 404)
    assert "set-cookie" not in answer.headers
    if answer.status == 308:
        there = urlsplit(answer.headers["location"])
        assert (there.scheme, there.port, there.username) == ("https", urlsplit(https_url).port, None)
        assert there.hostname in names
        assert "\\" not in there.netloc


@pytest.mark.policy("A1")
@pytest.mark.policy("V2")
@pytest.mark.parametrize("target", ["/", "/admin/login?a=b", "/auth", *TARGETS])
async def test_a_redirect_leads_to_a_name_of_the_certificate_whatever_the_request_says(serve, target):
    served = serve()
    assert served.server.certificate
    for host in EVIL if target == "/" else EVIL[:8]:
        answer = await served.exchange(request(path=target, host=host))
        assert_stays_here(answer, served.https, served.server.certificate.names)


@pytest.mark.policy("V2")
async def test_a_host_that_is_made_up_changes_no_answer_and_stands_in_none(serve):
    served = serve()
    for host in EVIL:
        for path in ("/health", "/v1/models", "/docs", "/nowhere"):
            answer = await served.exchange(request(path=path, host=host, authorization=f"Bearer {KEY}"))
            assert answer.status == (404 if path == "/nowhere" else 200)
            assert "location" not in answer.headers
            assert b"evil.example" not in answer.body
