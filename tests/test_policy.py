"""Counts the security policy: every promise is stated in SECURITY.md, and is shown by a test or waits by name."""

from __future__ import annotations

import ast
import re
import warnings
from collections.abc import Iterator
from datetime import UTC, date, datetime
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
POLICY = (ROOT / "SECURITY.md").read_text(encoding="utf-8")

COUNTS = {"R": 2, "A": 5, "K": 5, "T": 6, "N": 5, "V": 3, "D": 6, "L": 6}
NUMBERS = [f"{letter}{number}" for letter, count in COUNTS.items() for number in range(1, count + 1)]

# What each number without a test waits for. The list only shrinks.
WAITING = {
    "R1": "containers and deployment: a configured contact, security.txt",
    "D1": "containers and deployment",
    "D3": "containers and deployment: bill of materials, audit, updates",
    "D5": "containers and deployment",
}

REVIEW_DAYS = 100


class ReviewDue(UserWarning):
    """The policy should be looked through again."""


# --- reading --------------------------------------------------------------------------------------------


def marks(source: str) -> Iterator[tuple[str, str]]:
    """Each policy number with the test that bears its mark: its own, its class's or its module's (`pytestmark`)."""
    yield from _marks(ast.parse(source).body, ())


def _marks(body: list[ast.stmt], outer: tuple[str, ...]) -> Iterator[tuple[str, str]]:
    inherited = (*outer, *(number for statement in body for number in _pytestmark(statement)))
    for statement in body:
        if isinstance(statement, ast.ClassDef) and statement.name.startswith("Test"):
            yield from _marks(statement.body, (*inherited, *_numbers(statement.decorator_list)))
        elif isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef) and statement.name.startswith("test_"):
            for number in (*inherited, *_numbers(statement.decorator_list)):
                yield number, statement.name


def _pytestmark(statement: ast.stmt) -> list[str]:
    if not isinstance(statement, ast.Assign) or ast.unparse(statement.targets[0]) != "pytestmark":
        return []
    value = statement.value
    return _numbers(value.elts if isinstance(value, ast.List | ast.Tuple) else [value])


def _numbers(decorators: list[ast.expr]) -> list[str]:
    calls = [mark for mark in decorators if isinstance(mark, ast.Call)]
    return [ast.literal_eval(call.args[0]) for call in calls if ast.unparse(call.func) == "pytest.mark.policy"]


@cache
def marked() -> dict[str, list[str]]:
    """The tests of each number that some test bears."""
    tests: dict[str, list[str]] = {}
    for path in sorted((ROOT / "tests").rglob("test_*.py")):
        for number, test in marks(path.read_text(encoding="utf-8")):
            tests.setdefault(number, []).append(f"{path.relative_to(ROOT)}::{test}")
    return tests


def rows(text: str) -> dict[str, list[str]]:
    """The rows of the policy's tables by number: promise, how it is kept, state."""
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines() if line[:1] == "|"]
    return {row[0]: row[1:] for row in cells if re.fullmatch(r"[A-Z]\d+", row[0])}


def warn_when_due(text: str, today: date) -> None:
    reviewed = date.fromisoformat(re.findall(r"^Reviewed: (\S+)", text, re.MULTILINE)[0])
    if (today - reviewed).days > REVIEW_DAYS:
        warnings.warn(f"SECURITY.md was reviewed on {reviewed}: review it again.", ReviewDue, stacklevel=2)


# --- the promises ---------------------------------------------------------------------------------------


def test_every_promise_is_stated_once_and_in_order() -> None:
    stated = re.findall(r"^\| ([A-Z]\d+) \|", POLICY, re.MULTILINE)
    assert stated == NUMBERS


@pytest.mark.parametrize("number", NUMBERS)
def test_a_promise_says_what_it_is_and_how_far_it_is_kept(number: str) -> None:
    promise, how, state = rows(POLICY)[number]
    assert promise.endswith(".")
    assert re.match(r"kept$|kept; |in part: |later$", state), state
    assert state == "later" or how


@pytest.mark.parametrize("number", NUMBERS)
def test_every_promise_has_a_test_or_waits_by_name(number: str) -> None:
    assert number in marked() or number in WAITING, f"{number} has no test, and does not stand in WAITING"


@pytest.mark.parametrize("number", WAITING)
def test_the_waiting_list_only_shrinks(number: str) -> None:
    assert number in NUMBERS
    assert number not in marked(), f"{number} has tests ({marked()[number]}): it no longer waits"
    assert not rows(POLICY)[number][-1].startswith("kept"), f"{number} waits, but SECURITY.md says that it is kept"


def test_what_does_not_wait_is_not_called_later() -> None:
    assert not [n for n in NUMBERS if n not in WAITING and rows(POLICY)[n][-1] == "later"]


def test_no_test_is_marked_with_an_unknown_number() -> None:
    assert set(marked()) <= set(NUMBERS)


@pytest.mark.policy("R2")
@pytest.mark.filterwarnings("default::test_policy.ReviewDue")
def test_the_policy_says_when_it_was_reviewed() -> None:
    warn_when_due(POLICY, datetime.now(UTC).date())


@pytest.mark.policy("R2")
def test_a_review_that_is_late_is_warned_of() -> None:
    with pytest.warns(ReviewDue, match="2026-01-01"):
        warn_when_due("# Security\n\nReviewed: 2026-01-01\n", date(2026, 4, 12))
    warn_when_due("# Security\n\nReviewed: 2026-01-01 (due again)\n", date(2026, 4, 11))


def test_marks_are_found_wherever_pytest_would_find_them() -> None:
    source = """
import pytest
pytestmark = [pytest.mark.contract, pytest.mark.policy("A1")]
def helper(): ...
@pytest.mark.policy("A2")
@pytest.mark.parametrize("x", [1])
async def test_one(x): ...
@pytest.mark.policy("A3")
class TestTwo:
    pytestmark = pytest.mark.policy("A4")
    def test_three(self): ...
@pytest.mark.policy("A5")
def not_a_test(): ...
"""
    assert sorted(marks(source)) == [
        ("A1", "test_one"), ("A1", "test_three"), ("A2", "test_one"), ("A3", "test_three"), ("A4", "test_three"),
    ]  # fmt: skip
