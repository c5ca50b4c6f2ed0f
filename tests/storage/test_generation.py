"""Every process sees at once that keys or credentials have changed."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

import claude_code_api
from claude_code_api.storage.generation import Generation

ADVANCE = """
import sys, pathlib
from claude_code_api.storage.generation import Generation
generation = Generation(pathlib.Path(sys.argv[1]))
for _ in range(int(sys.argv[2])):
    generation.advance()
generation.close()
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "generation"


@pytest.fixture
def generation(path: Path) -> Iterator[Generation]:
    generation = Generation(path)
    yield generation
    generation.close()


def start(path: Path, times: int) -> subprocess.Popen[bytes]:
    root = Path(claude_code_api.__file__).parents[1]
    return subprocess.Popen(
        [sys.executable, "-c", ADVANCE, str(path), str(times)], env={**os.environ, "PYTHONPATH": str(root)}
    )


def test_another_process_s_raise_is_seen_without_opening_anything(path: Path, generation: Generation) -> None:
    before = generation.current
    assert generation.current == before
    assert start(path, 1).wait() == 0
    assert generation.current == before + 1


def test_no_raise_is_lost_between_processes_and_threads(path: Path, generation: Generation) -> None:
    before = generation.current
    others = [start(path, 200) for _ in range(2)]
    with ThreadPoolExecutor(4) as threads:
        for _ in range(200):
            threads.submit(generation.advance)
    assert [other.wait() for other in others] == [0, 0]
    assert generation.current == before + 600


def test_it_stays_over_a_restart(path: Path, generation: Generation) -> None:
    generation.advance()
    again = Generation(path)
    assert again.current == generation.current
    again.close()


@pytest.mark.parametrize("loss", [os.unlink, lambda path: os.truncate(path, 3), lambda path: os.truncate(path, 0)])
def test_a_lost_or_cut_file_counts_as_a_change_and_is_made_anew(
    path: Path, generation: Generation, loss: object
) -> None:
    assert callable(loss)
    generation.advance()
    before = generation.current
    loss(path)
    after = generation.current
    assert after != before
    assert generation.current == after
    assert start(path, 1).wait() == 0
    assert generation.current == after + 1
    assert path.stat().st_size == 8


@pytest.mark.parametrize("loss", [os.unlink, lambda path: os.truncate(path, 0)])
def test_a_raise_after_a_loss_is_seen_too(path: Path, generation: Generation, loss: object) -> None:
    assert callable(loss)
    before = generation.current
    loss(path)
    assert start(path, 1).wait() == 0
    assert generation.current != before


def test_the_file_is_private(path: Path, generation: Generation) -> None:
    assert path.stat().st_mode & 0o777 == 0o600


def test_closed_it_leaves_alone_whoever_has_its_number_now(path: Path) -> None:
    generation = Generation(path)
    generation.close()
    pipes = [os.pipe() for _ in range(8)]
    with pytest.raises(OSError, match="Bad file descriptor"):
        _ = generation.current
    for descriptor in (end for pipe in pipes for end in pipe):
        os.close(descriptor)  # it is still open
