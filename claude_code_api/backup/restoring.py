"""A backup is put in place, or only looked through. Everything is checked before anything is touched.

The database is unpacked beside the one that is there, proved, migrated, given the lines of the journal and an entry in
its audit log, and only then takes its place (`storage.changeover`).
"""

from __future__ import annotations

import asyncio
import shutil
import sqlite3
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO

import msgspec
from sqlalchemy import URL, create_engine, delete, func, select
from sqlalchemy.exc import SQLAlchemyError

from claude_code_api.access import Access
from claude_code_api.access.key_sources import key_source
from claude_code_api.access.master_key import Keyring
from claude_code_api.access.names import COMMAND_LINE
from claude_code_api.access.own_secrets import open_vault
from claude_code_api.access.vault import Vault
from claude_code_api.audit import AuditLog
from claude_code_api.audit.anchor import Anchor
from claude_code_api.audit.chain import NOTHING, RESTORED, Chain, Entry, Fault
from claude_code_api.backup import contents
from claude_code_api.backup.making import CHECKING, database_file
from claude_code_api.backup.sealed_file import DAMAGED, Head, Reader, read_head
from claude_code_api.engines.claude_code.identities import lay_out
from claude_code_api.errors import StorageFailure, VaultFailure
from claude_code_api.secret import Secret
from claude_code_api.settings import Settings
from claude_code_api.storage import changeover
from claude_code_api.storage.changeover import Move
from claude_code_api.storage.data_directory import DataDirectory
from claude_code_api.storage.database import Database
from claude_code_api.storage.tables import (
    admin_sessions,
    api_keys,
    audit_entries,
    credentials,
    invitations,
    setup_links,
)
from claude_code_api.usage.fold import fold
from claude_code_api.usage.journal import Segment

HOMES = "claude"


class Restored(msgspec.Struct, frozen=True, kw_only=True):
    """What is in a backup, and what became of what was there before.

    `lost_entries` are the first and the last number of the audit log's that it lacks; `faults` are what is wrong with
    the log in it; `moved_aside` is where the database lies that was there.
    """

    id: str
    made_at: datetime
    keys: int
    credentials: int
    audit_entries: int
    faults: list[Fault]
    lost_entries: list[int] | None = None
    moved_aside: str | None = None


def restore(settings: Settings, file: BinaryIO, by: str = COMMAND_LINE) -> Restored:
    """Puts the backup in place. VaultFailure or StorageFailure says why it cannot be; then nothing was changed.

    A StorageFailure where a server runs on the data directory, or another command uses the database.
    """
    database = database_file(settings)
    head, reader = _opened(settings, file)
    directory = DataDirectory(settings.data_dir)
    with directory.server_lock():
        coming = changeover.empty_directory(directory.path / changeover.COMING)
        try:
            found = _unpacked(settings, head, reader, coming)
            with changeover.database_alone(directory.path, database):
                moves, lost = _moves(settings, head, coming, database, by)
                changeover.decide(directory.path, moves)
        finally:
            shutil.rmtree(coming, ignore_errors=True)
    aside = moves[0].aside if moves[0].aside and Path(moves[0].aside).exists() else None
    return msgspec.structs.replace(found, lost_entries=lost, moved_aside=aside)


def check(settings: Settings, file: BinaryIO) -> Restored:
    """Unpacks and proves it as `restore` does, also while a server runs, and leaves nothing of it behind."""
    head, reader = _opened(settings, file)
    directory = DataDirectory(settings.data_dir)
    with directory.backup_lock():
        place = changeover.empty_directory(directory.path / CHECKING)
        try:
            return _unpacked(settings, head, reader, place)
        finally:
            shutil.rmtree(place, ignore_errors=True)


async def note_checked(access: Access, found: Restored, by: str = COMMAND_LINE) -> None:
    """Into the audit log, from where `doctor --production` knows of it."""
    await access.audit.note(by, "backup.checked", found.id, made_at=found.made_at, intact=not found.faults)


def _opened(settings: Settings, file: BinaryIO) -> tuple[Head, Reader]:
    """The file with its key; VaultFailure names the master keys that it needs and are not there."""
    head, before = read_head(file)
    source = key_source(settings)
    keyring = source.load()
    missing = [each for each in head.master_keys if keyring is None or bytes.fromhex(each) not in keyring]
    if missing or keyring is None:
        there = "is missing" if keyring is None else f"holds {_these(keyring.ids)}"
        raise VaultFailure(f"The backup needs {_these(missing)}. {source.name} {there}. Nothing was changed.")
    return head, Reader(file, before, _key(keyring, head))


def _key(keyring: Keyring, head: Head) -> bytes:
    try:
        key = Vault(keyring).unseal(head.key, head.place)
        if len(key) != 32:
            raise VaultFailure(DAMAGED)
    except VaultFailure:
        raise VaultFailure(DAMAGED) from None
    return key


def _these(ids: list[str]) -> str:
    return f"the master key {ids[0]}" if len(ids) == 1 else f"the master keys {', '.join(ids)}"


