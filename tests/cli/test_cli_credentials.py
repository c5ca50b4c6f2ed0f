"""`credentials`: tokens come from standard input alone, and are never shown again."""

from __future__ import annotations

import getpass
import sys
from pathlib import Path
from typing import Any

import pytest
from terminals import at_a_terminal

from claude_code_api.cli import output
from claude_code_api.errors import OperatorFailure
from claude_code_api.stand_in import StandIn, api_key, oauth_token


def add(run: Any, name: str, token: str) -> Any:
    return run("credentials", "add", name, "--json", stdin=token + "\n").json


def test_a_token_from_standard_input_is_stored(run: Any) -> None:
    token = oauth_token("main")
    ran = run("credentials", "add", "main", stdin=f"  {token}\r\n")
    assert (ran.status, ran.out) == (0, f"Stored the OAuth token …{token[-4:]} as 'main'.\n")
    (record,) = run("credentials", "list", "--json").json
    assert (record["name"], record["kind"], record["hint"]) == ("main", "oauth", token[-4:])


@pytest.mark.parametrize(
    ("token", "kind", "links"),
    [
        (
            oauth_token("terms"), "oauth",
            ["https://www.anthropic.com/legal/consumer-terms", "https://code.claude.com/docs/en/legal-and-compliance"],
        ),
        (api_key("terms"), "api_key", ["https://www.anthropic.com/legal/commercial-terms"]),
    ],
)  # fmt: skip
def test_the_terms_of_that_kind_of_token_are_told_once(run: Any, token: str, kind: str, links: list[str]) -> None:
    ran = run("credentials", "add", "main", "--json", stdin=token)
    assert ran.json["kind"] == kind
    assert [link for link in links if ran.err.count(link) != 1] == []
    assert ran.err.count("https://") == len(links)
    assert run("credentials", "list").err == ""


@pytest.mark.policy("T1")
def test_no_command_shows_more_of_a_token_than_its_end(run: Any) -> None:
    token = oauth_token("main")
    shown = [run("credentials", "add", "main", stdin=token), run("credentials", "list")]
    shown += [run("credentials", "list", "--json"), run("doctor"), run("credentials", "add", "main", stdin=token)]
    shown += [run("credentials", "replace", "main", stdin=token), run("credentials", "remove", "main")]
    said = "".join(ran.out + ran.err for ran in shown)
    assert token[-4:] in said
    assert token[-8:] not in said
    assert token[13:30] not in said


@pytest.mark.policy("T5")
@pytest.mark.parametrize("token", ["sk-ant-oat01-short", "sk-proj-" + "x" * 60, "hello", "sk-ant-sid01-" + "x" * 80])
def test_a_token_of_no_known_form_is_refused_in_one_line(run: Any, token: str) -> None:
    failure = run("credentials", "add", "main", stdin=token).failure
    assert "sk-ant-oat01-…" in failure
    assert token not in failure
    assert run("credentials", "list", "--json").json == []


@pytest.mark.parametrize("nothing", ["", "\n", "  \n"])
def test_no_token_is_a_failure(run: Any, nothing: str) -> None:
    assert run("credentials", "add", "main", stdin=nothing).failure == "No token came on standard input."


def test_bytes_that_are_no_text_are_a_failure(run: Any) -> None:
    assert run("credentials", "add", "main", stdin=b"\xff\xfe").failure == "What came on standard input is no text."


def test_a_name_can_be_used_once(run: Any) -> None:
    add(run, "main", oauth_token("one"))
    assert "main" in run("credentials", "add", "main", stdin=oauth_token("two")).failure


def test_the_list_is_a_table_for_people(run: Any) -> None:
    ran = run("credentials", "list")
    assert (ran.status, ran.out) == (0, "")
    assert "credentials add" in ran.err
    add(run, "a [bold]name[/bold] :smile:", oauth_token("one"))
    add(run, "other", api_key("two"))
    heading, *rows = run("credentials", "list").out.splitlines()
    assert heading.split() == ["Name", "Kind", "Ends", "in", "Stored", "State", "Last", "used", "Keys", "Id"]
    assert [row.split("  ")[0] for row in rows] == ["a [bold]name[/bold] :smile:", "other"]
    assert "Anthropic API key" in rows[1]
    assert "ready" in rows[1]


