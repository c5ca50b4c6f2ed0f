"""Text that stays on its line."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from claude_code_api.operations.printable import printable


@pytest.mark.policy("L3")
@given(st.text(st.characters()))
def test_nothing_unprintable_is_left_and_all_else_stays(text: str) -> None:
    shown = printable(text)
    assert shown.isprintable()
    assert len(shown.splitlines()) <= 1
    if text.isprintable():
        assert shown == text


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("Grüße, мир, 世界", "Grüße, мир, 世界"),
        ("a\r\nb\tc", r"a\r\nb\tc"),
        ("\x1b[31mred", r"\x1b[31mred"),
        ("a\u2028b\u2029c\x85d", r"a\u2028b\u2029c\x85d"),
        ("a\u202egpj.exe\u2066", r"a\u202egpj.exe\u2066"),
        ("\ud800", r"\ud800"),
        ("\U000e0001", r"\U000e0001"),
    ],
)
def test_unprintable_characters_are_written_as_escapes(text: str, shown: str) -> None:
    assert printable(text) == shown