def _unpacked(settings: Settings, head: Head, reader: Reader, place: Path) -> Restored:
    """What is in it, once all of it is proved, migrated and opened with the master key."""
    try:
        contents.unpack(reader, place)
    except OSError as error:
        raise StorageFailure(f"It cannot be unpacked into {place}: {error.strerror}. Nothing was changed.") from None
    try:
        with closing(sqlite3.connect(place / contents.DATABASE)) as connection:
            (said,) = connection.execute("PRAGMA integrity_check(1)").fetchone()
    except sqlite3.Error as error:
        said = str(error)
    if said != "ok":
        raise StorageFailure(f"The database in the backup is damaged ({said}). Nothing was changed.")
    return asyncio.run(_looked_through(settings, head, place))


async def _looked_through(settings: Settings, head: Head, place: Path) -> Restored:
    async with Database.open(_url(place), DataDirectory(place), migrate=True) as database:
        audit, _ = await _audit(settings, database, place)
        for segment in await asyncio.to_thread(Segment.left_over, place / contents.JOURNAL):
            await fold(database, segment)
        entries, faults = await audit.verify()
        async with database.read() as connection:
            keys = await connection.scalar(select(func.count()).where(api_keys.c.revoked_at.is_(None)))
            stored = await connection.scalar(select(func.count()).where(credentials.c.removed_at.is_(None)))
    return Restored(
        id=head.id, made_at=head.made_at, keys=keys or 0, credentials=stored or 0, audit_entries=entries, faults=faults
    )


async def _audit(settings: Settings, database: Database, place: Path) -> tuple[AuditLog, Chain]:
    """The backup's own audit log. That its key opens proves the master key."""
    _, _, key = await open_vault(database, key_source(settings))
    chain = Chain(key)
    return AuditLog(database, chain, Anchor(place / contents.ANCHOR, chain)), chain


def _moves(
    settings: Settings, head: Head, coming: Path, database: Path, by: str
) -> tuple[list[Move], list[int] | None]:
    """Where everything goes, and the numbers of the audit log's that are lost; what comes is noted in it now."""
    lost, foreign = asyncio.run(_noted(settings, head, coming, database, by))
    with closing(sqlite3.connect(coming / contents.DATABASE)) as connection:
        connection.execute("PRAGMA journal_mode = DELETE")  # all of it is in the one file then
    now = f"{datetime.now(UTC):%Y%m%dT%H%M%S.%fZ}"
    anchor = settings.audit_anchor_path.absolute()
    moves = [
        Move(contents.DATABASE, str(database.absolute()), f"{database.absolute()}.before-{now}"),
        Move(contents.ANCHOR, str(anchor), f"{anchor}.before-{now}" if foreign else None),
    ]
    identities = contents.identities_in(coming)
    homes = lay_out(settings, identities, coming / HOMES)
    moves += [Move(f"{HOMES}/{name}", str(place)) for name, place in homes.items()]
    return moves, lost


async def _noted(
    settings: Settings, head: Head, coming: Path, replaced: Path, by: str
) -> tuple[list[int] | None, bool]:
    """What the log lacks, of all that is known to have been in it, and whether the anchor here is of another log."""
    async with Database.open(_url(coming), DataDirectory(coming)) as database:
        audit, chain = await _audit(settings, database, coming)
        entries = await audit.entries(limit=1)
        known = [entries[0].number if entries else 0, await asyncio.to_thread(_newest_number, replaced, chain)]
        foreign = False
        for path in (coming / contents.ANCHOR, settings.audit_anchor_path):
            try:
                anchor = Anchor(path, chain).read()
            except StorageFailure:
                foreign = True
            else:
                known.append(anchor.number if anchor else 0)
        reached = max(known)
        lost = [known[0] + 1, reached] if reached > known[0] else None
        async with audit.change(by) as change:
            details = {"made_at": head.made_at} | ({"lost": lost} if lost else {})
            await change.note(RESTORED, head.id, number=reached + 1, **details)
            for table in (
                admin_sessions,
                invitations,
                setup_links,
            ):  # what ended or was used since must not be good again
                await change.connection.execute(delete(table))
        return lost, foreign


def _newest_number(database: Path, chain: Chain) -> int:
    """The newest entry of the log that is here now, if it is the same log; 0 for another one, or none."""
    if not database.exists():
        return 0
    engine = create_engine(URL.create("sqlite", database=str(database)))
    try:
        with engine.connect() as connection:
            newest = select(audit_entries).order_by(audit_entries.c.number.desc()).limit(2)
            entries = [Entry(**row) for row in connection.execute(newest).mappings()]
    except SQLAlchemyError:
        entries = []
    finally:
        engine.dispose()
    before = entries[1].code if entries[1:] else NOTHING
    return entries[0].number if entries and chain.proves(entries[0], before) else 0


def _url(place: Path) -> Secret:
    return Secret(URL.create("sqlite+aiosqlite", database=str(place / contents.DATABASE)).render_as_string())
