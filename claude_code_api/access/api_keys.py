"""API keys: what programs present instead of a credential (policy K1 to K4)."""

from __future__ import annotations

import builtins
import hmac
from datetime import UTC, datetime, timedelta
from typing import Any, Unpack

import msgspec
from sqlalchemy import exists, select

from claude_code_api.access import key_listing, key_text, names
from claude_code_api.access.api_key import COLUMNS, LAST_USE, ApiKey, api_key, find_key
from claude_code_api.access.credentials import find_credential
from claude_code_api.access.key_file import KeyEntry
from claude_code_api.access.key_limits import (
    KeyChanges,
    KeyLimits,
    checked_concurrent,
    checked_expiry,
    checked_models,
    checked_rates,
)
from claude_code_api.access.key_listing import Sort, State
from claude_code_api.access.memory import Memory
from claude_code_api.access.names import COMMAND_LINE
from claude_code_api.access.version import check_version
from claude_code_api.audit import AuditLog, Change
from claude_code_api.errors import Conflict, Unauthenticated
from claude_code_api.secret import Secret
from claude_code_api.storage.database import Database
from claude_code_api.storage.pages import Page
from claude_code_api.storage.tables import api_keys, usage_last_uses

GRACE = timedelta(hours=24)
"""How long a key that was rotated is good beside the new one, unless told otherwise."""

REMEMBERED = 10_000
"""Keys that one process keeps in memory; about 1 kB each."""


