"""The pages as a browser without scripts has them: forms, what they answer, and who may see what."""

from __future__ import annotations

import html
import re
from collections.abc import Callable
from urllib.parse import urlencode

import httpx2
import pytest
from browsing import PASSWORD
from gateways import Gateway
from reading import Reader, shown

from claude_code_api.admin.pages.rendering import assets
from claude_code_api.stand_in import oauth_token

Browser = Callable[..., httpx2.Client]


@pytest.fixture(scope="module")
def credential(gateway: Gateway) -> str:
    gateway.key("pages")
    return gateway.access(lambda access: access.credentials.get("pages")).id


# --- signing in -------------------------------------------------------------------------------------------


def test_whoever_is_not_signed_in_signs_in_and_comes_back_to_where_he_was(browser: Browser) -> None:
    reader = Reader(browser())
    answer = reader.client.get("/admin/keys?state=live")
    assert (answer.status_code, answer.headers["location"]) == (303, "/admin/login?next=/admin/keys%3Fstate%3Dlive")
    reader.go(answer.headers["location"])
    assert 'name="next" value="/admin/keys?state=live"' in reader.page.text
    answer = reader.send("/admin/login", username="admin", password=PASSWORD, next="/admin/keys?state=live")
    assert str(answer.url).endswith("/admin/keys?state=live")
    assert "API keys" in shown(answer)


@pytest.mark.parametrize(
    "address",
    ["//evil.example", "https://evil.example/admin", "/admin\\evil", "/admin//evil", "/other", "/admin/keys\r\nx: y"],
)
def test_nobody_is_sent_to_another_site(browser: Browser, address: str) -> None:
    reader = Reader(browser())
    assert 'name="next"' not in reader.go(f"/admin/login?{urlencode({'next': address})}").text
    answer = reader.client.post("/admin/login", data={"username": "admin", "password": PASSWORD, "next": address})
    assert (answer.status_code, answer.headers["location"]) == (303, "/admin")


def test_a_wrong_password_is_told_at_the_field_and_not_written_back(browser: Browser) -> None:
    reader = Reader(browser())
    answer = reader.sign_in(password="not the password at all")
    assert answer.status_code == 401
    assert "You are not signed in" in shown(answer)
    assert 'aria-invalid="true"' in answer.text
    assert "not the password at all" not in answer.text
    assert answer.text.replace("nobody", "admin") == Reader(browser()).sign_in("nobody", "x" * 20).text.replace(
        "nobody", "admin"
    )


def test_a_link_on_another_site_asks_for_the_page_again(browser: Browser) -> None:
    """Browsers bring no session along from there; our own page asks with it."""
    answer = browser(**{"sec-fetch-site": "cross-site"}).get("/admin/keys")
    assert answer.status_code == 200
    assert '<meta http-equiv="refresh" content="0">' in answer.text


def test_signing_out_ends_the_session(reader: Reader) -> None:
    reader.go("/admin/keys")
    assert "You are signed out." in shown(reader.send("/admin/logout"))
    assert reader.client.get("/admin/keys").status_code == 303


# --- what every page has ----------------------------------------------------------------------------------


@pytest.mark.policy("N3")
@pytest.mark.parametrize("address", ["/admin/login", "/admin/keys", "/admin/nothing"])
def test_pages_are_kept_by_nobody_and_load_nothing_foreign(reader: Reader, address: str) -> None:
    answer = reader.go(address)
    assert answer.headers["cache-control"] == "no-store"
    assert answer.headers["x-frame-options"] == "DENY"
    policy = answer.headers["content-security-policy"]
    assert policy.startswith("default-src 'none'; script-src 'self'; style-src 'self'")
    assert "unsafe" not in policy


def test_the_files_beside_the_pages_are_kept_for_good(browser: Browser) -> None:
    for asset in assets().values():
        answer = browser().get(asset.address)
        assert answer.content == asset.body
        assert "immutable" in answer.headers["cache-control"]
    assert browser().get("/admin/static/../serving.py").status_code in {303, 404}
    assert browser().get("/admin/static/nothing").status_code == 404


def test_what_is_not_there_is_told_as_a_page(reader: Reader) -> None:
    for address in ("/admin/nothing", "/admin/keys/key_unknown", "/admin/credentials/unknown"):
        answer = reader.go(address)
        assert answer.status_code == 404
        assert answer.headers["content-type"] == "text/html; charset=utf-8"
        assert answer.headers["x-request-id"] in answer.text
    assert reader.go("/admin/keys?after=nonsense").status_code == 400


