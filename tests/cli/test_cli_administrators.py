"""`admin` beyond passwords: who may what, second factors, sessions and tokens, as a person and a script use it."""

from __future__ import annotations

import asyncio
import re
import secrets
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, TypeVar, get_args

import bcrypt
import pytest

from claude_code_api.access import Access, Administrator, SecondFactor, administrator
from claude_code_api.access.one_time_codes import STEP
from claude_code_api.cli.command import Role
from claude_code_api.errors import Unauthenticated
from claude_code_api.secret import Secret
from claude_code_api.settings import load

pytestmark = pytest.mark.policy("A5")
T = TypeVar("T")


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """The least work: these tests are not about it."""
    salt = bcrypt.gensalt
    monkeypatch.setattr(bcrypt, "gensalt", lambda _: salt(4))


@pytest.fixture
def owner(run: Any) -> str:
    """There is the owner anna; her password."""
    given = secrets.token_urlsafe()
    assert run("admin", "set-password", "--name", "anna", stdin=given).status == 0
    return given


def on(data_dir: Path, work: Callable[[Access], Awaitable[T]]) -> T:
    """What another process does on the same data directory."""

    async def open_() -> T:
        async with Access.open(load(data_dir=data_dir)) as access:
            return await work(access)

    return asyncio.run(open_())


def joined(run: Any, data_dir: Path, name: str, role: str) -> Administrator:
    """Somebody who was invited, and came."""
    link = run("admin", "add", name, "--role", role, "--json").json["link"]
    token = Secret(link.partition("#token=")[2])
    return on(data_dir, lambda access: access.invitations.accept(token, Secret(secrets.token_urlsafe())))


def signed_in(data_dir: Path, name: str, password: str) -> Secret:
    """The secret of a new session."""

    async def attempt(access: Access) -> Secret:
        came = await access.sign_in.attempt(name, Secret(password), address="192.0.2.1", device="Firefox \x1b[31m")
        return came.secret

    return on(data_dir, attempt)


def is_live(data_dir: Path, secret: Secret) -> bool:
    async def check(access: Access) -> bool:
        try:
            await access.sessions.check(secret)
        except Unauthenticated:
            return False
        return True

    return on(data_dir, check)


def test_the_roles_are_those_of_the_gateway() -> None:
    assert get_args(Role) == get_args(administrator.Role)


# --- who there is ---------------------------------------------------------------------------------------


def test_who_is_invited_gets_a_link_that_is_shown_once(run: Any, data_dir: Path, owner: str) -> None:
    ran = run("admin", "add", "Bert", "--role", "admin")
    assert ran.status == 0
    assert re.fullmatch(r"https://127\.0\.0\.1:8443/admin/invitation#token=[\w-]{43}\n", ran.out)
    assert "'bert' sets a password here and is admin then. Once, until" in ran.err
    token = Secret(ran.out.strip().partition("#token=")[2])
    on(data_dir, lambda access: access.invitations.accept(token, Secret(secrets.token_urlsafe())))
    assert [(each["name"], each["role"], each["second_factor"]) for each in run("admin", "list", "--json").json] == [
        ("anna", "owner", False), ("bert", "admin", False),
    ]  # fmt: skip
    assert token.reveal() not in run("audit", "list").out + run("admin", "list").out


