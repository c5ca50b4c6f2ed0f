"""Signing in over HTTPS: the cookies, the token against forgery, and what other sites cannot do."""

from __future__ import annotations

from collections.abc import Callable

import httpx2
import pytest
from browsing import API, PASSWORD, sign_in
from gateways import StartGateway

from claude_code_api.secret import Secret

Browser = Callable[..., httpx2.Client]


def code_of(answer: httpx2.Response) -> str:
    return str(answer.json()["error"]["code"])


@pytest.mark.policy("A2", "A4")
def test_the_session_is_a_cookie_that_scripts_and_other_sites_never_see(browser: Browser) -> None:
    answer = sign_in(browser())
    assert answer.status_code == 201
    session, device = sorted(answer.headers.get_list("set-cookie"), reverse=True)
    for cookie, name in ((session, "__Host-session"), (device, "__Host-device")):
        value, *attributes = cookie.split("; ")
        assert value.startswith(f"{name}=")
        assert {"Path=/", "Secure", "HttpOnly", "SameSite=Strict"} <= set(attributes)
        assert not [each for each in attributes if each.startswith("Domain")]
    assert 0 < int(session.rpartition("Max-Age=")[2]) <= 86_400
    assert answer.json()["name"] == "admin"
    assert answer.headers["cache-control"] == "no-store"


@pytest.mark.policy("A2")
def test_every_sign_in_gives_another_session_and_ends_the_one_before(browser: Browser) -> None:
    client = browser()
    client.headers["cookie"] = "__Host-session=chosen-by-somebody-else"
    sign_in(client)
    first = client.cookies["__Host-session"]
    assert first != "chosen-by-somebody-else"
    del client.headers["cookie"]
    sign_in(client)
    assert client.cookies["__Host-session"] != first
    assert browser(cookie=f"__Host-session={first}").get(f"{API}/session").status_code == 401


@pytest.mark.policy("A2")
def test_signed_out_the_cookie_is_good_for_nothing(browser: Browser, owner: httpx2.Client) -> None:
    kept = owner.cookies["__Host-session"]
    answer = owner.delete(f"{API}/session")
    assert answer.status_code == 204
    assert "Max-Age=0" in answer.headers["set-cookie"]
    replayed = browser(cookie=f"__Host-session={kept}").get(f"{API}/session")
    assert (replayed.status_code, code_of(replayed)) == (401, "invalid_session")


def test_a_wrong_password_and_an_unknown_name_are_answered_alike(browser: Browser) -> None:
    client = browser()
    wrong, unknown = sign_in(client, "wrong"), sign_in(client, username="nobody")
    for answer in (wrong, unknown):
        assert (answer.status_code, code_of(answer)) == (401, "invalid_login")
        assert "set-cookie" not in answer.headers
    assert wrong.json() == unknown.json()


@pytest.mark.parametrize(
    "headers",
    [{"origin": "https://evil.example"}, {"origin": "null"}, {"sec-fetch-site": "cross-site"},
     {"sec-fetch-site": "same-site"}],
)  # fmt: skip
def test_no_other_site_signs_anybody_in_or_changes_anything(
    browser: Browser, owner: httpx2.Client, headers: dict[str, str]
) -> None:
    refused = sign_in(browser(**headers))
    assert (refused.status_code, code_of(refused)) == (403, "wrong_origin")
    changed = owner.post(f"{API}/keys", json={"name": "x", "credential": "y"}, headers=headers)
    assert (changed.status_code, code_of(changed)) == (403, "wrong_origin")


def test_a_script_that_says_no_origin_may_sign_in_but_not_change_anything_by_the_cookie(
    browser: Browser, owner: httpx2.Client
) -> None:
    plain = browser()
    del plain.headers["origin"]
    assert sign_in(plain).status_code == 201
    del owner.headers["origin"]
    assert code_of(owner.post(f"{API}/keys", json={})) == "wrong_origin"


@pytest.mark.parametrize("token", [None, "", "0" * 64])
def test_a_change_needs_the_token_of_its_session(owner: httpx2.Client, token: str | None) -> None:
    del owner.headers["x-csrf-token"]
    headers = {} if token is None else {"x-csrf-token": token}
    refused = owner.post(f"{API}/keys", json={"name": "x", "credential": "y"}, headers=headers)
    assert (refused.status_code, code_of(refused)) == (403, "wrong_csrf_token")


def test_the_token_of_another_session_is_none(browser: Browser, owner: httpx2.Client) -> None:
    other = browser()
    token = sign_in(other).json()["csrf_token"]
    refused = owner.post(f"{API}/keys", json={"name": "x", "credential": "y"}, headers={"x-csrf-token": token})
    assert code_of(refused) == "wrong_csrf_token"


@pytest.mark.parametrize("path", ["/", "/auth"])
def test_the_entrances_lead_to_the_pages(browser: Browser, path: str) -> None:
    answer = browser().get(path)
    assert (answer.status_code, answer.headers["location"]) == (303, "/admin")


def test_the_address_limit_of_others_shuts_out_neither_a_session_nor_a_known_device(
    start_gateway: StartGateway, stand_in: object
) -> None:
    with start_gateway(rate_limit_per_ip="5/minute", admin_password=Secret(PASSWORD)) as gateway:

        def client() -> httpx2.Client:
            return httpx2.Client(
                base_url=gateway.https_url, verify=gateway.tls(), headers={"origin": gateway.https_url}
            )

        with client() as mine, client() as known, client() as stranger:
            sign_in(mine)
            sign_in(known)
            del known.cookies["__Host-session"]
            while stranger.get(f"{API}/session").status_code != 429:
                pass
            assert mine.get(f"{API}/session").status_code == 200
            assert sign_in(known).status_code == 201
