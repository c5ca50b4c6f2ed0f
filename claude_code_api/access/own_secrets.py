"""The gateway's own secrets: made at random when first needed, then vault records that never change.

The pepper of the API keys is one; the key of the audit log's chain will be another. A rotation of the master key
wraps them anew; changing the pepper itself would void every API key.
"""

from __future__ import annotations

import asyncio
import secrets
from datetime import UTC, datetime
from pathlib import Path

from sqlalchemy import select, union_all
from sqlalchemy.ext.asyncio import AsyncConnection

from claude_code_api.access import master_key
from claude_code_api.access.master_key import MasterKey
from claude_code_api.access.vault import Place, Vault, master_key_id
from claude_code_api.errors import VaultFailure
from claude_code_api.storage.database import Database
from claude_code_api.storage.tables import credentials, vault_records

SECRET_BYTES = 32


async def open_vault(database: Database, key_file: Path) -> tuple[Vault, bytes]:
    """The vault, and the pepper, which proves that the master key is the right one.

    Where nothing is sealed yet, what is missing is made. Where something is, a missing or wrong master key is a
    VaultFailure that names the file and the key that is needed, and nothing is changed. All in one writing
    transaction, so that two processes on a fresh directory agree.
    """
    async with database.write() as connection:
        needed = await _needed_key(connection)
        master = await asyncio.to_thread(_master_key, key_file, needed)
        vault = Vault([master])
        return vault, await own_secret(connection, vault, "pepper")


async def own_secret(connection: AsyncConnection, vault: Vault, name: str) -> bytes:
    """The secret of this name, 32 random bytes; made where there is none. Needs a writing transaction."""
    place = Place("vault_records.secret", name)
    sealed = await connection.scalar(select(vault_records.c.secret).where(vault_records.c.id == name))
    if sealed is not None:
        return vault.unseal(sealed, place)
    secret = secrets.token_bytes(SECRET_BYTES)
    row = {"id": name, "secret": vault.seal(secret, place), "created_at": datetime.now(UTC)}
    await connection.execute(vault_records.insert().values(row))
    return secret


async def _needed_key(connection: AsyncConnection) -> bytes | None:
    """The id of the master key that the database's records are sealed under, None where there are none."""
    sealed = union_all(
        select(vault_records.c.secret), select(credentials.c.token).where(credentials.c.token.is_not(None))
    )
    found = await connection.scalar(sealed.limit(1))
    return None if found is None else master_key_id(found)


def _master_key(path: Path, needed: bytes | None) -> MasterKey:
    found = master_key.load(path)
    if needed is None:
        return found or master_key.create(path)
    if found is None:
        raise VaultFailure(
            f"The master key file {path} is missing. The database needs the key {needed.hex()}: put it back there. "
            "Nothing was changed."
        )
    if found.id != needed:
        raise VaultFailure(
            f"The file {path} holds the master key {found.id.hex()}, but the database needs the key {needed.hex()}. "
            "Nothing was changed."
        )
    return found
