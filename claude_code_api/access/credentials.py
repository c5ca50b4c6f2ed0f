"""Credentials: tokens in the vault, and what Anthropic last said of each (policy T2, T5, T6)."""

from __future__ import annotations

import builtins
import time
from datetime import UTC, datetime
from itertools import chain, count
from typing import Any

import msgspec
from sqlalchemy import RowMapping, case, func, or_, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection

from claude_code_api.access import names
from claude_code_api.access.memory import Memory
from claude_code_api.access.names import COMMAND_LINE, GATEWAY
from claude_code_api.access.stored_vault import StoredVault
from claude_code_api.access.vault import Place
from claude_code_api.access.version import check_version, version_of
from claude_code_api.audit import AuditLog, Change
from claude_code_api.conversation import RateLimitStatus
from claude_code_api.credential import Credential, CredentialKind, kind_of
from claude_code_api.errors import Conflict, NotFound
from claude_code_api.operations.alerts import Alerts
from claude_code_api.secret import Secret
from claude_code_api.storage.database import Database
from claude_code_api.storage.tables import api_keys, credentials, usage_last_uses

REMEMBERED = 1_000
"""Credentials that one process keeps unlocked."""
LIMIT_REFRESH = 60.0
"""Seconds after which a limit that has not changed is written again, for the time at which it was seen."""

LONGEST_LIMIT = 64
"""Characters of what Anthropic calls a limit and its state."""

REJECTED = "rejected"
"""What Anthropic says of a limit that is spent."""

_LAST_USE = (
    select(func.max(usage_last_uses.c.used_at))
    .where(usage_last_uses.c.credential_id == credentials.c.id)
    .scalar_subquery()
).label("last_used_at")


class CredentialRecord(msgspec.Struct, frozen=True, kw_only=True):
    """A credential as it is shown: never the token, `hint` is its last four characters.

    `limit` is what Anthropic last said, seen at `limit_seen_at` (to the minute); `refused_at` is when Anthropic
    first refused the token, None while it works. `last_used_at` comes from the usage records.
    """

    id: str
    name: str
    kind: CredentialKind
    hint: str
    created_at: datetime
    replaced_at: datetime | None
    limit: RateLimitStatus | None
    limit_seen_at: datetime | None
    refused_at: datetime | None
    last_used_at: datetime | None

    @property
    def version(self) -> str:
        """Another text once its name or its token was changed; what Anthropic says of it is no change."""
        return version_of(
            msgspec.structs.replace(self, limit=None, limit_seen_at=None, refused_at=None, last_used_at=None)
        )


