"""The gateway's own secrets: made at random when first needed, then vault records that never change.

They are the pepper of the API keys and the key of the audit log's chain. A rotation of the master key
wraps them anew; changing the pepper itself would void every API key.
"""

from __future__ import annotations

import asyncio
import secrets
from datetime import UTC, datetime

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncConnection

from claude_code_api.access.key_sources import KeySource
from claude_code_api.access.stored_vault import PEPPER, StoredVault, current_key, sealed_columns
from claude_code_api.access.vault import Place, master_key_id
from claude_code_api.audit import log as audit
from claude_code_api.errors import VaultFailure
from claude_code_api.storage.database import Database
from claude_code_api.storage.tables import vault_records

SECRET_BYTES = 32


async def open_vault(database: Database, source: KeySource) -> tuple[StoredVault, bytes, bytes]:
    """The vault, the pepper, which proves that the master key is the right one, and the audit log's key.

    Where nothing is sealed yet, what is missing is made. Where something is, a missing or wrong master key is a
    VaultFailure that names its source and the key that is needed, and nothing is changed. All in one writing
    transaction, so that two processes on a fresh directory agree.
    """
    keyring = await asyncio.to_thread(source.load)
    async with database.write() as connection:
        needed = await _needed_key(connection)
        if keyring is None:
            keyring = await asyncio.to_thread(source.load)  # another process may have made it just now
        if keyring is None and needed is None:
            keyring = await asyncio.to_thread(source.create)
        elif keyring is None:
            needs = f"The database needs the key {needed.hex()}" if needed else ""
            raise VaultFailure(f"{source.name} is missing. {needs}: put it back there. Nothing was changed.")
        elif needed is not None and needed not in keyring:
            raise VaultFailure(
                f"{source.name} holds the master key {', '.join(keyring.ids)}, "
                f"but the database needs the key {needed.hex()}. Nothing was changed."
            )
        vault = StoredVault(source, keyring)
        pepper = await own_secret(connection, vault, PEPPER.record)
        return vault, pepper, await own_secret(connection, vault, audit.KEY)


async def own_secret(connection: AsyncConnection, vault: StoredVault, name: str) -> bytes:
    """The secret of this name, 32 random bytes; made where there is none. Needs a writing transaction."""
    place = Place(PEPPER.column, name)
    sealed = await connection.scalar(select(vault_records.c.secret).where(vault_records.c.id == name))
    if sealed is not None:
        return await vault.unseal(sealed, place)
    secret = secrets.token_bytes(SECRET_BYTES)
    row = {"id": name, "secret": await vault.seal(connection, secret, place), "created_at": datetime.now(UTC)}
    await connection.execute(vault_records.insert().values(row))
    return secret


async def _needed_key(connection: AsyncConnection) -> bytes | None:
    """The master key in force. Without a pepper, any other that is needed: none is to be made beside it."""
    needed = await current_key(connection)
    for _, column in sealed_columns():
        if needed is None:
            sealed = await connection.scalar(select(column).where(column.is_not(None)).limit(1))
            needed = None if sealed is None else master_key_id(sealed)
    return needed
