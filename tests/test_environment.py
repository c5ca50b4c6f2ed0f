"""Secrets leave the environment by starting again, and arrive whole; others learn nothing of them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from claude_code_api import environment
from claude_code_api.environment import HANDED_ON, inherited, start_again_without, variables, without
from claude_code_api.errors import OperatorFailure

pytestmark = pytest.mark.policy("T3")

STARTED = """
import json, os, sys
from claude_code_api import environment
before = os.getpid()
if {pipe} and hasattr(os, "memfd_create"):
    del os.memfd_create
environment.start_again_without({{"SECRET", "OTHER", "EMPTY", "MISSING"}})
given = dict(environment.variables())
print(json.dumps({{
    "pid": os.getpid(), "given": given, "again": dict(environment.variables()) == given, "argv": sys.argv,
    "environ": open("/proc/self/environ", "rb").read().decode(errors="surrogateescape"),
    "open": [os.readlink(f"/proc/self/fd/{{fd}}") for fd in os.listdir("/proc/self/fd") if int(fd) > 2
             and os.path.lexists(f"/proc/self/fd/{{fd}}")],
    "child": __import__("subprocess").run(
        [sys.executable, "-c", "import json; from claude_code_api import environment; "
         "print(json.dumps(dict(environment.variables())))"], capture_output=True, text=True).stdout,
}}))
"""


def started(*arguments: str, pipe: bool = False, **secrets: str | bytes) -> Any:
    """What a program that starts itself again tells of its second life."""
    given = {"PATH": os.environ["PATH"], "PYTHONPATH": str(Path(__file__).parents[1]), "KEPT": "a value", **secrets}
    process = subprocess.Popen(
        [sys.executable, "-c", STARTED.format(pipe=pipe), *arguments],
        env=given, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    output, errors = process.communicate(timeout=30)
    assert errors == b""
    told = json.loads(output)
    assert told["pid"] == process.pid
    return told


@pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="there is no /proc here")
@pytest.mark.parametrize("pipe", [False, True], ids=["memory file", "pipe"])
def test_the_process_stays_the_same_and_its_secrets_are_out_of_sight(pipe: bool) -> None:
    odd = b"\xff caf\xc3\xa9 \"'\n=x"
    told = started("--flag", "an argument", pipe=pipe, SECRET="canary" * 500, OTHER=odd, EMPTY="")
    assert told["given"]["SECRET"] == "canary" * 500
    assert os.fsencode(told["given"]["OTHER"]) == odd
    assert told["given"]["KEPT"] == "a value"
    assert not {"EMPTY", "MISSING", HANDED_ON} & told["given"].keys()
    assert told["argv"] == ["-c", "--flag", "an argument"]
    assert told["again"]
    assert "canary" not in told["environ"]
    assert "OTHER" not in told["environ"]
    assert "KEPT=a value" in told["environ"]
    assert not [name for name in told["open"] if "memfd" in name or "pipe" in name]


@pytest.mark.parametrize("pipe", [False, True], ids=["memory file", "pipe"])
def test_what_was_handed_on_is_read_once_and_then_gone(monkeypatch: pytest.MonkeyPatch, pipe: bool) -> None:
    if pipe:
        monkeypatch.delattr(os, "memfd_create", raising=False)
    descriptor = environment._memory_file(json.dumps({"SECRET": "canary"}).encode())
    assert os.get_inheritable(descriptor)
    monkeypatch.setenv(HANDED_ON, f"{os.getpid()}:{descriptor}")
    environment._handed_on.cache_clear()
    try:
        assert [variables()["SECRET"], variables()["SECRET"]] == ["canary", "canary"]
        assert not {"SECRET", HANDED_ON} & os.environ.keys()
        with pytest.raises(OSError, match="Bad file descriptor"):
            os.fstat(descriptor)
    finally:
        environment._handed_on.cache_clear()


def test_a_child_gets_none_of_them() -> None:
    told = started(SECRET="canary")
    child = json.loads(told["child"])
    assert child["KEPT"] == "a value"
    assert not {"SECRET", HANDED_ON} & child.keys()


def test_the_name_of_a_parents_memory_file_is_nothing_to_a_child(monkeypatch: pytest.MonkeyPatch) -> None:
    environment._handed_on.cache_clear()
    monkeypatch.setenv(HANDED_ON, f"{os.getppid()}:0")
    assert environment._handed_on() == {}
    assert HANDED_ON not in os.environ


def test_where_there_is_no_secret_nothing_is_started(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        pytest.fail("started again")

    monkeypatch.setattr(os, "execve", fail)
    monkeypatch.setenv("EMPTY", "")
    start_again_without({"EMPTY", "MISSING"})


def test_where_it_cannot_be_started_the_start_fails_and_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRET", "canary")
    monkeypatch.setattr(sys, "executable", "/nowhere/python")
    open_before = os.listdir("/proc/self/fd")
    with pytest.raises(OperatorFailure, match=r"cannot be started again .*No such file.*: SECRET_FILE\.") as failure:
        start_again_without({"SECRET"})
    assert "canary" not in failure.value.message
    assert os.listdir("/proc/self/fd") == open_before


def test_a_child_of_ours_inherits_where_things_are_and_no_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ANTHROPIC_API_KEY", "hidden")
    monkeypatch.setenv("LD_PRELOAD", "hidden")
    assert set(inherited()) <= {"PATH", "LANG", "LC_ALL", "TZ"}
    assert "PATH" in inherited()
    monkeypatch.setenv(HANDED_ON, "1:2")
    assert set(os.environ) - set(without({"ANTHROPIC_API_KEY"})) == {"ANTHROPIC_API_KEY", HANDED_ON}