def test_the_link_bears_the_public_address(run: Any, owner: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CCAPI_PUBLIC_URL", "https://gateway.example")
    assert run("admin", "add", "bert").out.startswith("https://gateway.example/admin/invitation#token=")


def test_nobody_is_invited_before_there_is_an_owner_or_twice(run: Any, owner: str) -> None:
    assert "already" in run("admin", "add", "ANNA").failure
    assert run("admin", "add", "bert", "--role", "root").status == 2


def test_the_first_is_made_by_set_password(run: Any) -> None:
    assert "admin set-password" in run("admin", "add", "bert").failure


def test_roles_are_set_and_administrators_removed_but_for_the_last_owner(run: Any, data_dir: Path, owner: str) -> None:
    joined(run, data_dir, "bert", "viewer")
    assert run("admin", "set-role", "BERT", "admin").out == "'bert' is admin now.\n"
    assert run("admin", "set-role", "bert", "viewer", "--json").json["role"] == "viewer"
    for words in (["remove", "anna"], ["set-role", "anna", "viewer"]):
        assert "the last owner" in run("admin", *words).failure
    assert run("admin", "remove", "bert").out == "Removed the administrator 'bert' (viewer).\n"
    assert "no administrator 'bert'" in run("admin", "remove", "bert").failure
    assert "no administrator 'bert'" in run("admin", "set-role", "bert", "admin").failure
    actions = [each["action"] for each in run("audit", "list", "--action", "administrator", "--json").json]
    assert actions[-3:] == ["administrator.role_set", "administrator.role_set", "administrator.removed"]


# --- second factor --------------------------------------------------------------------------------------


def turned_on(data_dir: Path, password: str) -> SecondFactor | None:
    async def turn_on(access: Access) -> SecondFactor | None:
        anna = await access.administrators.get("anna")
        enrolment = await access.second_factors.begin(anna, Secret(password))
        import base64

        from claude_code_api.access.one_time_codes import code_at

        code = code_at(base64.b32decode(enrolment.secret.reveal()), int(time.time()) // STEP)
        await access.second_factors.confirm(anna, code.reveal())
        return await access.second_factors.get(anna.id)

    return on(data_dir, turn_on)


def test_a_second_factor_is_seen_and_reset(run: Any, data_dir: Path, owner: str) -> None:
    assert run("admin", "reset-second-factor", "anna").out == "'anna' has no second factor.\n"
    assert turned_on(data_dir, owner) is not None
    assert run("admin", "list", "--json").json[0]["second_factor"] is True
    assert " on " in run("admin", "list").out
    with pytest.raises(Unauthenticated, match="one-time code"):
        signed_in(data_dir, "anna", owner)
    assert run("admin", "reset-second-factor", "ANNA").out == "The second factor of 'anna' is off.\n"
    assert run("admin", "reset-second-factor", "anna", "--json").json == {"name": "anna", "was_on": False}
    signed_in(data_dir, "anna", owner)
    assert "no administrator" in run("admin", "reset-second-factor", "nobody").failure


def test_set_password_is_the_way_back_and_says_so(run: Any, data_dir: Path, owner: str) -> None:
    turned_on(data_dir, owner)
    new = secrets.token_urlsafe()
    ran = run("admin", "set-password", "--name", "anna", stdin=new)
    assert ran.out.splitlines() == [
        "The password of 'anna' (owner) is set; older sessions have ended.",
        "The second factor is off too; it can be set up again after signing in.",
    ]
    signed_in(data_dir, "anna", new)


# --- sessions -------------------------------------------------------------------------------------------


@pytest.mark.policy("A2")
def test_sessions_are_listed_and_ended(run: Any, data_dir: Path, owner: str) -> None:
    none = run("admin", "sessions", "list")
    assert (none.status, none.out, none.err) == (0, "", "Nobody is signed in.\n")
    sessions = [signed_in(data_dir, "anna", owner) for _ in range(3)]
    table = run("admin", "sessions", "list").out
    assert table.count("192.0.2.1") == table.count("anna") == 3
    assert "\x1b" not in table
    told = run("admin", "sessions", "list", "--json").json
    assert {(each["administrator"], each["device"]) for each in told} == {("anna", "Firefox [31m")}
    assert not {"csrf_token", "secret", "hash"} & set(told[0])
    assert run("admin", "sessions", "end", told[0]["id"]).out == "Ended 1 session.\n"
    assert [is_live(data_dir, each) for each in sessions].count(True) == 2
    assert run("admin", "sessions", "end", "--name", "Anna", "--json").json == {"ended": 2}
    assert not any(is_live(data_dir, each) for each in sessions)
    assert run("admin", "sessions", "end", "--name", "anna").out == "Ended 0 sessions.\n"


def test_what_is_to_be_ended_has_to_be_there_and_to_be_named(run: Any, owner: str) -> None:
    assert "no such session" in run("admin", "sessions", "end", "session_0").failure
    assert "no administrator 'nobody'" in run("admin", "sessions", "end", "--name", "nobody").failure
    for words in ([], ["session_0", "--name", "anna"]):
        assert run("admin", "sessions", "end", *words).status == 2


# --- tokens ---------------------------------------------------------------------------------------------


@pytest.mark.policy("K3")
def test_a_token_is_shown_once_and_good_until_it_is_revoked(run: Any, data_dir: Path) -> None:
    none = run("admin", "tokens", "list")
    assert (none.status, none.out, "admin tokens create" in none.err) == (0, "", True)
    ran = run("admin", "tokens", "create", "deploy", "--role", "admin", "--expires", "30d")
    assert re.fullmatch(r"adm-[0-9A-Za-z]{48}\n", ran.out)
    assert "cannot be shown again" in ran.err
    text = Secret(ran.out.strip())
    assert on(data_dir, lambda access: access.admin_tokens.check(text)).role == "admin"
    (listed,) = run("admin", "tokens", "list", "--json").json
    assert (listed["name"], listed["hint"], listed["created_by"]) == ("deploy", text.hint, "command line")
    assert "live until" in run("admin", "tokens", "list").out
    assert run("admin", "tokens", "revoke", listed["id"]).out == f"Revoked the token 'deploy' ({listed['id']}).\n"
    assert "revoked 2" in run("admin", "tokens", "list").out
    assert run("admin", "tokens", "revoke", listed["id"], "--json").json["revoked_at"]
    with pytest.raises(Unauthenticated):
        on(data_dir, lambda access: access.admin_tokens.check(text))
    everything = "".join(run(*words).out for words in (["admin", "tokens", "list"], ["audit", "list"]))
    assert text.reveal() not in everything


def test_a_token_looks_unless_told_otherwise_and_ends_within_a_year(run: Any) -> None:
    made = run("admin", "tokens", "create", "look", "--json").json
    assert (made["role"], made["token"][:4]) == ("viewer", "adm-")
    assert "366 days at most" in run("admin", "tokens", "create", "long", "--expires", "367d").failure
    assert "no such token" in run("admin", "tokens", "revoke", "look").failure
    assert run("admin", "tokens", "create", "x", "--role", "root").status == 2
