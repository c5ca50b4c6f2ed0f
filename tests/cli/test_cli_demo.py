from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import psutil
import pytest
from typer.testing import CliRunner

from claude_code_api.cli import app


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> tuple[subprocess.CompletedProcess[str], Path]:
    """The demo as a person runs it, with a credential in the environment that it must not use."""
    temporary = tmp_path_factory.mktemp("tmp")
    environment = {
        **os.environ,
        "TMPDIR": str(temporary),
        "CCAPI_PORT": "1",
        "ANTHROPIC_BASE_URL": "http://127.0.0.1:1",
    }
    done = subprocess.run(
        [sys.executable, "-m", "claude_code_api", "demo"],
        env=environment, capture_output=True, text=True, timeout=90,
    )  # fmt: skip
    return done, temporary


def test_the_demo_holds_a_chat_a_second_turn_a_question_with_an_image_and_a_tool_call(
    ran: tuple[subprocess.CompletedProcess[str], Path],
) -> None:
    done, _ = ran
    assert (done.returncode, done.stderr) == (0, "")
    assert "My name is Ada" in done.stdout
    assert 'the first says "My name is Ada' in done.stdout, "the second turn refers to the first"
    assert "64×64" in done.stdout, "the image reached the other side"
    assert '[calls temperature_in({"city":"Lisbon"})]' in done.stdout
    assert "It is 21 degrees in Lisbon." in done.stdout, "the tool's result was answered"
    assert done.stdout.count("first token") == 5


def test_the_demo_leaves_no_file_and_no_process_behind(ran: tuple[subprocess.CompletedProcess[str], Path]) -> None:
    _, temporary = ran
    assert list(temporary.iterdir()) == []
    assert not [found for found in psutil.process_iter(["environ"]) if str(temporary) in str(found.info["environ"])]


def test_without_the_openai_package_the_demo_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "openai", None)
    result = CliRunner().invoke(app, ["demo"])
    assert result.exit_code != 0
    assert "claude-code-api[demo]" in str(result.exception) + result.output
