"""The journal: one line for each request, appended before its answer ends.

It consists of segments. Each has one writer, which holds a lock on it as long as it lives, and appends a line as one
write. A line that was written survives the end of the process, `kill -9` too; it does not survive a power cut, since
nothing waits for the disk. A segment is short-lived: about once a second a new one is begun, and the old one goes
into the database and is deleted. What a process that was killed leaves is taken over by whoever finds it unlocked.
"""

from __future__ import annotations

import errno
import fcntl
import os
import secrets
import zlib
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Self

import msgspec

from claude_code_api.storage.data_directory import exclusive
from claude_code_api.usage.record import Record

LONGEST = 64 * 1024
"""Bytes of a line that is read; ours have some hundred."""

_decoder = msgspec.json.Decoder(Record)
_encoder = msgspec.json.Encoder()


class Segment:
    """A file of lines that this process has locked: its own to write, or one that it took over.

    `size` counts the bytes of whole lines.
    """

    def __init__(self, path: Path, descriptor: int) -> None:
        self.path = path
        self.size = os.fstat(descriptor).st_size
        self._descriptor = descriptor

    @classmethod
    def create(cls, directory: Path) -> Self:
        """A new, empty one. OSError where there is no room."""
        with exclusive(directory / "lock"):  # nobody may find it before it is locked
            path = directory / f"{secrets.token_hex(8)}.journal"
            descriptor = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            return cls(path, descriptor)

    @classmethod
    def left_over(cls, directory: Path) -> list[Self]:
        """Those whose writers are gone, now locked by us."""
        found = []
        with exclusive(directory / "lock"):
            for path in sorted(directory.glob("*.journal")):
                descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
                try:
                    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:
                    os.close(descriptor)
                else:
                    found.append(cls(path, descriptor))
        return found

    def append(self, line: bytes) -> None:
        """The whole line in one write, or nothing of it and an OSError."""
        written = os.write(self._descriptor, line)
        if written < len(line):
            os.ftruncate(self._descriptor, self.size)
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        self.size += written

    def batches(self, most: int) -> Iterator[tuple[list[Record], int]]:
        """The records in groups of at most so many, each with the number of lines among them that say nothing.

        The last line of a process that was killed in mid-write is one of those.
        """
        records: list[Record] = []
        corrupt = 0
        with os.fdopen(os.dup(self._descriptor), "rb") as file:
            file.seek(0)
            while line := file.readline(LONGEST):
                record = decode(line)
                if record is None:
                    corrupt += 1
                else:
                    records.append(record)
                if len(records) == most:
                    yield records, corrupt
                    records, corrupt = [], 0
        if records or corrupt:
            yield records, corrupt

    def remove(self) -> None:
        """Deletes it; its lines are in the database. The lock is held to the end, so nobody reads it twice."""
        self.path.unlink(missing_ok=True)
        os.close(self._descriptor)

    def leave(self) -> None:
        """Lets go of it, for whoever comes next."""
        os.close(self._descriptor)


def written_lines(directory: Path) -> list[bytes]:
    """The whole lines of each segment that is there, whoever writes it; one that vanishes meanwhile is folded."""
    found = []
    for path in sorted(directory.glob("*.journal")):
        with suppress(FileNotFoundError):
            content = path.read_bytes()
            found.append(content[: content.rfind(b"\n") + 1])
    return [lines for lines in found if lines]


def encode(record: Record) -> bytes:
    """`CRC JSON` and a line feed; the checksum tells a torn or changed line from a whole one."""
    body = _encoder.encode(record)
    return b"%08x %b\n" % (zlib.crc32(body), body)


def decode(line: bytes) -> Record | None:
    """The record of a whole line, None for any other."""
    checksum, space, body = line[:8], line[8:9], line[9:-1]
    if space != b" " or line[-1:] != b"\n" or checksum != b"%08x" % zlib.crc32(body):
        return None
    try:
        return _decoder.decode(body)
    except msgspec.DecodeError:
        return None
