"""The admin API: what the pages do, as JSON."""

from __future__ import annotations

import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import httpx2
import openai
import pytest
from browsing import API, PASSWORD, sign_in
from gateways import Gateway, StartGateway, until

from claude_code_api.admin.actions import ACTIONS
from claude_code_api.admin.described import described
from claude_code_api.secret import Secret
from claude_code_api.stand_in import StandIn, oauth_token, script
from claude_code_api.surface.description import description

Browser = Callable[..., httpx2.Client]


def test_a_key_is_made_on_a_new_token_in_one_step_and_works(owner: httpx2.Client, gateway: Gateway) -> None:
    token = oauth_token("one step")
    made = owner.post(f"{API}/keys", json={"name": "program", "token": token, "rate_limit": "100/minute"})
    assert made.status_code == 201, made.text
    assert token[-5:] not in made.text
    with gateway.client(made.json()["key"]) as client:
        assert client.models.list().data
    record = made.json()["record"]
    assert record["created_by"] == "administrator admin"
    shown = owner.get(f"{API}/keys/{record['id']}")
    assert shown.json() | {"last_used_at": None} == record
    assert made.json()["key"] not in owner.get(f"{API}/keys").text


def test_a_wrong_limit_leaves_no_credential_behind(owner: httpx2.Client) -> None:
    body = {"name": "half made", "token": oauth_token("half"), "rate_limit": "often"}
    refused = owner.post(f"{API}/keys", json=body)
    assert (refused.status_code, refused.json()["error"]["param"]) == (400, "rate_limit")
    assert "half made" not in owner.get(f"{API}/credentials").text


def test_a_revoked_key_is_refused_when_the_call_returns(owner: httpx2.Client, gateway: Gateway) -> None:
    key = owner.post(f"{API}/keys", json={"name": "short", "token": oauth_token("short")}).json()
    assert owner.post(f"{API}/keys/{key['record']['id']}/revoke").json()["revoked_at"]
    headers = {"authorization": f"Bearer {key['key']}"}
    assert httpx2.get(f"{gateway.http_url}/v1/models", headers=headers).status_code == 401


@pytest.mark.parametrize("field", ["id", "created_by", "revoked_at", "hint", "is_live", "nonsense"])
def test_fields_that_are_not_for_the_client_are_refused_by_name(owner: httpx2.Client, field: str) -> None:
    refused = owner.post(f"{API}/keys", json={"name": "x", "credential": "y", field: "z"})
    assert refused.status_code == 400
    assert refused.json()["error"]["param"] == field


@pytest.mark.policy("V2")
@pytest.mark.parametrize(
    "moment",
    ["0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59Z", "9999-12-31T23:59:59-12:00", "2026-03-04T00:00:00"],
)
@pytest.mark.parametrize(("path", "field"), [("audit", "since"), ("audit/export", "until"), ("usage", "until")])
def test_a_moment_that_is_none_everywhere_is_refused_by_name(
    owner: httpx2.Client, path: str, field: str, moment: str
) -> None:
    """No other time zone has it, or no day comes after it, or it has no time zone."""
    refused = owner.get(f"{API}/{path}", params={field: moment})
    assert (refused.status_code, refused.json()["error"]["param"]) == (400, field)


@pytest.mark.policy("V2")
def test_an_end_that_is_none_everywhere_is_refused_by_name(owner: httpx2.Client) -> None:
    body = {"name": "x", "token": oauth_token("no end"), "expires_at": "9999-12-31T23:59:59-12:00"}
    refused = owner.post(f"{API}/keys", json=body)
    assert (refused.status_code, refused.json()["error"]["param"]) == (400, "expires_at")


def test_a_change_to_what_has_changed_meanwhile_is_refused(owner: httpx2.Client) -> None:
    record = owner.post(f"{API}/keys", json={"name": "shared", "token": oauth_token("shared")}).json()["record"]
    seen = owner.get(f"{API}/keys/{record['id']}")
    path, match = f"{API}/keys/{record['id']}", {"if-match": seen.headers["etag"]}
    changed = owner.patch(path, json={"rate_limit": "1/minute"}, headers=match)
    assert changed.json()["rate_limit"] == "1/minute"
    assert changed.headers["etag"] != seen.headers["etag"]
    late = owner.patch(path, json={"rate_limit": None}, headers=match)
    assert late.status_code == 412
    assert owner.get(path).json()["rate_limit"] == "1/minute"
    assert owner.patch(path, json={"rate_limit": None}).json()["rate_limit"] is None


