"""The vault of one database, which follows when another process rotates the master key.

The record `pepper` says which master key is in force: what it is wrapped under, new records are sealed under. It is
looked at within the transaction that stores them, so that a rotation misses none.
"""

from __future__ import annotations

import asyncio

from sqlalchemy import Column, ColumnElement, Table, func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from claude_code_api.access.key_sources import KeySource
from claude_code_api.access.master_key import ID_BYTES, Keyring
from claude_code_api.access.vault import VERSION, Place, Vault, master_key_id
from claude_code_api.storage.tables import Sealed, metadata, vault_records

PEPPER = Place("vault_records.secret", "pepper")


class StoredVault:
    """Seals and opens what the database holds. A master key that it does not have yet is asked for at its source."""

    def __init__(self, source: KeySource, keyring: Keyring) -> None:
        self.source = source
        self._vault = Vault(keyring)
        self._asking = asyncio.Lock()

    async def seal(self, connection: AsyncConnection, content: bytes, place: Place) -> bytes:
        """Needs the writing transaction that stores the result."""
        vault, current = self._vault, await current_key(connection)
        if current is None:
            return vault.seal(content, place)
        vault = await self._knowing(current)
        return vault.seal(content, place, under=current)

    async def seal_under(self, key_id: bytes, content: bytes, place: Place) -> bytes:
        """Under this master key, whichever is in force; for what leaves the database."""
        vault = await self._knowing(key_id)
        return vault.seal(content, place, under=key_id)

    async def unseal(self, sealed: bytes, place: Place) -> bytes:
        """What was sealed for this place; VaultFailure for anything else."""
        vault = await self._knowing(master_key_id(sealed))
        return vault.unseal(sealed, place)

    async def _knowing(self, key_id: bytes) -> Vault:
        """Asks the source where the keyring lacks this key; if it has none either, the vault will say so."""
        async with self._asking:
            if key_id not in self._vault.keyring:
                found = await asyncio.to_thread(self.source.load)
                self._vault = Vault(found or self._vault.keyring)
            return self._vault


async def current_key(connection: AsyncConnection) -> bytes | None:
    """The id of the master key in force; None where nothing is sealed yet.

    In a transaction that writes, a rotation waits until what is sealed under it is there.
    """
    sealed = await connection.scalar(select(vault_records.c.secret).where(vault_records.c.id == PEPPER.record))
    return None if sealed is None else master_key_id(sealed)


def sealed_columns() -> list[tuple[Table, Column[bytes]]]:
    """Everything that the vault may have sealed."""
    every = [(table, column) for table in metadata.sorted_tables for column in table.columns]
    return [(table, column) for table, column in every if isinstance(column.type, Sealed)]


def key_of(column: Column[bytes]) -> ColumnElement[bytes]:
    """The master key's id in a sealed column, as the database finds it."""
    return func.substr(column, len(VERSION) + 1, ID_BYTES, type_=Sealed())
