"""Text that stays on its line: no input can forge a log line, a table row or a terminal's colours (policy L3)."""

from __future__ import annotations


def printable(text: str) -> str:
    r"""The text with every character that is not printable written as an escape, such as `\n` or `\u202e`.

    That is each control character, line and paragraph separator, ANSI escape, bidirectional or invisible format
    character, lone surrogate and odd space; letters of every script stay.
    """
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text)
