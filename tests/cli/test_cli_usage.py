"""The command line as a whole: statuses, help, one line for what fails, and no secret in any of it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.main import get_command

from claude_code_api import __version__
from claude_code_api.cli import app
from claude_code_api.cli import keys as keys_module
from claude_code_api.stand_in import oauth_token

COMMANDS = [
    ["serve"], ["demo"], ["doctor"], ["import"], ["backup"], ["restore"],
    *(["admin", name] for name in ("list", "set-password", "add", "remove", "set-role", "reset-second-factor")),
    *(["admin", "tokens", name] for name in ("create", "list", "revoke")),
    *(["admin", "sessions", name] for name in ("list", "end")),
    *(["audit", name] for name in ("list", "export", "verify")),
    *(["credentials", name] for name in ("add", "list", "test", "replace", "rename", "remove")),
    *(["keys", name] for name in ("create", "list", "show", "change", "revoke", "rotate")),
    *(["usage", name] for name in ("export", "erase", "rebuild")),
    ["vault", "rotate"],
]  # fmt: skip
every_command = pytest.mark.parametrize("command", COMMANDS, ids=" ".join)


def test_every_command_is_there() -> None:
    def below(command: Any, *words: str) -> list[list[str]]:
        if not hasattr(command, "commands"):
            return [list(words)]
        return [each for name, inner in command.commands.items() for each in below(inner, *words, name)]

    assert sorted(below(get_command(app))) == sorted(COMMANDS)


@every_command
def test_the_help_of_every_command_shows_an_example_and_its_options(run_bare: Any, command: list[str]) -> None:
    ran = run_bare(*command, "--help")
    assert (ran.status, ran.err) == (0, "")
    assert f"Example: claude-code-api {' '.join(command)}" in ran.out
    if command != ["demo"]:
        assert "--data-dir" in ran.out
    assert ("--json" in ran.out) is (command not in (["serve"], ["demo"]))


@pytest.mark.parametrize("command", [[], ["keys"], ["credentials"]], ids=" ".join)
def test_no_command_prints_help_and_is_wrong_usage(run_bare: Any, command: list[str]) -> None:
    ran = run_bare(*command)
    assert ran.status == 2
    assert "Usage:" in ran.out
    assert ran.out.strip() == run_bare(*command, "--help").out.strip()


@pytest.mark.parametrize(
    "arguments",
    [["nope"], ["keys", "nope"], ["--nope"], ["keys", "list", "--nope"], ["keys", "create", "x"],
     ["keys", "revoke"], ["keys", "list", "more"], ["keys", "create", "x", "--credential", "c", "--expires", "soon"]],
    ids=" ".join,
)  # fmt: skip
def test_wrong_usage_is_status_2_and_says_how_it_goes(run_bare: Any, arguments: list[str]) -> None:
    ran = run_bare(*arguments)
    assert (ran.status, ran.out) == (2, "")
    assert ran.err.startswith("Usage: claude-code-api")
    assert ran.err.splitlines()[-1].startswith("Error: ")


@pytest.mark.policy("T1")
@pytest.mark.parametrize(
    "arguments",
    [["credentials", "add", "TOKEN"], ["credentials", "add", "main", "TOKEN"], ["credentials", "TOKEN"], ["TOKEN"],
     ["credentials", "replace", "TOKEN"], ["keys", "list", "--TOKEN"], ["keys", "list", "--token=TOKEN"],
     ["keys", "create", "x", "--credential", "c", "--expires", "TOKEN"], ["credentials", "add", "\x1b[2JTOKEN"]],
    ids=" ".join,
)  # fmt: skip
def test_a_token_in_an_argument_is_refused_and_never_repeated(run_bare: Any, arguments: list[str]) -> None:
    token = oauth_token("argument")
    ran = run_bare(*(word.replace("TOKEN", token) for word in arguments))
    assert ran.status == 2
    assert token[13:] not in ran.out + ran.err
    assert "\x1b" not in ran.err


def test_a_token_as_a_name_is_told_where_tokens_belong(run_bare: Any) -> None:
    assert "standard input" in run_bare("credentials", "add", oauth_token("argument")).err


def test_the_version(run_bare: Any) -> None:
    ran = run_bare("--version")
    assert (ran.status, ran.out, ran.err) == (0, f"claude-code-api {__version__}\n", "")


# --- failures -------------------------------------------------------------------------------------------


def test_a_wrong_setting_is_one_line(run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PORT", "99999")
    assert run("keys", "list").failure == "The setting port is '99999': it must be a whole number from 0 to 65535."


@pytest.mark.parametrize("command", [["keys", "list"], ["credentials", "list"], ["serve"]], ids=" ".join)
def test_a_data_directory_whose_path_is_no_text_is_one_line(run_bare: Any, tmp_path: Path, command: list[str]) -> None:
    ran = run_bare(*command, "--data-dir", os.fsdecode(bytes(tmp_path / "data") + b"\xff"))
    assert ran.failure == "The path of the data directory, or another one given here, is not UTF-8."


def break_output(monkeypatch: pytest.MonkeyPatch, fault: Exception) -> None:
    def fail(_: object) -> None:
        raise fault

    monkeypatch.setattr(keys_module, "print_json", fail)


@pytest.mark.policy("T1")
def test_an_unexpected_failure_is_one_line_without_secrets(run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    break_output(monkeypatch, RuntimeError(f"first\nsecond {oauth_token('x')}\x1b[31m"))
    failure = run("keys", "list", "--json").failure
    assert (
        failure == r"Unexpected failure: RuntimeError: first\nsecond [redacted]\x1b[31m (LOG_LEVEL=debug shows where)"
    )


@pytest.mark.policy("T4")
def test_debugging_shows_the_traceback_of_an_unexpected_failure(run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    break_output(monkeypatch, RuntimeError(f"first {oauth_token('x')}"))
    monkeypatch.setenv("LOG_LEVEL", "debug")
    ran = run("keys", "list", "--json")
    assert ran.status == 1
    assert "  | Traceback (most recent call last):" in ran.err
    assert ran.err.splitlines()[-1] == "Unexpected failure: RuntimeError: first [redacted]"
    assert oauth_token("x")[13:] not in ran.err


def test_an_unexpected_failure_beside_a_wrong_setting_is_one_line_too(
    run: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    break_output(monkeypatch, RuntimeError("first"))

    def fail(*_: object) -> None:
        monkeypatch.setenv("PORT", "wrong")
        raise RuntimeError("first")

    monkeypatch.setattr(keys_module, "print_json", fail)
    assert run("keys", "list", "--json").failure.startswith("Unexpected failure: RuntimeError: first")


def test_what_cannot_be_printed_is_no_fault_of_a_path(run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    break_output(monkeypatch, UnicodeEncodeError("ascii", "é", 0, 1, "ordinal not in range"))
    assert run("keys", "list", "--json").failure.startswith("Unexpected failure: UnicodeEncodeError")


def test_giving_up_is_one_line(run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def give_up(_: object) -> None:
        raise typer.Abort

    monkeypatch.setattr(keys_module, "print_json", give_up)
    assert run("keys", "list", "--json").failure == "Aborted."


def test_an_interrupt_ends_with_the_status_that_shells_expect(run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(keys_module, "print_json", interrupt)
    assert run("keys", "list", "--json").status == 130


# --- as a real process ----------------------------------------------------------------------------------


def test_the_module_is_the_command_and_help_loads_nothing_heavy(tmp_path: Path) -> None:
    root = Path(__file__).parents[2]
    ran = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "claude_code_api", "--help"],
        env={**os.environ, "PYTHONPATH": str(root)}, cwd=tmp_path, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert "Usage: claude-code-api" in ran.stdout
    loaded = {line.rpartition("|")[2].strip() for line in ran.stderr.splitlines()}
    assert "typer" in loaded
    assert loaded & {"claude_agent_sdk", "sqlalchemy", "aiohttp", "cryptography", "openai", "uvicorn"} == set()
    assert "prometheus_client" not in loaded
