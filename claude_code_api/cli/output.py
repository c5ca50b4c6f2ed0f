"""What goes in and out at the terminal: tables or one JSON document, progress, and secrets that nobody sees."""

from __future__ import annotations

import getpass
import json
import sys
import threading
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import TYPE_CHECKING

from claude_code_api.errors import OperatorFailure
from claude_code_api.operations.printable import printable
from claude_code_api.secret import Secret

if TYPE_CHECKING:
    from rich.text import Text

PROGRESS_AFTER = 1.0
"""Seconds; what is done sooner shows no progress."""
LONGEST_SECRET = 10_000
"""Characters read from standard input; a token has some hundred."""
WIDEST = 1_000
"""Columns of a table that goes to a file or a pipe, where nothing is to be broken."""


def print_json(value: object) -> None:
    """One JSON document. Structs become objects, moments ISO 8601 in UTC."""
    import msgspec

    print(json.dumps(msgspec.to_builtins(value), indent=2))


def print_table(headings: Sequence[str], rows: Sequence[Sequence[str | Text]]) -> None:
    """Columns without lines; texts are shown as they are, never as markup."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console(highlight=False, width=None if sys.stdout.isatty() else WIDEST)
    table = Table(*headings, box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    for row in rows:
        table.add_row(*(cell if isinstance(cell, Text) else Text(printable(cell)) for cell in row))
    console.print(table)


def shown(moment: datetime | None) -> str:
    return f"{moment:%Y-%m-%d %H:%M} UTC" if moment else "-"


@contextmanager
def progress(doing: str) -> Iterator[None]:
    """Shows that something is being done, once it has taken a second; only to a terminal."""
    if not sys.stderr.isatty():
        yield
        return
    from rich.console import Console

    status = Console(stderr=True).status(printable(doing))
    timer = threading.Timer(PROGRESS_AFTER, status.start)
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
        timer.join()  # it may be starting just now
        status.stop()


def read_token() -> Secret:
    """From standard input, or asked for without echo where that is a terminal. OperatorFailure where there is none."""
    text = _asked("Token") if sys.stdin.isatty() else _piped()
    if not text.strip():
        raise OperatorFailure("No token came on standard input.")
    return Secret(text.strip())


def read_password() -> Secret:
    """The same for a password, which is asked for twice."""
    if sys.stdin.isatty():
        text = _asked("New password")
        if text.strip() and _asked("Once more") != text:
            raise OperatorFailure("The two passwords differ; nothing was changed.")
    else:
        text = _piped()
    if not text.strip():
        raise OperatorFailure("No password came on standard input.")
    if len(text.strip().splitlines()) > 1:
        raise OperatorFailure("Standard input has more than one line; give the password alone.")
    return Secret(text)


def _piped() -> str:
    try:
        return sys.stdin.read(LONGEST_SECRET)
    except UnicodeDecodeError:
        raise OperatorFailure("What came on standard input is no text.") from None


def _asked(what: str) -> str:
    with warnings.catch_warnings():
        warnings.simplefilter("error", getpass.GetPassWarning)
        try:
            return getpass.getpass(f"{what} (not shown): ", stream=sys.stderr)
        except getpass.GetPassWarning:
            raise OperatorFailure("This terminal cannot hide what is typed; give it through a pipe.") from None
        except EOFError:
            return ""
