"""`admin` as a person and a script use it."""

from __future__ import annotations

import asyncio
import getpass
import secrets
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import bcrypt
import pytest
from terminals import at_a_terminal

from claude_code_api.access import Access
from claude_code_api.application import running
from claude_code_api.cli import output
from claude_code_api.cli.serve import _advice, setup_link
from claude_code_api.errors import OperatorFailure, Unauthenticated
from claude_code_api.secret import Secret
from claude_code_api.settings import load
from claude_code_api.storage.tables import administrators

pytestmark = pytest.mark.policy("A5")


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """The least work: these tests are not about it."""
    salt = bcrypt.gensalt
    monkeypatch.setattr(bcrypt, "gensalt", lambda _: salt(4))


def password() -> str:
    return secrets.token_urlsafe()


async def signs_in(data_dir: Path, name: str, given: str) -> bool:
    async with Access.open(load(data_dir=data_dir)) as access:
        try:
            await access.administrators.check(name, Secret(given))
        except Unauthenticated:
            return False
    return True


def test_a_password_comes_from_standard_input_and_shows_nowhere(run: Any, data_dir: Path) -> None:
    first, second = password(), password()
    ran = run("admin", "set-password", stdin=first + "\n")
    assert (ran.status, ran.err) == (0, "")
    assert ran.out == "The password of 'admin' (owner) is set; older sessions have ended.\n"
    assert asyncio.run(signs_in(data_dir, "admin", first))
    told = run("admin", "set-password", "--name", "admin", "--json", stdin=second)
    assert (told.json["name"], told.json["role"]) == ("admin", "owner")
    assert not {"password", "password_hash"} & set(told.json)
    assert not asyncio.run(signs_in(data_dir, "admin", first))
    assert asyncio.run(signs_in(data_dir, "admin", second))
    assert not [each for each in (first, second) if each in ran.out + told.out + run("audit", "list").out]
    assert [each["action"] for each in run("audit", "list", "--action", "administrator", "--json").json] == [
        "administrator.created", "administrator.password_set",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("", "No password came on standard input."),
        (" \n", "No password came on standard input."),
        ("long-enough-of-it\nlong-enough-of-it\n", "more than one line"),
        (b"\xff\xfe long enough of it", "is no text"),
        ("changeme-please", "a sample"),
        ("canary", "12 to 1024 characters"),
        ("canary" * 2000, "12 to 1024 characters"),
    ],
)
def test_a_password_that_cannot_be_is_one_line_without_it(run: Any, given: str | bytes, said: str) -> None:
    failure = run("admin", "set-password", stdin=given).failure
    assert said in failure
    assert "canary" not in failure
    assert run("admin", "list", "--json").json == []


def test_a_password_as_an_argument_is_refused_and_not_repeated(run: Any) -> None:
    for words in (["canary-canary"], ["canary", "canary", "canary"], ["--name", "admin", "canary-canary"]):
        ran = run("admin", "set-password", *words, stdin=password())
        assert (ran.status, ran.out, "canary" in ran.err) == (2, "", False)
        assert "never from an argument" in ran.err
    assert run("admin", "list", "--json").json == []


def test_an_unknown_name_is_told_and_makes_nobody(run: Any) -> None:
    run("admin", "set-password", stdin=password())
    assert "no administrator 'amdin'" in run("admin", "set-password", "--name", "amdin", stdin=password()).failure


def test_administrators_are_listed_with_the_age_of_their_password(run: Any, data_dir: Path) -> None:
    none = run("admin", "list")
    assert (none.status, none.out, "admin set-password" in none.err) == (0, "", True)
    run("admin", "set-password", "--name", "anna", stdin=password())
    fresh = run("admin", "list")
    assert (fresh.out.splitlines()[1].split()[:4], fresh.err) == (["anna", "owner", "set", "today"], "")

    async def age() -> None:
        async with Access.open(load(data_dir=data_dir)) as access, access.database.write() as connection:
            long_ago = datetime.now(UTC) - timedelta(days=100)
            await connection.execute(administrators.update().values(password_set_at=long_ago))

    asyncio.run(age())
    old = run("admin", "list")
    assert "set 100 days ago, change it" in old.out
    assert "set-password --name NAME" in old.err


# --- at a terminal --------------------------------------------------------------------------------------


class Terminal:
    def isatty(self) -> bool:
        return True


def typed(monkeypatch: pytest.MonkeyPatch, *answers: str) -> list[str]:
    """Answers the questions at a terminal; what was asked."""
    asked: list[str] = []
    left: Iterator[str] = iter(answers)

    def ask(question: str, **_: object) -> str:
        asked.append(question)
        return next(left)

    monkeypatch.setattr(sys, "stdin", Terminal())
    monkeypatch.setattr(getpass, "getpass", ask)
    return asked


def test_at_a_terminal_it_is_asked_for_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = typed(monkeypatch, "same thing twice", "same thing twice")
    assert output.read_password() == Secret("same thing twice")
    assert asked == ["New password (not shown): ", "Once more (not shown): "]
    typed(monkeypatch, "same thing twice", "same thing twise")
    with pytest.raises(OperatorFailure, match="differ; nothing was changed"):
        output.read_password()
    assert typed(monkeypatch, "") == []
    with pytest.raises(OperatorFailure, match="No password"):
        output.read_password()


def test_a_real_terminal_shows_none_of_it(tmp_path: Path) -> None:
    given = "tÿped " + password()
    status, out, shown = at_a_terminal(
        ["admin", "set-password", "--name", "anna"], tmp_path, {"New password": given, "Once more": given}
    )
    assert (status, out) == (0, "The password of 'anna' (owner) is set; older sessions have ended.\n"), shown
    assert given[6:] not in shown
    assert asyncio.run(signs_in(tmp_path / "data", "anna", given))


# --- beside a gateway -----------------------------------------------------------------------------------


async def test_a_start_without_an_owner_shows_a_new_link_and_the_command(settings: Any, data_dir: Path) -> None:
    free = settings(port=0, https_port=0)
    links = []
    async with running(free) as gateway:
        for _ in range(2):
            advice = await _advice(gateway, free)
            (link,) = [line.strip() for line in advice if "/admin/setup" in line]
            assert any(line.endswith(f"admin set-password --data-dir {data_dir}") for line in advice)
            links.append(link)
        assert links[0] != links[1]
        address, _, token = links[1].partition("#token=")  # a fragment, which no browser sends
        assert address == f"{gateway.server.https_url}/admin/setup"
        async with Access.open(free) as command:  # while it serves
            right = Secret(password())
            await command.administrators.set_password("admin", right)
            assert (await gateway.access.administrators.check("admin", right)).role == "owner"
        assert not [line for line in await _advice(gateway, free) if "admin" in line]
        with pytest.raises(Unauthenticated):
            await gateway.access.administrators.use_setup_token(Secret(token), "anna", Secret(password()))


def test_a_link_leads_to_https_alone() -> None:
    for public, address in (
        ("https://gateway.example", "https://gateway.example"),
        ("http://gateway.example", "https://127.0.0.1:8443"),
    ):
        link = setup_link(load(public_url=public), "https://127.0.0.1:8443", Secret("t"))
        assert link == f"{address}/admin/setup#token=t"
