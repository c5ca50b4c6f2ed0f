"""A backup is made: while the gateway serves, and without a second pair of eyes on the master key.

Whatever a client was answered before it began is in it: what had reached the database by a consistent copy, what had
not by the lines of the usage journal, which are read first. Lines that are in both count once.
"""

from __future__ import annotations

import asyncio
import os
import shutil
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO

import msgspec
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from sqlalchemy import URL, create_engine, select

from claude_code_api import __version__
from claude_code_api.access import Access
from claude_code_api.access.names import COMMAND_LINE, new_id
from claude_code_api.access.stored_vault import PEPPER, key_of, sealed_columns
from claude_code_api.backup import contents
from claude_code_api.backup.sealed_file import MAGIC, Head, Writer
from claude_code_api.engines.claude_code.identities import identities
from claude_code_api.errors import StorageFailure
from claude_code_api.settings import Settings
from claude_code_api.storage.changeover import COMING
from claude_code_api.storage.data_directory import DataDirectory
from claude_code_api.storage.database import sqlite_file
from claude_code_api.storage.migrations import HEAD
from claude_code_api.storage.tables import vault_records
from claude_code_api.usage.journal import written_lines
from claude_code_api.usage.recorder import journal_directory

CHECKING = "checking"
SNAPSHOT = "snapshot.db"
"""The copy in the data directory, as private as the database, for as long as it takes to open it."""


class Backup(msgspec.Struct, frozen=True):
    """What was made: its id, size in bytes, and the ids of the master keys that it needs."""

    id: str
    made_at: datetime
    bytes: int
    master_keys: list[str]


async def back_up(settings: Settings, access: Access, file: BinaryIO) -> Backup:
    """Writes a backup to the file. One at a time in a data directory.

    StorageFailure where the database is not SQLite.
    """
    database_file(settings)
    with DataDirectory(settings.data_dir).backup_lock():
        parts = await asyncio.to_thread(_parts, settings, access)
        snapshot = settings.data_dir.absolute() / SNAPSHOT
        await asyncio.to_thread(snapshot.unlink, missing_ok=True)  # of a run that was killed
        try:
            await access.database.copy_to(snapshot)
            needed = await asyncio.to_thread(_keys_needed, snapshot)
            database = await asyncio.to_thread(snapshot.open, "rb")
        finally:
            await asyncio.to_thread(snapshot.unlink, missing_ok=True)  # what is open stays readable
        with closing(database):
            return await _write(access, file, parts, database, needed)


def database_file(settings: Settings) -> Path:
    """Of SQLite; a StorageFailure says what to do where the database is another one."""
    path = sqlite_file(settings.database)
    if path is None:
        raise StorageFailure(
            "The database of these settings is not SQLite; PostgreSQL has its own tools, `pg_dump` and `pg_restore`. "
            "Nothing was changed."
        )
    return path


async def note_made(access: Access, backup: Backup, by: str = COMMAND_LINE) -> None:
    """Into the audit log, once the file is whole."""
    await access.audit.note(by, "backup.made", backup.id, bytes=backup.bytes, master_key=backup.master_keys[0])


async def _write(
    access: Access, file: BinaryIO, parts: list[tuple[str, bytes]], database: BinaryIO, needed: list[bytes]
) -> Backup:
    key = AESGCM.generate_key(256)
    head = Head(
        id=new_id("backup"), made_at=datetime.now(UTC), release=__version__, database=HEAD,
        master_keys=[each.hex() for each in needed], key=b"",
    )  # fmt: skip
    head = msgspec.structs.replace(head, key=await access.vault.seal_under(needed[0], key, head.place))
    writer = Writer(file, head, key)
    await asyncio.to_thread(contents.pack, writer, parts, database)
    return Backup(head.id, head.made_at, writer.size, head.master_keys)


def _parts(settings: Settings, access: Access) -> list[tuple[str, bytes]]:
    """All but the database. Read before it is copied, so that it is not older than these are."""
    parts = []
    if anchor := access.audit.anchor_text():
        parts.append((contents.ANCHOR, anchor))
    parts.append((contents.IDENTITIES, msgspec.json.encode(identities(settings))))
    for number, lines in enumerate(written_lines(journal_directory(settings))):
        parts.append((f"{contents.JOURNAL}/{number:06}.journal", lines))
    return parts


def _keys_needed(snapshot: Path) -> list[bytes]:
    """The master keys that its records are under, the one in force first; two while a rotation is under way."""
    engine = create_engine(URL.create("sqlite", database=str(snapshot)))
    try:
        with engine.connect() as connection:
            current = connection.scalar(
                select(key_of(vault_records.c.secret)).where(vault_records.c.id == PEPPER.record)
            )
            if current is None:
                raise StorageFailure("There is nothing to back up yet.")
            found = [current]
            for _, column in sealed_columns():
                found += connection.scalars(select(key_of(column)).where(column.is_not(None)).distinct())
    finally:
        engine.dispose()
    return list(dict.fromkeys(found))


def tidy(directory: DataDirectory) -> None:
    """Removes copies that a killed backup or restore has left. For `serve`, which holds the server's lock."""
    shutil.rmtree(directory.path / COMING, ignore_errors=True)
    with suppress(StorageFailure), directory.backup_lock():  # one that works just now keeps its own
        (directory.path / SNAPSHOT).unlink(missing_ok=True)
        shutil.rmtree(directory.path / CHECKING, ignore_errors=True)


@contextmanager
def written_to(path: Path, *, replace: bool) -> Iterator[BinaryIO]:
    """A new private file, which gets its name when it is whole and durable.

    One that is there stays (FileExistsError), unless `replace` is asked for and it is a backup, too, or empty. OSError
    where it cannot be written.
    """
    if path.exists() and not (replace and _is_replaceable(path)):
        raise FileExistsError
    beside = path.with_name(f".{path.name}.{new_id('partial')}")
    descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        with open(descriptor, "wb") as file:
            yield file
            file.flush()
            os.fsync(descriptor)
        if replace:
            os.replace(beside, path)
        else:
            os.link(beside, path)  # which, unlike a renaming, never replaces a file
    finally:
        beside.unlink(missing_ok=True)
    directory = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)


def _is_replaceable(path: Path) -> bool:
    """Not the database itself, nor whatever else a slip of the hand may name."""
    with path.open("rb") as file:
        return file.read(len(MAGIC)) in (b"", MAGIC)