class Credentials:
    """Tokens are unlocked when used and remembered only until any process changes a key or a credential."""

    def __init__(self, database: Database, vault: StoredVault, audit: AuditLog, alerts: Alerts) -> None:
        self._database = database
        self._audit = audit
        self._alerts = alerts
        self._vault = vault
        self._unlocked: Memory[str, Credential] = Memory(database.generation, REMEMBERED)
        self._working: Memory[str, bool] = Memory(database.generation, REMEMBERED)
        self._limits: Memory[str, tuple[RateLimitStatus, float]] = Memory(database.generation, REMEMBERED)

    async def add(self, name: str, token: Secret, *, by: str = COMMAND_LINE) -> CredentialRecord:
        """Conflict where the name is taken, InvalidRequest for a token of no known form."""
        kept = names.checked(name)
        try:
            async with self._audit.change(by, announced=True) as change:
                identifier = await self._insert(change, kept, token)
                return _record(await find_credential(change.connection, identifier))
        except IntegrityError:
            raise _name_taken(kept) from None

    async def bring(self, change: Change, name: str, token: Secret) -> tuple[str, bool]:
        """The id of the credential with this token, as a part of a change; and whether it was made, under a name
        like this one.
        """
        rows = await change.connection.execute(select(credentials).where(credentials.c.removed_at.is_(None)))
        taken = set()
        for row in rows.mappings():
            taken.add(row["name"])
            if await self._vault.unseal(row["token"], _place(row["id"])) == token.reveal().encode():
                return row["id"], False
        free = next(each for each in chain([name], (f"{name[:90]} {n}" for n in count(2))) if each not in taken)
        return await self._insert(change, free, token), True

    async def _insert(self, change: Change, name: str, token: Secret) -> str:
        identifier = names.new_id("cred")
        row = {"id": identifier, "name": name, "kind": kind_of(token), "created_at": datetime.now(UTC)}
        row |= await self._sealed(change.connection, identifier, token)
        await change.connection.execute(credentials.insert().values(row))
        await change.note("credential.added", identifier, name=name, kind=kind_of(token))
        return identifier

    async def get(self, id_or_name: str) -> CredentialRecord:
        async with self._database.read() as connection:
            return _record(await find_credential(connection, id_or_name))

    async def unlock(self, id_or_name: str) -> Credential:
        """With its token. NotFound, or VaultFailure where the stored token does not open."""
        known = self._unlocked.get(id_or_name)
        if known is None:
            read_at = self._unlocked.now()
            async with self._database.read() as connection:
                row = await find_credential(connection, id_or_name)
            token = Secret((await self._vault.unseal(row["token"], _place(row["id"]))).decode())
            known = Credential(id=row["id"], name=row["name"], kind=CredentialKind(row["kind"]), token=token)
            self._unlocked.put(id_or_name, known, read_at)
        return known

    async def rename(
        self, id_or_name: str, name: str, *, if_version: str | None = None, by: str = COMMAND_LINE
    ) -> CredentialRecord:
        """Conflict where the name is taken, PreconditionFailed where it is not as it was in `if_version`."""
        kept = names.checked(name)
        try:
            async with self._audit.change(by, announced=True) as change:
                old = _record(await find_credential(change.connection, id_or_name))
                check_version(old.version, if_version)
                if kept == old.name:
                    return old
                this = credentials.update().where(credentials.c.id == old.id)
                await change.connection.execute(this.values(name=kept))
                await change.note("credential.renamed", old.id, name=kept, before=old.name)
                return _record(await find_credential(change.connection, old.id))
        except IntegrityError:
            raise _name_taken(kept) from None

    async def replace(
        self, id_or_name: str, token: Secret, *, if_version: str | None = None, by: str = COMMAND_LINE
    ) -> CredentialRecord:
        """Another token under the same id and name, used at once; what Anthropic said of the old one is forgotten.

        PreconditionFailed where the credential is not as it was in `if_version`.
        """
        kind = kind_of(token)
        async with self._audit.change(by, announced=True) as change:
            connection = change.connection
            row = await find_credential(connection, id_or_name)
            check_version(_record(row).version, if_version)
            identifier = row["id"]
            forgotten = dict.fromkeys(["refused_at", "limit_status", "limit_type", "limit_resets_at", "limit_seen_at"])
            given = {"kind": kind, **await self._sealed(connection, identifier, token)}
            this = credentials.update().where(credentials.c.id == identifier)
            await connection.execute(this.values(**given, **forgotten, replaced_at=datetime.now(UTC)))
            await change.note("credential.replaced", identifier, name=row["name"], kind=kind)
            return _record(await find_credential(connection, identifier))

    async def remove(self, id_or_name: str, *, force: bool = False, by: str = COMMAND_LINE) -> CredentialRecord:
        """Erases the token. Conflict while live keys stand on it, unless `force` revokes them with it."""
        now = datetime.now(UTC)
        async with self._audit.change(by, announced=True) as change:
            connection = change.connection
            row = await find_credential(connection, id_or_name)
            unexpired = or_(api_keys.c.expires_at.is_(None), api_keys.c.expires_at > now)
            standing = (api_keys.c.credential_id == row["id"]) & api_keys.c.revoked_at.is_(None)
            live = await connection.scalar(select(func.count()).select_from(api_keys).where(standing & unexpired))
            if live and not force:
                raise Conflict(
                    f"{live} API {'key stands' if live == 1 else 'keys stand'} on the credential {row['name']!r}: "
                    "revoke them first, or force the removal, which revokes them."
                )
            await connection.execute(api_keys.update().where(standing).values(revoked_at=now))
            gone = credentials.update().where(credentials.c.id == row["id"])
            await connection.execute(gone.values(removed_at=now, token=None))
            await change.note("credential.removed", row["id"], name=row["name"], keys_revoked=live)
        return _record(row)

    async def note_limit(self, identifier: str, status: RateLimitStatus) -> None:
        """What Anthropic says of the credential's limit. Written when it differs, or after a minute."""
        known = self._limits.get(identifier)
        if known is not None and known[0] == status and time.monotonic() < known[1] + LIMIT_REFRESH:
            return
        # Remembered before it is written, so that answers that end at once write it once.
        self._limits.put(identifier, (status, time.monotonic()), self._limits.now())
        values = {
            "limit_status": status.status[:LONGEST_LIMIT],
            "limit_type": status.limit_type and status.limit_type[:LONGEST_LIMIT],
            "limit_resets_at": status.resets_at,
            "limit_seen_at": datetime.now(UTC),
        }
        async with self._database.write() as connection:
            await connection.execute(credentials.update().where(credentials.c.id == identifier).values(values))
        if status.status == REJECTED:
            self._alerts.tell("limit_spent", "Anthropic's limit of a credential is spent", identifier)

    async def note_refused(self, identifier: str) -> None:
        """Anthropic refused the token."""
        await self._note(identifier, working=False)

    async def note_working(self, identifier: str) -> None:
        """Anthropic took the token."""
        await self._note(identifier, working=True)

    async def list(self) -> builtins.list[CredentialRecord]:
        """All that are not removed, by name."""
        async with self._database.read() as connection:
            rows = await connection.execute(
                select(credentials, _LAST_USE).where(credentials.c.removed_at.is_(None)).order_by(credentials.c.name)
            )
            return [_record(row) for row in rows.mappings()]

    async def count(self) -> dict[str, int]:
        """How many are `refused`, `limited` (their limit is spent until a time to come) or `ok`, as Anthropic said."""
        limit_holds = or_(credentials.c.limit_resets_at.is_(None), credentials.c.limit_resets_at > int(time.time()))
        state = case(
            (credentials.c.refused_at.is_not(None), "refused"),
            ((credentials.c.limit_status == REJECTED) & limit_holds, "limited"),
            else_="ok",
        ).label("state")
        number = func.count().label("number")
        counted = select(state, number).where(credentials.c.removed_at.is_(None)).group_by("state")
        async with self._database.read() as connection:
            rows = await connection.execute(counted)
            return {"ok": 0, "refused": 0, "limited": 0} | {row.state: row.number for row in rows}

    async def _note(self, identifier: str, *, working: bool) -> None:
        """Written, and announced, only when it turns: other processes remember the opposite."""
        if self._working.get(identifier) is working:
            return
        read_at = self._working.now()
        this = credentials.c.id == identifier
        async with self._database.read() as connection:
            refused_at = await connection.scalar(select(credentials.c.refused_at).where(this))
        if (refused_at is None) is not working:
            async with self._audit.change(GATEWAY, announced=True) as change:
                turned = None if working else datetime.now(UTC)
                await change.connection.execute(credentials.update().where(this).values(refused_at=turned))
                await change.note("credential.working" if working else "credential.refused", identifier)
            if not working:
                self._alerts.tell("credential_refused", "Anthropic refuses a credential: replace it", identifier)
            return
        self._working.put(identifier, working, read_at)

    async def _sealed(self, connection: AsyncConnection, identifier: str, token: Secret) -> dict[str, Any]:
        """The columns that hold the token, or a part of it."""
        sealed = await self._vault.seal(connection, token.reveal().encode(), _place(identifier))
        return {"token": sealed, "hint": token.hint}


