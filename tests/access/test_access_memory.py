"""What is remembered is bounded, and never older than the last change."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from claude_code_api.access.memory import Memory
from claude_code_api.storage.generation import Generation


@pytest.fixture
def generation(tmp_path: Path) -> Iterator[Generation]:
    generation = Generation(tmp_path / "generation")
    yield generation
    generation.close()


def test_a_change_empties_it(generation: Generation) -> None:
    memory: Memory[str, int] = Memory(generation, 3)
    memory.put("a", 1, memory.now())
    assert memory.get("a") == 1
    generation.advance()
    assert memory.get("a") is None


def test_what_was_read_before_a_change_is_not_remembered_after_it(generation: Generation) -> None:
    memory: Memory[str, int] = Memory(generation, 3)
    read_at = memory.now()
    generation.advance()
    memory.put("a", 1, read_at)
    assert memory.get("a") is None


def test_the_least_recently_used_leaves_first(generation: Generation) -> None:
    memory: Memory[str, int] = Memory(generation, 2)
    memory.put("a", 1, memory.now())
    memory.put("b", 2, memory.now())
    memory.get("a")
    memory.put("c", 3, memory.now())
    assert [memory.get(key) for key in "abc"] == [1, None, 3]
