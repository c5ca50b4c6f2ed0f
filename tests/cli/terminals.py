"""A command at a real terminal, which somebody types at."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path


def at_a_terminal(arguments: list[str], directory: Path, typed: Mapping[str, str]) -> tuple[int, str, str]:
    """Types each answer once its question is shown. Status, standard output, and all that the terminal showed."""
    root = Path(__file__).parents[2]
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "claude_code_api", *arguments],
        stdin=theirs, stdout=subprocess.PIPE, stderr=theirs, start_new_session=True, cwd=directory,
        env={**os.environ, "PYTHONPATH": str(root), "TERM": "dumb"},
    )  # fmt: skip
    os.close(theirs)
    shown = b""
    try:
        for question, answer in typed.items():
            while question.encode() not in shown:
                shown += os.read(ours, 1000)
            os.write(ours, answer.encode() + b"\n")
        assert process.stdout is not None
        out = process.stdout.read().decode()
        while True:
            try:
                shown += os.read(ours, 1000)
            except OSError:  # the other end is closed
                break
        return process.wait(), out, shown.decode()
    finally:
        process.kill()
        process.wait()
        os.close(ours)
        assert process.stdout is not None
        process.stdout.close()