def test_a_replaced_token_keeps_its_name_and_id(run: Any) -> None:
    before = add(run, "main", oauth_token("one"))
    after = run("credentials", "replace", "main", "--json", stdin=api_key("two")).json
    assert (after["id"], after["kind"]) == (before["id"], "api_key")
    assert after["replaced_at"] is not None
    ran = run("credentials", "replace", "main", stdin=oauth_token("three"))
    assert ran.out == f"Replaced; this is now the OAuth token …{oauth_token('three')[-4:]} as 'main'.\n"
    assert "nobody" in run("credentials", "replace", "nobody", stdin=oauth_token("three")).failure


def test_a_credential_with_keys_is_removed_by_force_alone(run: Any) -> None:
    add(run, "main", oauth_token("one"))
    run("keys", "create", "program", "--credential", "main")
    assert "1 API key stands" in run("credentials", "remove", "main").failure
    assert run("credentials", "remove", "main", "--force", "--json").json["name"] == "main"
    assert run("credentials", "list", "--json").json == []
    (key,) = run("keys", "list", "--json").json
    assert key["revoked_at"] is not None
    add(run, "main", oauth_token("one"))
    assert run("credentials", "remove", "main").out.startswith("Removed the OAuth token")


# --- asking Anthropic -----------------------------------------------------------------------------------


@pytest.mark.policy("T5")
def test_a_token_is_tested_through_claude_code(run: Any, stand_in: StandIn, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ANTHROPIC_BASE_URL", stand_in.url)
    add(run, "main", oauth_token("good"))
    ran = run("credentials", "test", "main")
    assert (ran.status, ran.err) == (0, "")
    assert ran.out.startswith("Anthropic takes the OAuth token …")
    assert [request.account for request in stand_in.requests] == [oauth_token("good")]


def test_a_refused_token_is_remembered_until_it_works(
    run: Any, stand_in: StandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ANTHROPIC_BASE_URL", stand_in.url)
    add(run, "main", oauth_token("refused"))
    assert "refused" in run("credentials", "test", "main", "--json").failure
    assert "refused since" in run("credentials", "list").out
    run("credentials", "replace", "main", stdin=oauth_token("good"))
    assert run("credentials", "test", "main", "--json").json["refused_at"] is None
    assert "ready" in run("credentials", "list").out


def test_a_credential_that_is_not_there_cannot_be_tested(run: Any) -> None:
    assert run("credentials", "test", "nobody").failure == "There is no credential 'nobody'."


# --- at a terminal --------------------------------------------------------------------------------------


@pytest.mark.policy("T1")
def test_a_terminal_is_asked_without_echo(tmp_path: Path) -> None:
    token = oauth_token("typed")
    status, out, shown = at_a_terminal(["credentials", "add", "main"], tmp_path, {"Token": token})
    assert (status, out) == (0, f"Stored the OAuth token …{token[-4:]} as 'main'.\n")
    assert "Token (not shown): " in shown
    assert token[13:] not in shown


class Terminal:
    """A standard stream that is a terminal."""

    def isatty(self) -> bool:
        return True


def test_nothing_typed_and_an_early_end_are_failures(monkeypatch: pytest.MonkeyPatch) -> None:
    def end(*_: object, **__: object) -> str:
        raise EOFError

    monkeypatch.setattr(sys, "stdin", Terminal())
    monkeypatch.setattr(getpass, "getpass", end)
    with pytest.raises(OperatorFailure, match="No token"):
        output.read_token()


def test_a_terminal_that_cannot_hide_what_is_typed_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    def warn(*_: object, **__: object) -> str:
        import warnings

        warnings.warn("Can not control echo on the terminal.", getpass.GetPassWarning, stacklevel=1)
        return "shown to everybody"

    monkeypatch.setattr(sys, "stdin", Terminal())
    monkeypatch.setattr(getpass, "getpass", warn)
    with pytest.raises(OperatorFailure, match="cannot hide"):
        output.read_token()


def test_a_credential_gets_another_name_and_keeps_its_keys(run: Any) -> None:
    for name in ("main", "other"):
        run("credentials", "add", name, stdin=oauth_token(name))
    run("keys", "create", "program", "--credential", "main")
    assert "as 'ours'" in run("credentials", "rename", "main", "ours").out
    assert {each["name"]: each["keys"] for each in run("credentials", "list", "--json").json} == {
        "ours": ["program"], "other": [],
    }  # fmt: skip
    assert "'other' already" in run("credentials", "rename", "ours", "other").failure
