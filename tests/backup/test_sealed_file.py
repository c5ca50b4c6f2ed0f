"""The file of a backup: it opens as it was written, or not at all."""

from __future__ import annotations

import io
import secrets
from datetime import UTC, datetime

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from claude_code_api.backup import sealed_file
from claude_code_api.backup.sealed_file import CHUNK, MAGIC, TAG_BYTES, Head, Reader, Writer, read_head
from claude_code_api.errors import OperatorFailure, VaultFailure

pytestmark = pytest.mark.policy("D4")

KEY = secrets.token_bytes(32)
HEAD = Head(
    id="backup_1", made_at=datetime(2026, 11, 25, tzinfo=UTC), release="0.1.0", database="0005",
    master_keys=["00112233aabbccdd"], key=b"sealed",
)  # fmt: skip
BEFORE = len(MAGIC) + 4 + len(msgspec.json.encode(HEAD))


def written(*parts: bytes, key: bytes = KEY) -> bytes:
    file = io.BytesIO()
    writer = Writer(file, HEAD, key)
    for part in parts:
        writer.write(part)
    writer.end()
    assert writer.size == len(file.getvalue())
    return file.getvalue()


def opened(content: bytes, *, size: int = 10_000) -> bytes:
    """All of the contents, read in pieces; nothing where something is wrong with the last of them."""
    file = io.BytesIO(content)
    _, before = read_head(file)
    reader = Reader(file, before, KEY)
    return b"".join(iter(lambda: reader.read(size), b""))


@pytest.mark.parametrize("length", [0, 1, CHUNK - 1, CHUNK, CHUNK + 1, 2 * CHUNK, 3 * CHUNK + 17])
def test_what_was_written_is_read(length: int) -> None:
    content = secrets.token_bytes(length)
    sealed = written(content)
    assert opened(sealed) == content
    chunks = max(1, -(-length // CHUNK))
    assert len(sealed) == BEFORE + length + chunks * TAG_BYTES


@settings(deadline=None, max_examples=30)
@given(st.lists(st.integers(0, 2 * CHUNK), max_size=5), st.integers(500, 2 * CHUNK))
def test_it_does_not_matter_in_which_pieces(pieces: list[int], size: int) -> None:
    parts = [bytes([number]) * length for number, length in enumerate(pieces)]
    assert opened(written(*parts), size=size) == b"".join(parts)


def test_every_flipped_byte_is_found() -> None:
    sealed = written(b"some contents")
    for position in range(len(sealed)):
        for bit in (1, 128):
            changed = bytearray(sealed)
            changed[position] ^= bit
            with pytest.raises(OperatorFailure):
                opened(bytes(changed))


def test_every_cut_is_found_and_so_is_what_was_added() -> None:
    sealed = written(b"some contents")
    for length in range(len(sealed)):
        with pytest.raises(OperatorFailure):
            opened(sealed[:length])
    for added in (b"\0", bytes(CHUNK), sealed[BEFORE:]):
        with pytest.raises(VaultFailure):
            opened(sealed + added)


def test_chunks_keep_their_order_their_number_and_their_file(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sealed_file, "CHUNK", 64)
    contents = [bytes([letter]) * 64 for letter in b"abcd"]
    sealed = written(*contents)
    assert opened(sealed) == b"".join(contents)
    before, size = sealed[:BEFORE], 64 + TAG_BYTES
    a, b, c, d = (sealed[BEFORE + n * size : BEFORE + (n + 1) * size] for n in range(4))
    other = written(*contents, key=secrets.token_bytes(32))[BEFORE : BEFORE + size]
    for wrong in ([b, a, c, d], [a, b, c], [a, b], [a, b, d], [a, c, d], [a, b, c, c, d], [d], [], [other, b, c, d]):
        with pytest.raises(VaultFailure):
            opened(before + b"".join(wrong))


def test_nothing_is_read_that_was_not_proved(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sealed_file, "CHUNK", 64)
    sealed = bytearray(written(b"a" * 64, b"b" * 64))
    sealed[-1] ^= 1
    file = io.BytesIO(sealed)
    _, before = read_head(file)
    reader = Reader(file, before, KEY)
    assert reader.read(64) == b"a" * 64
    with pytest.raises(VaultFailure):
        reader.read(1)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "no backup of Claude Code API"),
        (b"SQLite format 3\0" + bytes(100), "no backup of Claude Code API"),
        (b"claude-code-api backup 2\n" + bytes(100), "a newer release made"),
        (MAGIC, "damaged"),
        (MAGIC + b"\xff\xff\xff\xff" + bytes(100_000), "damaged"),
        (MAGIC + b"\0\0\0\x02{}", "damaged"),
    ],
)
def test_what_is_no_backup_is_told_so(content: bytes, message: str) -> None:
    with pytest.raises(OperatorFailure, match=message):
        read_head(io.BytesIO(content))


def test_it_takes_no_more_memory_than_some_chunks() -> None:
    import tracemalloc

    class Nowhere(io.RawIOBase):
        def write(self, content: object) -> int:
            return len(content)  # type: ignore[arg-type]

    tracemalloc.start()
    writer = Writer(Nowhere(), HEAD, KEY)  # type: ignore[arg-type]
    part = bytes(CHUNK)
    for _ in range(400):
        writer.write(part)
    writer.end()
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert writer.size > 25 * 2**20
    assert peak < 2 * 2**20
