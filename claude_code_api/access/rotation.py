"""The rotation of the master key (policy T2): a new one, and everything sealed is wrapped under it.

Each step is durable before the next begins, so that after one that was killed everything opens, and a next run goes on:

1. a new key is put before the others at its source, unless one stands there that is not in force yet;
2. the pepper is wrapped under it: from here on every process seals under the new key;
3. all other records follow, in batches, and what they were before leaves the database's log.

Contents and their data keys stay as they are. Older master keys stay in the keyring: for processes that run, which
ask for the new one when they meet it, and for old backups.
"""

from __future__ import annotations

import asyncio

import msgspec
from sqlalchemy import Column, ColumnElement, Table, bindparam, func, select, true, update

from claude_code_api.access.master_key import Keyring
from claude_code_api.access.stored_vault import PEPPER, StoredVault, key_of, sealed_columns
from claude_code_api.access.vault import Place, Vault
from claude_code_api.errors import VaultFailure
from claude_code_api.storage.database import Database
from claude_code_api.storage.tables import vault_records

BATCH = 100
"""Records that one transaction wraps anew; others write in between."""


class Rotation(msgspec.Struct, frozen=True):
    """The ids of the new master key and of those that stay; `resumed` where another run, or the operator, had begun."""

    master_key_id: str
    older_ids: list[str]
    records: int
    resumed: bool


async def rotate(database: Database, vault: StoredVault) -> Rotation:
    """VaultFailure where there can be no new key, or at the end for records that did not open: these stay as they are.

    One at a time: the caller holds the data directory's rotation lock.
    """
    keyring = await _keyring(vault)
    records, broken = await _wrap_all(database, keyring)  # what was begun, if something was
    resumed = records > 0
    if not resumed:
        async with database.write():  # two at once, from two data directories, could each drop the other's new key
            await asyncio.to_thread(vault.source.add)
        keyring = await _keyring(vault)
        records, broken = await _wrap_all(database, keyring)
    await database.forget_overwritten()
    if broken:
        raise VaultFailure(
            f"Everything is under the master key {keyring.newest.id.hex()} now, but for what does not open and was "
            f"left as it is: {', '.join(broken)}."
        )
    newest, *older = keyring.ids
    return Rotation(newest, older, records, resumed)


async def unfinished(database: Database, vault: StoredVault) -> int:
    """Records that are not under the newest key: a rotation was killed, or its new key was given and no more."""
    newest, left = (await _keyring(vault)).newest, 0
    async with database.read() as connection:
        for _, column in sealed_columns():
            left += await connection.scalar(select(func.count()).where(key_of(column) != newest.id)) or 0
    return left


async def _keyring(vault: StoredVault) -> Keyring:
    keyring = await asyncio.to_thread(vault.source.load)
    if keyring is None:
        raise VaultFailure(f"{vault.source.name} is missing.")
    return keyring


async def _wrap_all(database: Database, keyring: Keyring) -> tuple[int, list[str]]:
    """How many records came under the newest key, and which others would have to but do not open."""
    vault = Vault(keyring)
    records, _ = await _wrap(
        database, vault, vault_records, vault_records.c.secret, vault_records.c.id == PEPPER.record
    )
    broken = list[str]()
    for table, column in sealed_columns():
        done, failed = await _wrap(database, vault, table, column, true())
        records, broken = records + done, broken + failed
    return records, broken


async def _wrap(
    database: Database, vault: Vault, table: Table, column: Column[bytes], which: ColumnElement[bool]
) -> tuple[int, list[str]]:
    """The same for one column. What changes meanwhile is under the new key already, and is left alone."""
    (identifier,) = table.primary_key.columns
    left = select(identifier, column).where(which, key_of(column) != vault.keyring.newest.id).order_by(identifier)
    unchanged = (identifier == bindparam("record")) & (column == bindparam("found"))
    change = update(table).where(unchanged).values({column: bindparam("wrapped")})
    done, broken, last = 0, list[str](), ""
    while True:
        async with database.read() as connection:
            rows = (await connection.execute(left.where(identifier > last).limit(BATCH))).all()
        if not rows:
            return done, broken
        wrapped = []
        for record, found in rows:
            place = Place(f"{table.name}.{column.name}", record)
            try:
                wrapped.append({"record": record, "found": found, "wrapped": vault.rewrap(found, place)})
            except VaultFailure:
                broken.append(str(place))
        if wrapped:
            async with database.write() as connection:
                await connection.execute(change, wrapped)
        done, last = done + len(wrapped), rows[-1][0]