def test_pages_of_keys_follow_one_another(owner: httpx2.Client) -> None:
    owner.post(f"{API}/credentials", json={"name": "many", "token": oauth_token("many")}).raise_for_status()
    for number in range(5):
        owner.post(f"{API}/keys", json={"name": f"one of many {number}", "credential": "many"}).raise_for_status()
    found: list[str] = []
    after: dict[str, str] = {}
    while True:
        query = {"search": "one of many", "sort": "name", "descending": "false", "limit": "2", **after}
        page = owner.get(f"{API}/keys", params=query).json()
        assert page["total"] == 5
        found += [key["name"] for key in page["data"]]
        if page["next"] is None:
            break
        after = {"after": page["next"]}
    assert found == [f"one of many {number}" for number in range(5)]


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [("GET", "/keys/unknown", 404), ("PUT", "/keys", 405), ("GET", "/nothing", 404), ("GET", "/keys?limit=0", 400),
     ("GET", "/keys?limit=x", 400), ("GET", "/keys?after=x", 400), ("GET", "/keys?limit=1&limit=2", 400),
     ("GET", "/keys/a%00b", 400), ("POST", "/keys", 400)],
)  # fmt: skip
def test_what_is_wrong_is_told_in_the_same_shape(owner: httpx2.Client, method: str, path: str, status: int) -> None:
    answer = owner.request(method, f"{API}{path}")
    assert answer.status_code == status, answer.text
    assert set(answer.json()["error"]) == {"message", "type", "param", "code"}


def test_every_action_is_described(owner: httpx2.Client) -> None:
    paths = owner.get("/openapi.json").json()["paths"]
    assert {(each.method.lower(), API + each.path) for each in ACTIONS} <= {
        (method, path) for path, operations in paths.items() for method in operations
    }
    assert "csrf" in str(paths[f"{API}/keys"]["post"]["security"])
    assert "/admin/api/v1/session" in owner.get("/docs").text


def test_no_two_shapes_have_one_name() -> None:
    assert not described().schemas.keys() & description(())["components"]["schemas"].keys()


def test_settings_are_told_without_secrets(owner: httpx2.Client) -> None:
    answer = owner.get(f"{API}/settings")
    assert PASSWORD not in answer.text
    told = {each["name"]: each for each in answer.json()["data"]}
    assert (told["admin_password"]["value"], told["admin_password"]["is_secret"]) == ("given", True)
    assert (told["redis_url"]["value"], told["redis_url"]["is_secret"]) == ("not given", True)
    assert (told["rate_limit_per_ip"]["value"], told["rate_limit_per_ip"]["is_default"]) == ("off", False)


def test_a_changed_password_ends_all_other_sessions_and_keeps_this_one(
    start_gateway: StartGateway,
) -> None:
    with start_gateway(admin_password=Secret(PASSWORD)) as gateway:
        own = {"base_url": gateway.https_url, "verify": gateway.tls(), "headers": {"origin": gateway.https_url}}
        with httpx2.Client(**own) as here, httpx2.Client(**own) as there:
            here.headers["x-csrf-token"] = sign_in(here).json()["csrf_token"]
            sign_in(there)
            assert len(here.get(f"{API}/sessions").json()["data"]) == 2
            body = {"current": PASSWORD, "new": "another long and good one 4"}
            assert here.post(f"{API}/account/password", json=body).status_code == 204
            assert here.get(f"{API}/session").status_code == 200
            assert there.get(f"{API}/session").status_code == 401
            assert sign_in(there).status_code == 401
            assert sign_in(there, body["new"]).status_code == 201


def test_usage_is_told_and_given_as_a_file(owner: httpx2.Client) -> None:
    assert owner.get(f"{API}/usage", params={"by": "day"}).json()["by"] == "day"
    assert len(owner.get(f"{API}/usage/overview").json()["hour"]["points"]) == 60
    file = owner.get(f"{API}/usage/export", params={"by": "model"})
    assert file.headers["content-disposition"] == 'attachment; filename="usage-by-model.csv"'
    assert file.text.startswith("model,name,requests,")


def test_an_invitation_names_a_role_and_is_taken_back(owner: httpx2.Client) -> None:
    made = owner.post(f"{API}/invitations", json={"name": "Anna", "role": "viewer"})
    assert made.status_code == 201
    invitation = made.json()["invitation"]
    listed = owner.get(f"{API}/administrators")
    assert [each["name"] for each in listed.json()["invitations"]] == ["anna"]
    assert made.json()["token"] not in listed.text
    assert owner.delete(f"{API}/invitations/{invitation['id']}").status_code == 204
    assert not owner.get(f"{API}/administrators").json()["invitations"]


@pytest.mark.policy("L1")
def test_the_audit_log_is_read_proved_and_given_as_a_file(owner: httpx2.Client) -> None:
    owner.post(f"{API}/credentials", json={"name": "=noted", "token": oauth_token("noted")}).raise_for_status()
    page = owner.get(f"{API}/audit", params={"action": "credential", "limit": 1}).json()
    (entry,) = page["data"]
    assert (entry["action"], entry["actor"]) == ("credential.added", "administrator admin")
    state = owner.get(f"{API}/audit/state").json()
    assert state["intact"] in (None, True), state
    assert owner.post(f"{API}/audit/verify").json()["intact"] is True
    lines = owner.get(f"{API}/audit/export", params={"format": "jsonl"}).text.splitlines()
    assert json.loads(lines[-1])["number"] >= entry["number"]
    assert owner.get(f"{API}/audit/export").text.startswith("number,at,actor,action,target,details,code\r\n")


