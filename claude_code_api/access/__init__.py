"""Access: who may ask, and with which credential. It knows nothing of HTTP."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from datetime import datetime
from typing import Unpack

import msgspec

from claude_code_api.access import names
from claude_code_api.access.admin_tokens import AdminToken, AdminTokens
from claude_code_api.access.administrator import Administrator, Role
from claude_code_api.access.administrators import Administrators
from claude_code_api.access.api_key import ApiKey
from claude_code_api.access.api_keys import ApiKeys
from claude_code_api.access.attention import KeysNoticed
from claude_code_api.access.credentials import CredentialRecord, Credentials
from claude_code_api.access.invitations import Invitation, Invitations
from claude_code_api.access.key_file import read_key_file
from claude_code_api.access.key_limits import KeyChanges, KeyLimits
from claude_code_api.access.key_sources import key_source
from claude_code_api.access.memory import Memory
from claude_code_api.access.names import COMMAND_LINE
from claude_code_api.access.own_password import OwnPassword
from claude_code_api.access.own_secrets import open_vault
from claude_code_api.access.password_hash import PasswordHasher
from claude_code_api.access.rotation import Rotation, rotate, unfinished
from claude_code_api.access.second_factors import Enrolment, SecondFactor, SecondFactors
from claude_code_api.access.sessions import ListedSession, Session, Sessions
from claude_code_api.access.sign_in import SignedIn, SignIn
from claude_code_api.access.stored_vault import StoredVault
from claude_code_api.audit import AuditLog
from claude_code_api.audit.anchor import Anchor
from claude_code_api.audit.chain import Chain
from claude_code_api.credential import kind_of
from claude_code_api.operations.alerts import Alerts
from claude_code_api.secret import Secret
from claude_code_api.settings import Settings
from claude_code_api.storage.data_directory import DataDirectory
from claude_code_api.storage.database import Database

__all__ = [
    "Access", "AdminToken", "AdminTokens", "Administrator", "Administrators", "ApiKey", "ApiKeys", "CredentialRecord",
    "Credentials", "Enrolment", "Imported", "Invitation", "Invitations", "KeyChanges", "ListedSession", "OwnPassword",
    "Role", "Rotation", "SecondFactor", "SecondFactors", "Session", "Sessions", "SignIn", "SignedIn",
]  # fmt: skip


class Imported(msgspec.Struct):
    """What came of a key file: new keys, keys that were here already, and how many credentials were made."""

    keys: list[ApiKey] = []
    known: int = 0
    credentials: int = 0


class Access:
    """What one data directory holds; one for each process or command, and any number at once."""

    def __init__(
        self,
        directory: DataDirectory,
        database: Database,
        vault: StoredVault,
        pepper: bytes,
        audit: AuditLog,
        hasher: PasswordHasher,
        settings: Settings,
        alerts: Alerts,
    ) -> None:
        self.database = database
        self.keys = ApiKeys(database, pepper, audit)
        self.credentials = Credentials(database, vault, audit, alerts)
        self.administrators = Administrators(database, pepper, audit, hasher)
        self.sessions = Sessions(database, pepper, audit, settings)
        self.admin_tokens = AdminTokens(database, pepper, audit)
        self.invitations = Invitations(database, pepper, audit, hasher)
        self.own_password = OwnPassword(self.administrators, audit, hasher)
        self.second_factors = SecondFactors(database, vault, pepper, audit, self.own_password)
        self.sign_in = SignIn(self.administrators, self.second_factors, self.sessions, pepper, audit, alerts)
        self.keys_noticed: Memory[str, tuple[datetime, KeysNoticed]] = Memory(database.generation, 1)
        self.audit = audit
        self.alerts = alerts
        self._directory = directory
        self.vault = vault

    @classmethod
    @asynccontextmanager
    async def open(
        cls, settings: Settings, *, migrate: bool = False, alerts: Alerts | None = None
    ) -> AsyncIterator[Access]:
        """Opens what the settings name, and makes it where there is nothing yet.

        `migrate` is for `serve` alone, under its server lock; others refuse a database of another version. `alerts`
        hears of what somebody should know.
        StorageFailure or VaultFailure says what stands in the way.
        """
        directory = await asyncio.to_thread(DataDirectory, settings.data_dir)
        async with Database.open(settings.database, directory, migrate=migrate) as database:
            vault, pepper, audit_key = await open_vault(database, key_source(settings))
            chain = Chain(audit_key)
            audit = AuditLog(database, chain, Anchor(settings.audit_anchor_path, chain))
            with closing(PasswordHasher(pepper, settings.bcrypt_rounds)) as hasher:
                access = cls(directory, database, vault, pepper, audit, hasher, settings, alerts or Alerts())
                try:
                    yield access
                finally:
                    await access.sign_in.close()
                    await access.admin_tokens.close()

    async def key_on_token(
        self, name: str, token: Secret, *, by: str = COMMAND_LINE, **limits: Unpack[KeyLimits]
    ) -> tuple[ApiKey, Secret]:
        """A new key, and the credential that it stands on, under a name like the key's: both are made, or neither.

        A token that is stored already is not stored again.
        """
        kept = names.checked(name)
        kind_of(token)
        async with self.audit.change(by, announced=True) as change:
            credential, _ = await self.credentials.bring(change, kept, token)
            return await self.keys.make(change, kept, credential, **limits)

    async def import_keys(self, content: bytes, by: str = COMMAND_LINE) -> Imported:
        """The keys of a key file (see `key_file`), all or none; those that are here already stay as they are."""
        imported = Imported()
        entries = await asyncio.to_thread(read_key_file, content)
        async with self.audit.change(by, announced=True) as change:
            for entry in entries:
                credential, made = await self.credentials.bring(change, entry.name, entry.token)
                imported.credentials += made
                if key := await self.keys.bring(change, entry, credential):
                    imported.keys.append(key)
                else:
                    imported.known += 1
        return imported

    async def rotate_master_key(self, by: str = COMMAND_LINE) -> Rotation:
        """Everything sealed comes under a new master key, while others use it; VaultFailure says why it cannot.

        What a run that was killed has begun, the next one finishes.
        """
        with self._directory.rotation_lock():
            rotation = await rotate(self.database, self.vault)
            await self.audit.note(by, "vault.rotated", rotation.master_key_id, records=rotation.records)
            return rotation

    async def unfinished_rotation(self) -> int:
        """Records that a rotation has still to bring under the newest master key."""
        return await unfinished(self.database, self.vault)
