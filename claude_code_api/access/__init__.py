"""Access: who may ask, and with which credential. It knows nothing of HTTP."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from claude_code_api.access.api_keys import ApiKey, ApiKeys
from claude_code_api.access.credentials import CredentialRecord, Credentials
from claude_code_api.access.own_secrets import open_vault
from claude_code_api.settings import Settings
from claude_code_api.storage.data_directory import DataDirectory
from claude_code_api.storage.database import Database

__all__ = ["Access", "ApiKey", "ApiKeys", "CredentialRecord", "Credentials"]


class Access:
    """Keys and credentials of one data directory; one for each process or command, and any number at once."""

    def __init__(self, keys: ApiKeys, credentials: Credentials) -> None:
        self.keys = keys
        self.credentials = credentials

    @classmethod
    @asynccontextmanager
    async def open(cls, settings: Settings, *, migrate: bool = False) -> AsyncIterator[Access]:
        """Opens what the settings name, and makes it where there is nothing yet.

        `migrate` is for `serve` alone, under its server lock; others refuse a database of another version.
        StorageFailure or VaultFailure says what stands in the way.
        """
        directory = await asyncio.to_thread(DataDirectory, settings.data_dir)
        async with Database.open(settings.database, directory, migrate=migrate) as database:
            vault, pepper = await open_vault(database, settings.master_key_path)
            yield cls(ApiKeys(database, pepper), Credentials(database, vault))
