"""The journal's lines are whole or not there, and each segment has one owner."""

from __future__ import annotations

import os
import resource
import signal
import stat
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from records import record

from claude_code_api.usage.journal import Segment, decode, encode
from claude_code_api.usage.record import Record


@contextmanager
def files_no_longer_than(size: int) -> Iterator[None]:
    """As on a disk that is full: the rest of a write does not go in."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def read(segment: Segment) -> tuple[list[Record], int]:
    batches = list(segment.batches(500))
    return [record for batch, _ in batches for record in batch], sum(corrupt for _, corrupt in batches)


def test_what_was_appended_is_read_in_its_order_and_in_groups(journal: Path) -> None:
    segment = Segment.create(journal)
    written = [record() for _ in range(5)]
    for each in written:
        segment.append(encode(each))
    assert [batch for batch, _ in segment.batches(2)] == [written[:2], written[2:4], written[4:]]
    assert segment.size == segment.path.stat().st_size
    assert stat.S_IMODE(segment.path.stat().st_mode) == 0o600


@given(st.data())
def test_a_line_that_was_torn_or_changed_is_none(data: st.DataObject) -> None:
    line = encode(record(error="overloaded"))
    assert decode(line) is not None
    assert decode(line[: data.draw(st.integers(0, len(line) - 1))]) is None
    at, by = data.draw(st.integers(0, len(line) - 1)), data.draw(st.integers(1, 255))
    assert decode(line[:at] + bytes([line[at] ^ by]) + line[at + 1 :]) is None


@given(st.binary(max_size=200))
def test_what_is_no_line_at_all_is_none(line: bytes) -> None:
    assert decode(line) is None


def test_damaged_lines_are_left_out_and_counted_and_cost_no_other(journal: Path) -> None:
    segment = Segment.create(journal)
    first, last = record(), record()
    for line in (encode(first), b"nonsense\n", b"\n", b"\0" * 70_000 + b"\n", encode(last), encode(record())[:-9]):
        segment.append(line)
    records, damaged = read(segment)
    assert records == [first, last]
    assert damaged == 5  # the long one is looked at in two pieces


def test_a_disk_that_fills_up_leaves_no_half_line(journal: Path) -> None:
    segment = Segment.create(journal)
    first, second, third = record(), record(), record()
    segment.append(encode(first))
    for room in (0, 1, 100):
        with files_no_longer_than(segment.size + room), pytest.raises(OSError, match=r"too large|No space"):
            segment.append(encode(second))
    segment.append(encode(third))
    assert read(segment) == ([first, third], 0)


def test_a_segment_is_taken_over_when_its_writer_is_gone_and_never_before(journal: Path) -> None:
    mine = Segment.create(journal)
    writer = subprocess.Popen(
        [sys.executable, "-c", WRITER, str(journal), encode(record(request_id="req_other")).decode()],
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
        stdout=subprocess.PIPE,
    )
    assert writer.stdout
    with writer, writer.stdout:
        assert writer.stdout.readline() == b"written\n"
        assert Segment.left_over(journal) == []
        writer.send_signal(signal.SIGKILL)
        writer.wait()
    (left,) = Segment.left_over(journal)
    assert [each.request_id for each in read(left)[0]] == ["req_other"]
    assert Segment.left_over(journal) == []  # it is ours now
    left.leave()
    (again,) = Segment.left_over(journal)
    again.remove()
    assert [path.name for path in journal.glob("*.journal")] == [mine.path.name]


WRITER = """
import pathlib, sys, time
from claude_code_api.usage.journal import Segment
Segment.create(pathlib.Path(sys.argv[1])).append(sys.argv[2].encode())
print("written", flush=True)
time.sleep(60)
"""