def test_a_form_without_its_token_changes_nothing(reader: Reader, credential: str) -> None:
    given = {"name": "forged", "credential": credential}
    assert reader.client.post("/admin/keys/new", data=given).status_code == 403
    reader.go("/admin/keys/new")
    reader.client.headers["origin"] = "https://evil.example"
    assert reader.send("/admin/keys/new", **given).status_code == 403
    reader.client.headers["origin"] = "null"
    assert reader.sign_in().status_code == 403


def test_what_was_done_is_told_in_our_words_alone(reader: Reader) -> None:
    assert "The key was changed." in shown(reader.go("/admin/keys?done=key-saved"))
    assert "evil" not in reader.go("/admin/keys?done=evil").text


# --- keys -------------------------------------------------------------------------------------------------


@pytest.mark.policy("K3", "K4")
def test_a_key_from_its_making_to_its_end(reader: Reader, gateway: Gateway, credential: str) -> None:
    reader.go("/admin/keys/new")
    answer = reader.send(
        "/admin/keys/new", name="Anna's editor", credential=credential, rate_limit="60/minute", lifetime="30"
    )
    assert answer.status_code == 200
    text = re.search(r"sk-[A-Za-z0-9]{48}", answer.text)
    assert text
    assert text[0] not in str(answer.url)
    assert answer.text.count(text[0]) == 1, "the snippets read it from the environment"
    with gateway.client(text[0]) as client:
        assert client.models.list().data
    address = re.search(r'href="(/admin/keys/key_\w+)"', answer.text)
    assert address

    answer = reader.go(address[1])
    assert text[0] not in answer.text
    assert "60/minute" in answer.text
    version = re.search(r'name="if_version" value="(\w+)"', answer.text)
    assert version
    ends = re.search(r'name="expires_at"[^>]*value="([^"]+)"', answer.text) or re.search(
        r'value="([^"]+)"[^>]*name="expires_at"', answer.text
    )
    assert ends
    given = {"name": "Berta's editor", "max_concurrent": "3", "models": "sonnet, haiku", "expires_at": ends[1]}
    answer = reader.send(address[1], if_version=version[1], **given)
    assert "The key was changed." in shown(answer)
    key = gateway.access(lambda access: access.keys.get(address[1].rpartition("/")[2]))
    assert (key.name, key.rate_limit, key.max_concurrent, key.models) == (
        "Berta's editor",
        None,
        3,
        ("sonnet", "haiku"),
    )
    assert key.expires_at is not None

    answer = reader.send(address[1], if_version=version[1], name="too late")
    assert answer.status_code == 412
    assert "changed meanwhile" in shown(answer)

    reader.go(address[1])
    answer = reader.send(f"{address[1]}/rotate", grace_seconds="3600")
    new = re.search(r"sk-[A-Za-z0-9]{48}", answer.text)
    assert new
    assert new[0] != text[0]
    assert "The old key" in shown(answer)

    reader.go(f"{address[1]}/revoke")
    assert "cannot be brought back" in shown(reader.page)
    assert "The key was revoked" in shown(reader.send(f"{address[1]}/revoke"))


def test_what_is_wrong_with_a_key_is_told_at_its_field_and_the_rest_is_kept(reader: Reader, credential: str) -> None:
    reader.go("/admin/keys/new")
    answer = reader.send("/admin/keys/new", name="kept", credential=credential, rate_limit="lots")
    assert answer.status_code == 400
    assert 'id="new-rate_limit-error"' in answer.text
    assert 'value="kept"' in answer.text
    answer = reader.send("/admin/keys/new", credential=credential)
    assert 'id="new-name-error"' in answer.text
    answer = reader.send("/admin/keys/new", name="x", token="not a token")
    assert 'id="new-token-error"' in answer.text
    assert "not a token" not in answer.text
    assert reader.send("/admin/keys/new", name="x", credential=credential, lifetime="never mind").status_code == 404


def test_a_key_on_a_new_token_in_one_step(reader: Reader, credential: str) -> None:
    reader.go("/admin/keys/new")
    token = oauth_token("one step of the pages")
    answer = reader.send("/admin/keys/new", name="one step of the pages", credential=credential, token=token)
    assert re.search(r"sk-[A-Za-z0-9]{48}", answer.text)
    assert token not in answer.text
    assert "one step of the pages" in shown(reader.go("/admin/credentials"))


