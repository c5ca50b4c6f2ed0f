"""Comma-separated values (RFC 4180) that do nothing in a program which opens them as a sheet."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable
from typing import Any

FORMULA = ("=", "+", "-", "@", "\t", "\r")
"""What a text begins with that a spreadsheet takes for a formula (OWASP, "CSV Injection")."""


def csv_line(values: Iterable[Any]) -> str:
    """With its end of line. A text that would be a formula begins with an apostrophe; numbers stay as they are."""
    line = io.StringIO()
    csv.writer(line).writerow([_harmless(value) for value in values])
    return line.getvalue()


def _harmless(value: Any) -> Any:
    return f"'{value}" if isinstance(value, str) and value.startswith(FORMULA) else value
