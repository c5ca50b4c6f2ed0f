"""Logs that a test can read."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator

import pytest
from logging_state import logging_restored

from claude_code_api.operations import logs

Logged = Callable[..., io.StringIO]


@pytest.fixture
def logged() -> Iterator[Logged]:
    """Configures logging to a text in memory."""

    def configure(level: str = "debug", format: str = "json") -> io.StringIO:  # noqa: A002
        stream = io.StringIO()
        logs.configure(level, format, stream)
        return stream

    with logging_restored():
        yield configure