def test_the_list_is_searched_sorted_and_paged(reader: Reader, gateway: Gateway, credential: str) -> None:
    async def make(access: object) -> None:
        for number in range(60):
            await access.keys.create(f"many {number:02}", credential)  # type: ignore[attr-defined]

    gateway.access(make)
    answer = reader.go("/admin/keys?search=many&sort=name&descending=false")
    assert re.findall(r">(many \d\d)<", answer.text) == [f"many {number:02}" for number in range(50)]
    assert 'aria-sort="ascending"' in answer.text
    on = re.search(r'rel="next" href="([^"]+)"', answer.text)
    assert on
    answer = reader.go(html.unescape(on[1]))
    assert re.findall(r">(many \d\d)<", answer.text) == [f"many {number:02}" for number in range(50, 60)]
    assert "60 keys" in shown(answer)
    assert "No key fits" in shown(reader.go("/admin/keys?search=no+such+key"))


# --- credentials ------------------------------------------------------------------------------------------


@pytest.mark.policy("T1", "T6")
def test_a_credential_from_its_adding_to_its_removal(reader: Reader, gateway: Gateway) -> None:
    first, second = oauth_token("first of the pages"), oauth_token("second of the pages")
    reader.go("/admin/credentials/new")
    answer = reader.send("/admin/credentials/new", name="Bert", token=first)
    assert "The credential was added." in shown(answer)
    address = str(answer.url).partition("?")[0]
    answer = reader.send(f"{address}/replace", token=second)
    assert "The token was replaced" in shown(answer)
    assert second[-4:] in answer.text
    assert first not in answer.text
    assert second not in answer.text
    assert second[-5:] not in answer.text
    assert "has its new name" in shown(reader.send(address, name="Berta"))

    gateway.access(lambda access: access.keys.create("would break", "Berta"))
    answer = reader.go(f"{address}/remove")
    assert "1 active key is revoked with it would break" in shown(answer)
    assert "1 API key stands on the credential" in shown(reader.send(f"{address}/remove"))
    assert "The credential was removed." in shown(reader.send(f"{address}/remove", force="true"))


def test_what_is_no_token_is_told_at_the_field(reader: Reader) -> None:
    reader.go("/admin/credentials/new")
    answer = reader.send("/admin/credentials/new", name="x", token="sk-ant-oat01-short")
    assert answer.status_code == 400
    assert 'id="new-token-error"' in answer.text
    assert "sk-ant-oat01-short" not in answer.text


@pytest.mark.policy("T5")
def test_anthropic_is_asked_whether_it_takes_a_token(reader: Reader, gateway: Gateway) -> None:
    gateway.key("tried")
    address = f"/admin/credentials/{gateway.access(lambda access: access.credentials.get('tried')).id}"
    reader.go(address)
    assert "Anthropic takes this token." in shown(reader.send(f"{address}/test"))
    gateway.key("refused")
    address = f"/admin/credentials/{gateway.access(lambda access: access.credentials.get('refused')).id}"
    answer = reader.send(f"{address}/test")
    assert answer.status_code == 502
    assert "Anthropic refuses this token" in shown(answer)
    assert "Anthropic refuses the token of refused" in shown(reader.go("/admin"))


# --- the playground ---------------------------------------------------------------------------------------


def test_the_playground_answers_as_a_key_without_a_script(reader: Reader, gateway: Gateway) -> None:
    gateway.key("playground")
    key = gateway.access(lambda access: access.keys.get("program of playground")).id
    assert f'value="{key}" selected' in reader.go(f"/admin/playground?key={key}").text
    answer = reader.send("/admin/playground", key=key, model="sonnet", message="Hello")
    assert re.search(r'id="answer"[^>]*>[^<]+<', answer.text)
    assert "tokens in" in shown(answer)
    assert 'id="ask-message-error"' in reader.send("/admin/playground", key=key, model="sonnet").text
    assert reader.send("/admin/playground", key="unknown", message="Hello").status_code == 404
    gateway.access(lambda access: access.keys.revoke(key))
    assert reader.send("/admin/playground", key=key, message="Hello").status_code == 409


def test_the_playground_streams_to_a_script_and_tells_it_failures(reader: Reader, gateway: Gateway) -> None:
    gateway.key("streaming")
    key = gateway.access(lambda access: access.keys.get("program of streaming")).id
    reader.go("/admin/playground")
    reader.client.headers["accept"] = "text/event-stream"
    answer = reader.send("/admin/playground", key=key, model="sonnet", system="Be brief.", message="Hello")
    assert answer.headers["content-type"].startswith("text/event-stream")
    assert answer.text.endswith("data: [DONE]\n\n")
    assert '"usage":{' in answer.text
    reader.client.headers["accept"] = "*/*"
    reader.go("/admin/playground")
    reader.client.headers["accept"] = "text/event-stream"
    refused = reader.send("/admin/playground", key="unknown", message="Hello")
    assert (refused.status_code, refused.json()["error"]["code"]) == (404, "not_found")