async def find_credential(connection: AsyncConnection, id_or_name: str) -> RowMapping:
    """The row of a credential that is not removed, by id before name; NotFound where there is none."""
    sought = names.checked(id_or_name, "credential")
    rows = await connection.execute(
        select(credentials, _LAST_USE).where(
            credentials.c.removed_at.is_(None), or_(credentials.c.id == sought, credentials.c.name == sought)
        )
    )
    found = sorted(rows.mappings(), key=lambda row: bool(row["id"] != sought))
    if not found:
        raise NotFound(f"There is no credential {sought!r}.")
    return found[0]


def _name_taken(name: str) -> Conflict:
    return Conflict(f"There is a credential {name!r} already; replace or remove it.", param="name")


def _place(identifier: str) -> Place:
    return Place("credentials.token", identifier)


def _record(row: RowMapping) -> CredentialRecord:
    seen = row["limit_status"]
    limit = seen and RateLimitStatus(status=seen, resets_at=row["limit_resets_at"], limit_type=row["limit_type"])
    return CredentialRecord(
        id=row["id"],
        name=row["name"],
        kind=CredentialKind(row["kind"]),
        hint=row["hint"],
        created_at=row["created_at"],
        replaced_at=row["replaced_at"],
        limit=limit,
        limit_seen_at=row["limit_seen_at"],
        refused_at=row["refused_at"],
        last_used_at=row["last_used_at"],
    )