def test_a_script_does_with_a_token_what_its_role_allows_without_cookie_and_origin(
    owner: httpx2.Client, browser: Browser
) -> None:
    made = owner.post(f"{API}/tokens", json={"name": "script", "role": "viewer"})
    assert made.status_code == 201
    token = made.json()["token"]
    assert token.startswith("adm-")
    assert token not in owner.get(f"{API}/tokens").text
    script = browser(authorization=f"Bearer {token}", origin="https://elsewhere.example")
    assert script.get(f"{API}/keys").status_code == 200
    refused = script.post(f"{API}/keys", json={"name": "x", "credential": "y"})
    assert (refused.status_code, refused.json()["error"]["code"]) == (403, "role_required")
    assert script.get(f"{API}/session").json()["error"]["code"] == "session_required"
    owner.post(f"{API}/tokens/{made.json()['record']['id']}/revoke").raise_for_status()
    assert script.get(f"{API}/keys").status_code == 401


def test_a_token_makes_no_tokens_and_is_no_api_key(owner: httpx2.Client, browser: Browser, gateway: Gateway) -> None:
    token = owner.post(f"{API}/tokens", json={"name": "high", "role": "owner"}).json()["token"]
    script = browser(authorization=f"Bearer {token}")
    refused = script.post(f"{API}/tokens", json={"name": "more", "role": "owner"})
    assert refused.json()["error"]["code"] == "session_required"
    assert script.get("/v1/models").status_code == 401
    assert browser(authorization=f"Bearer {gateway.key()}").get(f"{API}/keys").status_code == 401


def test_a_credential_is_tried_and_what_anthropic_says_is_kept(owner: httpx2.Client) -> None:
    for name, status in (("taken", 200), ("refused", 502)):
        body = {"name": name, "token": oauth_token(f"{name} by Anthropic")}
        owner.post(f"{API}/credentials", json=body).raise_for_status()
        tried = owner.post(f"{API}/credentials/{name}/test")
        assert tried.status_code == status, tried.text
    assert tried.json()["error"]["code"] == "invalid_credential"
    assert owner.get(f"{API}/credentials/refused").json()["refused_at"]
    assert owner.get(f"{API}/credentials/taken").json()["refused_at"] is None


def test_the_playground_asks_as_a_key(owner: httpx2.Client, stand_in: StandIn) -> None:
    key = owner.post(f"{API}/keys", json={"name": "player", "token": oauth_token("player")}).json()["record"]
    question = {"key": key["id"], "model": "haiku", "message": f"Say it. {script(text='Here it is.')}"}
    answer = owner.post(f"{API}/playground", json=question)
    assert answer.json() | {"input_tokens": 0} == {
        "text": "Here it is.", "stop_reason": "end_turn", "input_tokens": 0, "output_tokens": 3,
    }  # fmt: skip
    owner.post(f"{API}/keys/{key['id']}/revoke").raise_for_status()
    assert owner.post(f"{API}/playground", json=question).status_code == 409


@pytest.mark.policy("N4")
def test_the_playground_counts_against_the_limit_of_the_key(owner: httpx2.Client, gateway: Gateway) -> None:
    given = {"name": "limited", "token": oauth_token("limited"), "rate_limit": "2/minute"}
    made = owner.post(f"{API}/keys", json=given).json()
    question = {"key": made["record"]["id"], "model": "haiku", "message": "Hello"}
    assert owner.post(f"{API}/playground", json=question).status_code == 200
    with gateway.client(made["key"]) as program:
        program.models.list()
        with pytest.raises(openai.RateLimitError):
            program.models.list()
    refused = owner.post(f"{API}/playground", json=question)
    assert (refused.status_code, refused.json()["error"]["code"]) == (429, "rate_limit_exceeded")
    assert refused.headers["retry-after"]


@pytest.mark.policy("K3")
@pytest.mark.parametrize("streamed", [False, True])
def test_an_answer_of_the_playground_ends_with_its_key(
    owner: httpx2.Client, gateway: Gateway, stand_in: StandIn, streamed: bool
) -> None:
    made = owner.post(f"{API}/keys", json={"name": "ending", "token": oauth_token("ending")}).json()
    question = {"key": made["record"]["id"], "model": "haiku", "message": f"Go on. {script(tokens=2000, pause=0.05)}"}

    def ask() -> httpx2.Response:
        if not streamed:
            return owner.post(f"{API}/playground", json=question)
        form = question | {"csrf_token": owner.headers["x-csrf-token"]}
        return owner.post("/admin/playground", data=form, headers={"accept": "text/event-stream"})

    with ThreadPoolExecutor(1) as thread:
        asked = thread.submit(ask)
        until(lambda: stand_in.requests)
        gateway.access(lambda access: access.keys.revoke(question["key"]))
        answer = asked.result(20)
    until(lambda: stand_in.requests[-1].disconnected)
    if streamed:
        assert '"code":"invalid_api_key"' in answer.text
    else:
        assert (answer.status_code, answer.json()["error"]["code"]) == (409, "conflict")
