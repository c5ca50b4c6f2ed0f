"""What is in a backup: the database, and beside it what belongs to it, as a tar archive.

- `audit.anchor`, which proves that the audit log had not been cut off;
- `identities.json`, the device identity of each credential;
- `usage/…`, lines of the usage journal that had not reached the database;
- `gateway.db`, the database as of one moment.

No master key, no certificate, no log, no scratch file of Claude Code's.
"""

from __future__ import annotations

import io
import os
import shutil
import tarfile
from collections.abc import Iterable
from pathlib import Path
from typing import IO, BinaryIO, cast

import msgspec

from claude_code_api.backup.sealed_file import DAMAGED, Reader, Writer
from claude_code_api.errors import VaultFailure

DATABASE = "gateway.db"
ANCHOR = "audit.anchor"
IDENTITIES = "identities.json"
JOURNAL = "usage"


def pack(writer: Writer, parts: Iterable[tuple[str, bytes]], database: BinaryIO) -> None:
    """Parts by name, and the database, which takes no memory."""
    with tarfile.open(fileobj=cast("IO[bytes]", writer), mode="w|") as archive:
        for name, content in parts:
            _add(archive, name, len(content), io.BytesIO(content))
        _add(archive, DATABASE, os.fstat(database.fileno()).st_size, database)
    writer.end()


def unpack(reader: Reader, directory: Path) -> None:
    """All of it into an empty private directory. VaultFailure where it is not whole, with some of it there."""
    (directory / JOURNAL).mkdir(mode=0o700)
    try:
        with tarfile.open(fileobj=cast("IO[bytes]", reader), mode="r|") as archive:
            for member in archive:
                path = _place(member.name, directory) if member.isfile() else None
                if path and (content := archive.extractfile(member)):
                    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
                    with open(descriptor, "wb") as file:
                        shutil.copyfileobj(content, file)
        reader.finish()
    except tarfile.TarError:
        raise VaultFailure(DAMAGED) from None
    if not (directory / DATABASE).exists():
        raise VaultFailure(DAMAGED)


def identities_in(directory: Path) -> dict[str, str]:
    """The device identities that were unpacked, by their credentials' ids."""
    path = directory / IDENTITIES
    return msgspec.json.decode(path.read_bytes(), type=dict[str, str]) if path.exists() else {}


def _add(archive: tarfile.TarFile, name: str, size: int, content: BinaryIO) -> None:
    member = tarfile.TarInfo(name)
    member.size, member.mode = size, 0o600
    archive.addfile(member, content)


def _place(name: str, directory: Path) -> Path | None:
    """Where a part goes; nowhere if it is one that this release does not know."""
    first, _, rest = name.partition("/")
    if name in {DATABASE, ANCHOR, IDENTITIES}:
        return directory / name
    is_journal = first == JOURNAL and rest.endswith(".journal") and "/" not in rest
    return directory / first / rest if is_journal else None
