"""Progress is for people who wait at a terminal, and for nobody else."""

from __future__ import annotations

import io
import sys
import threading

import pytest

from claude_code_api.cli import output


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_what_takes_long_shows_progress_at_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stderr", terminal := Terminal())
    monkeypatch.setattr(output, "PROGRESS_AFTER", 0.0)
    monkeypatch.setenv("TERM", "xterm")
    shown = threading.Event()

    def write(text: str) -> int:
        if "Asking" in text:
            shown.set()
        return io.StringIO.write(terminal, text)

    monkeypatch.setattr(terminal, "write", write)
    with output.progress("Asking\x1b Anthropic"):
        assert shown.wait(10)
    assert "\\x1b Anthropic" in terminal.getvalue()


def test_what_is_done_at_once_shows_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stderr", terminal := Terminal())
    with output.progress("Asking"):
        pass
    assert "Asking" not in terminal.getvalue()


def test_nothing_but_a_terminal_shows_progress(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stderr", pipe := io.StringIO())
    monkeypatch.setattr(output, "PROGRESS_AFTER", 0.0)
    threads = threading.active_count()
    with output.progress("Asking"):
        assert threading.active_count() == threads
    assert pipe.getvalue() == ""