class ApiKeys:
    """Keys are stored as HMAC-SHA-256 under the pepper, and looked up by that hash, never by text.

    A plain keyed hash is right for secrets of 250 random bits (ASVS 5.0, 6.5.2). The time of a lookup tells
    about hashes only, which nobody can choose without the pepper, so nothing else here compares in constant time.
    """

    def __init__(self, database: Database, pepper: bytes, audit: AuditLog) -> None:
        self._database = database
        self._audit = audit
        self._mac = hmac.new(pepper, digestmod="sha256")  # holds the pepper where no repr or pickle finds it
        self._known: Memory[bytes, ApiKey] = Memory(database.generation, REMEMBERED)
        self._forms: Memory[str, bool] = Memory(database.generation, 1)

    async def verify(self, presented: Secret) -> ApiKey:
        """The live key of this text; Unauthenticated, always the same, for any other.

        Known keys come from memory as long as no process changed a key. Unknown ones are never remembered.
        """
        hashed = self._hash(presented)
        key = self._known.get(hashed) or await self._look_up(hashed, presented)
        if key is None or not key.is_live:
            raise Unauthenticated("The API key is not valid: it is unknown, revoked or expired.")
        return key

    async def create(
        self, name: str, credential: str, *, by: str = COMMAND_LINE, **limits: Unpack[KeyLimits]
    ) -> tuple[ApiKey, Secret]:
        """A new key on a credential (its name or id), and its text, which cannot be had again.

        Names need not be unique, as with OpenAI. NotFound for an unknown credential, InvalidRequest for a wrong limit.
        """
        async with self._audit.change(by, announced=True) as change:
            return await self.make(change, name, credential, **limits)

    async def make(
        self, change: Change, name: str, credential: str, **limits: Unpack[KeyLimits]
    ) -> tuple[ApiKey, Secret]:
        """`create` as a part of a change."""
        text = key_text.generate()
        row: dict[str, Any] = {
            "id": names.new_id("key"),
            "name": names.checked(name),
            "hint": text.hint,
            "models": checked_models(limits.get("models", ())),
            "rate_limit": checked_rates(limits.get("rate_limit")),
            "max_concurrent": checked_concurrent(limits.get("max_concurrent")),
            "created_at": datetime.now(UTC),
            "created_by": names.checked(change.by, "created_by"),
            "expires_at": checked_expiry(limits.get("expires_at")),
            "revoked_at": None,
            "replaced_by": None,
            "credential_id": (await find_credential(change.connection, credential))["id"],
        }
        await self._insert(change, row, text)
        await change.note("key.created", row["id"], name=row["name"], credential=row["credential_id"])
        return api_key(row), text

    async def rotate(
        self, id_or_name: str, grace: timedelta = GRACE, *, by: str = COMMAND_LINE
    ) -> tuple[ApiKey, Secret, ApiKey]:
        """A new key of the same name and limits, its text, and the old one, which is good for `grace` longer.

        Without any grace the old one is revoked. Conflict where it is not live any more, or was rotated already.
        """
        text = key_text.generate()
        now = datetime.now(UTC)
        async with self._audit.change(by, announced=True) as change:
            old = await find_key(change.connection, id_or_name)
            if not old.is_live or old.replaced_by:
                state = "was rotated already" if old.replaced_by else "is not live any more"
                raise Conflict(f"The API key {old.name!r} ({old.id}) {state}; make a new one.")
            row = {
                **msgspec.structs.asdict(old),
                "id": names.new_id("key"),
                "hint": text.hint,
                "models": list(old.models),
                "created_at": now,
                "created_by": names.checked(by, "created_by"),
            }
            del row["last_used_at"]
            await self._insert(change, row, text)
            ends = min(now + grace, old.expires_at or datetime.max.replace(tzinfo=UTC))
            left: dict[str, Any] = {"expires_at": ends} if grace else {"revoked_at": now}
            this = api_keys.update().where(api_keys.c.id == old.id)
            await change.connection.execute(this.values(**left, replaced_by=row["id"]))
            await change.note("key.rotated", old.id, name=old.name, new=row["id"], **left)
        return api_key(row), text, msgspec.structs.replace(old, **left, replaced_by=row["id"])

    async def update(
        self, id_or_name: str, changes: KeyChanges, *, if_version: str | None = None, by: str = COMMAND_LINE
    ) -> ApiKey:
        """Changes what is given; it holds everywhere on this machine when this returns.

        PreconditionFailed where the key is not as it was in `if_version`, Conflict where it is revoked,
        InvalidRequest for a wrong field.
        """
        checked = changes.checked()
        async with self._audit.change(by, announced=True) as change:
            old = await find_key(change.connection, id_or_name)
            check_version(old.version, if_version)
            if old.revoked_at is not None:
                raise Conflict(f"The API key {old.name!r} ({old.id}) is revoked, and stays as it is.")
            before = msgspec.structs.asdict(old) | {"models": list(old.models)}
            new = {name: value for name, value in checked.items() if value != before[name]}
            if not new:
                return old
            await change.connection.execute(api_keys.update().where(api_keys.c.id == old.id).values(new))
            told = {name: {"from": before[name], "to": value} for name, value in new.items()}
            await change.note("key.changed", old.id, name=old.name, changed=told)
            return await find_key(change.connection, old.id)

    async def bring(self, change: Change, entry: KeyEntry, credential_id: str) -> ApiKey | None:
        """A key that was made elsewhere, as a part of a change; None where it is here already."""
        this = api_keys.c.hash == self._hash(entry.key)
        if await change.connection.scalar(select(exists().where(this))):
            return None
        row: dict[str, Any] = {
            "id": names.new_id("key"),
            "name": entry.name,
            "credential_id": credential_id,
            "hint": entry.key.hint,
            "models": [],
            "rate_limit": None,
            "max_concurrent": None,
            "created_at": entry.created_at,
            "created_by": "import",
            "expires_at": None,
            "revoked_at": None,
            "replaced_by": None,
        }
        await self._insert(change, row, entry.key)
        await change.note("key.imported", str(row["id"]), name=entry.name, credential=credential_id)
        if entry.last_used_at:
            used = {"key_id": row["id"], "credential_id": credential_id, "used_at": entry.last_used_at}
            await change.connection.execute(usage_last_uses.insert().values(used))
        return api_key(row)

    async def _insert(self, change: Change, row: dict[str, Any], text: Secret) -> None:
        ours = key_text.is_well_formed(text)
        await change.connection.execute(api_keys.insert().values(**row, hash=self._hash(text), checksummed=ours))

    async def get(self, id_or_name: str) -> ApiKey:
        """By id, or by name: the live key that bears it, else the latest. Conflict where several live ones do."""
        async with self._database.read() as connection:
            return await find_key(connection, id_or_name)

    async def revoke(self, id_or_name: str, *, by: str = COMMAND_LINE) -> ApiKey:
        """Refused everywhere on this machine when this returns. Revoking again keeps the first time."""
        async with self._audit.change(by, announced=True) as change:
            key = await find_key(change.connection, id_or_name)
            if key.revoked_at is None:
                key = msgspec.structs.replace(key, revoked_at=datetime.now(UTC))
                this = api_keys.update().where(api_keys.c.id == key.id)
                await change.connection.execute(this.values(revoked_at=key.revoked_at))
                await change.note("key.revoked", key.id, name=key.name)
        return key

    async def list(self) -> builtins.list[ApiKey]:
        """All keys, revoked and expired ones too, in the order in which they were made."""
        async with self._database.read() as connection:
            rows = await connection.execute(select(*COLUMNS, LAST_USE).order_by(api_keys.c.created_at, api_keys.c.id))
            return [api_key(row) for row in rows.mappings()]

    async def page(
        self,
        *,
        search: str = "",
        state: State | None = None,
        credential: str | None = None,
        sort: Sort = "created_at",
        descending: bool = True,
        after: str | None = None,
        limit: int = 50,
    ) -> Page[ApiKey]:
        """One page of those that fit (see `key_listing`); `after` is the `next` of the page before."""
        wanted = key_listing.conditions(search, state, credential)
        async with self._database.read() as connection:
            return await key_listing.page(
                connection, wanted, sort=sort, descending=descending, after=after, limit=limit
            )

    async def live_by_credential(self) -> dict[str, int]:
        """How many live keys stand on each credential that has any, by its id."""
        async with self._database.read() as connection:
            return await key_listing.live_by_credential(connection)

    def _hash(self, text: Secret) -> bytes:
        mac = self._mac.copy()
        mac.update(text.reveal().encode(errors="surrogatepass"))
        return mac.digest()

    async def _look_up(self, hashed: bytes, presented: Secret) -> ApiKey | None:
        if not key_text.is_well_formed(presented) and not await self._has_other_forms():
            return None
        read_at = self._known.now()
        async with self._database.read() as connection:
            row = (await connection.execute(select(*COLUMNS).where(api_keys.c.hash == hashed))).mappings().one_or_none()
        if row is None:
            return None
        key = api_key(row)
        if key.is_live:
            self._known.put(hashed, key, read_at)
        return key

    async def _has_other_forms(self) -> bool:
        """Whether any stored key is not of our form: only then may text of another form be a key at all."""
        known = self._forms.get("others")
        if known is None:
            read_at = self._forms.now()
            async with self._database.read() as connection:
                known = bool(await connection.scalar(select(exists().where(api_keys.c.checksummed.is_(False)))))
            self._forms.put("others", known, read_at)
        return known
