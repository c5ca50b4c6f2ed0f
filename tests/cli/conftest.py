"""The command line, run in this process on a real data directory."""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from logging_state import logging_restored

from claude_code_api.cli import main


class Ran(msgspec.Struct, frozen=True):
    """What a command left: its exit status, standard output and standard error."""

    status: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """The one document on standard output."""
        assert self.status == 0, self.err
        return json.loads(self.out)

    @property
    def failure(self) -> str:
        """The one line of a command that failed."""
        assert (self.status, self.out) == (1, "")
        assert self.err.endswith("\n")
        (line,) = self.err.splitlines()
        return line


Run = Callable[..., Ran]


@pytest.fixture
def run_bare(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Iterator[Run]:
    """Runs `claude-code-api` with these arguments, in an empty working directory."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments: str, stdin: str | bytes = "") -> Ran:
        given = stdin.encode() if isinstance(stdin, str) else stdin
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(given), encoding="utf-8"))
        monkeypatch.setattr(sys, "argv", ["claude-code-api", *arguments])
        with pytest.raises(SystemExit) as ended:
            main()
        said = capsys.readouterr()
        assert isinstance(ended.value.code, int)
        return Ran(ended.value.code, said.out, said.err)

    with logging_restored():
        yield run


@pytest.fixture
def run(run_bare: Run, data_dir: Path) -> Run:
    """The same, on the test's data directory."""

    def run(*arguments: str, stdin: str | bytes = "") -> Ran:
        return run_bare(*arguments, "--data-dir", str(data_dir), stdin=stdin)

    return run
