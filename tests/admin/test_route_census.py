"""Every route, asked by everybody: one table of what each may do. A route that is not in it fails the test."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any, Final

import httpx2
import pytest
from browsing import API, PASSWORD, sign_in
from gateways import Gateway, StartGateway

from claude_code_api.admin.actions import ACTIONS
from claude_code_api.admin.pages import VIEWS
from claude_code_api.secret import Secret

CALLERS: Final = ("nobody", "wrong key", "revoked key", "key", "wrong token", "forged", "viewer", "admin", "owner")
"""`forged` is the owner's browser on another site, with his cookie (which browsers would not send) but not our origin;
all others are as they are. Whoever has an API key is nobody here, and whoever has a session is nobody there.
"""

# What each caller is told, by what a route is; `-` is the row's own status: what comes of it where it is allowed.
KINDS: Final[dict[str, tuple[Any, ...]]] = {
    "read": (401, 401, 401, 401, 401, "-", "-", "-", "-"),
    "admins read": (401, 401, 401, 401, 401, "-", 403, "-", "-"),
    "own": (401, 401, 401, 401, 401, 403, "-", "-", "-"),
    "admins change": (401, 401, 401, 401, 401, 403, 403, "-", "-"),
    "owners change": (401, 401, 401, 401, 401, 403, 403, 403, "-"),
    "page": (303, 303, 303, 303, 303, "-", "-", "-", "-"),
    "admins' page": (303, 303, 303, 303, 303, "-", 403, "-", "-"),
    "owners' page": (303, 303, 303, 303, 303, "-", 403, 403, "-"),
    "programs": (401, 401, 401, "-", 401, 401, 401, 401, 401),
    "public": ("-",) * 9,
    "sign in": ("-", "-", "-", "-", "-", 403, "-", "-", "-"),
}

# The path, and the status of whoever is allowed: with a body that is empty, and with names that are nobody's.
TABLE: Final[dict[tuple[str, str], tuple[str, int]]] = {
    ("GET", f"{API}/keys"): ("read", 200),
    ("POST", f"{API}/keys"): ("admins change", 400),
    ("GET", f"{API}/keys/{{id}}"): ("read", 404),
    ("PATCH", f"{API}/keys/{{id}}"): ("admins change", 404),
    ("POST", f"{API}/keys/{{id}}/rotate"): ("admins change", 404),
    ("POST", f"{API}/keys/{{id}}/revoke"): ("admins change", 404),
    ("GET", f"{API}/credentials"): ("read", 200),
    ("POST", f"{API}/credentials"): ("admins change", 400),
    ("GET", f"{API}/credentials/{{id}}"): ("read", 404),
    ("PATCH", f"{API}/credentials/{{id}}"): ("admins change", 400),
    ("POST", f"{API}/credentials/{{id}}/replace"): ("admins change", 400),
    ("POST", f"{API}/credentials/{{id}}/test"): ("admins change", 404),
    ("DELETE", f"{API}/credentials/{{id}}"): ("admins change", 404),
    ("GET", f"{API}/usage"): ("read", 200),
    ("GET", f"{API}/usage/overview"): ("read", 200),
    ("GET", f"{API}/usage/keys"): ("read", 200),
    ("GET", f"{API}/usage/export"): ("read", 200),
    ("GET", f"{API}/attention"): ("read", 200),
    ("GET", f"{API}/audit"): ("read", 200),
    ("GET", f"{API}/audit/export"): ("read", 200),
    ("GET", f"{API}/audit/state"): ("read", 200),
    ("POST", f"{API}/audit/verify"): ("own", 200),
    ("GET", f"{API}/administrators"): ("admins read", 200),
    ("POST", f"{API}/administrators/{{name}}/role"): ("owners change", 400),
    ("POST", f"{API}/administrators/{{name}}/reset-second-factor"): ("owners change", 404),
    ("DELETE", f"{API}/administrators/{{name}}"): ("owners change", 404),
    ("POST", f"{API}/invitations"): ("owners change", 400),
    ("DELETE", f"{API}/invitations/{{id}}"): ("owners change", 404),
    ("GET", f"{API}/tokens"): ("admins read", 200),
    ("POST", f"{API}/tokens"): ("admins change", 400),
    ("POST", f"{API}/tokens/{{id}}/revoke"): ("admins change", 404),
    ("GET", f"{API}/sessions"): ("read", 200),
    ("POST", f"{API}/account/end-other-sessions"): ("own", 200),
    ("DELETE", f"{API}/sessions/{{id}}"): ("own", 404),
    ("POST", f"{API}/account/password"): ("own", 400),
    ("GET", f"{API}/account/second-factor"): ("read", 200),
    ("POST", f"{API}/account/second-factor"): ("own", 400),
    ("POST", f"{API}/account/second-factor/confirm"): ("own", 400),
    ("POST", f"{API}/account/second-factor/turn-off"): ("own", 400),
    ("POST", f"{API}/account/second-factor/recovery-codes"): ("own", 400),
    ("GET", f"{API}/settings"): ("admins read", 200),
    ("POST", f"{API}/playground"): ("admins change", 400),
    ("GET", f"{API}/session"): ("read", 200),
    ("POST", f"{API}/session"): ("sign in", 400),
    ("DELETE", f"{API}/session"): ("own", 204),
    ("GET", "/metrics"): ("read", 200),
    ("POST", "/v1/chat/completions"): ("programs", 400),
    ("GET", "/v1/models"): ("programs", 200),
    ("GET", "/v1/models/{model}"): ("programs", 404),
    ("GET", "/health"): ("public", 200),
    ("GET", "/health/live"): ("public", 200),
    ("GET", "/health/ready"): ("public", 200),
    ("GET", "/v1/health"): ("public", 200),
    ("GET", "/v1/health/live"): ("public", 200),
    ("GET", "/v1/health/ready"): ("public", 200),
    ("GET", "/openapi.json"): ("public", 200),
    ("GET", "/docs"): ("public", 200),
    # The pages: who is not signed in is sent to where one signs in.
    ("GET", "/admin/login"): ("public", 200),
    ("POST", "/admin/login"): ("sign in", 401),
    ("POST", "/admin/logout"): ("own", 303),
    ("GET", "/admin/setup"): ("public", 200),
    ("POST", "/admin/setup"): ("sign in", 400),
    ("GET", "/admin/invitation"): ("public", 200),
    ("POST", "/admin/invitation"): ("sign in", 400),
    ("GET", "/admin"): ("page", 200),
    ("GET", "/admin/keys"): ("page", 200),
    ("GET", "/admin/keys/new"): ("admins' page", 200),
    ("POST", "/admin/keys/new"): ("admins change", 400),
    ("GET", "/admin/keys/{id}"): ("page", 404),
    ("POST", "/admin/keys/{id}"): ("admins change", 404),
    ("POST", "/admin/keys/{id}/rotate"): ("admins change", 404),
    ("GET", "/admin/keys/{id}/revoke"): ("admins' page", 404),
    ("POST", "/admin/keys/{id}/revoke"): ("admins change", 404),
    ("GET", "/admin/credentials"): ("page", 200),
    ("GET", "/admin/credentials/new"): ("admins' page", 200),
    ("POST", "/admin/credentials/new"): ("admins change", 400),
    ("GET", "/admin/credentials/{id}"): ("page", 404),
    ("POST", "/admin/credentials/{id}"): ("admins change", 404),
    ("POST", "/admin/credentials/{id}/replace"): ("admins change", 404),
    ("POST", "/admin/credentials/{id}/test"): ("admins change", 404),
    ("GET", "/admin/credentials/{id}/remove"): ("admins' page", 404),
    ("POST", "/admin/credentials/{id}/remove"): ("admins change", 404),
    ("GET", "/admin/usage"): ("page", 200),
    ("GET", "/admin/playground"): ("admins' page", 200),
    ("POST", "/admin/playground"): ("admins change", 400),
    ("GET", "/admin/audit"): ("page", 200),
    ("POST", "/admin/audit/verify"): ("own", 303),
    ("GET", "/admin/administrators"): ("admins' page", 200),
    ("POST", "/admin/administrators"): ("owners change", 400),
    ("POST", "/admin/invitations/{id}/withdraw"): ("owners change", 404),
    ("GET", "/admin/administrators/{id}"): ("owners' page", 404),
    ("POST", "/admin/administrators/{id}"): ("owners change", 404),
    ("POST", "/admin/administrators/{id}/reset-second-factor"): ("owners change", 404),
    ("POST", "/admin/administrators/{id}/sessions/{session}/end"): ("owners change", 404),
    ("GET", "/admin/administrators/{id}/remove"): ("owners' page", 404),
    ("POST", "/admin/administrators/{id}/remove"): ("owners change", 404),
    ("GET", "/admin/settings"): ("admins' page", 200),
    ("GET", "/admin/account"): ("page", 200),
    ("POST", "/admin/account/password"): ("own", 400),
    ("POST", "/admin/account/second-factor"): ("own", 400),
    ("POST", "/admin/account/second-factor/confirm"): ("own", 404),
    ("POST", "/admin/account/second-factor/codes"): ("own", 400),
    ("POST", "/admin/account/second-factor/off"): ("own", 400),
    ("POST", "/admin/account/sessions/{id}/end"): ("own", 404),
    ("POST", "/admin/account/sessions/end-others"): ("own", 303),
    ("POST", "/admin/account/tokens"): ("admins change", 400),
    ("POST", "/admin/account/tokens/{id}/revoke"): ("admins change", 404),
}

FORM: Final = {"content-type": "application/x-www-form-urlencoded"}

Ask = Callable[[str, str, str], httpx2.Response]


@pytest.fixture(scope="module")
def gateway(start_gateway: StartGateway) -> Iterator[Gateway]:
    with start_gateway(admin_password=Secret(PASSWORD)) as gateway:
        yield gateway


@pytest.fixture(scope="module")
def ask(gateway: Gateway) -> Iterator[Ask]:
    """What a caller is answered. Sessions are begun as they are needed: some routes end them."""
    revoked = gateway.key()
    gateway.access(lambda access: access.keys.revoke("program of anna"))
    bearers = {"wrong key": "sk-" + "x" * 48, "revoked key": revoked, "key": gateway.key("bert"),
               "wrong token": "adm-" + "x" * 48}  # fmt: skip
    own = {"base_url": gateway.https_url, "verify": gateway.tls(), "headers": {"origin": gateway.https_url}}
    clients = {caller: httpx2.Client(**own, timeout=30) for caller in CALLERS}
    for caller, bearer in bearers.items():
        clients[caller].headers["authorization"] = f"Bearer {bearer}"
    names = {"owner": "admin", "forged": "admin"}
    for role in ("viewer", "admin"):
        gateway.access(lambda access, role=role: _make(access, f"the {role}", role))
        names[role] = f"the {role}"

    def ask(caller: str, method: str, path: str) -> httpx2.Response:
        client = clients[caller]
        if caller in names and client.get(f"{API}/session").status_code == 401:
            client.headers["origin"] = gateway.https_url
            client.headers["x-csrf-token"] = sign_in(client, username=names[caller]).json()["csrf_token"]
        if caller == "forged":
            client.headers["origin"] = "https://evil.example"
        asked = re.sub(r"{(\w+)}", "nobody", path)
        if path.startswith("/admin") and not path.startswith(API):
            return client.request(method, asked, headers=FORM)
        return client.request(method, asked, json={} if method in ("POST", "PATCH") else None)

    yield ask
    for client in clients.values():
        client.close()


async def _make(access: Any, name: str, role: Any) -> None:
    _, token = await access.invitations.invite(name, role, by="test")
    await access.invitations.accept(token, Secret(PASSWORD))


def test_every_route_is_in_the_table(gateway: Gateway) -> None:
    with httpx2.Client(base_url=gateway.https_url, verify=gateway.tls()) as client:
        paths = client.get("/openapi.json").json()["paths"]
    described = {(method.upper(), path) for path, each in paths.items() for method in each if method != "parameters"}
    assert {(each.method, API + each.path) for each in ACTIONS} <= described
    documents = {("GET", "/openapi.json"), ("GET", "/docs")}
    assert described | documents | {(each.method, each.path) for each in VIEWS} == set(TABLE)


@pytest.mark.policy("A1", "K3")
@pytest.mark.parametrize(("method", "path"), TABLE, ids=" ".join)
def test_everybody_is_answered_as_the_table_says(ask: Ask, method: str, path: str) -> None:
    kind, status = TABLE[method, path]
    expected = {caller: status if told == "-" else told for caller, told in zip(CALLERS, KINDS[kind], strict=True)}
    told = {caller: ask(caller, method, path).status_code for caller in CALLERS}
    if path == "/admin/login":  # whoever has no password is slowed
        told = {caller: 401 if status == 429 else status for caller, status in told.items()}
    assert told == expected
