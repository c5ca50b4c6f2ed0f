"""What somebody should look at: plain values, the most pressing kind first."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Literal

import msgspec

from claude_code_api.access import key_listing
from claude_code_api.access.api_key import ApiKey
from claude_code_api.access.credentials import REJECTED, CredentialRecord
from claude_code_api.storage.pages import Page
from claude_code_api.storage.tables import api_keys

if TYPE_CHECKING:
    from claude_code_api.access import Access

ENDS_SOON = timedelta(days=14)
OF_LATE = timedelta(days=1)
"""For so long an alert is shown."""
CERTIFICATE_ENDS_SOON = timedelta(days=30)
SHOWN_AS_THEY_ARE = {"credential_refused", "audit_broken"}
"""What is seen for as long as it is so, and not for a day."""
SHOWN = 10
"""Items of one kind; of further ones the number is told."""

REMEMBERED = timedelta(minutes=1)
"""To look through ten thousand keys takes longer than all the rest of the overview, and days are what matters here."""

KeysNoticed = tuple[Page[ApiKey], Page[ApiKey]]
Kind = Literal[
    "audit_broken",
    "credential_refused",
    "credential_limited",
    "certificate_ending",
    "alert",
    "key_expiring",
    "password_old",
    "key_unused",
]


class Item(msgspec.Struct, frozen=True, kw_only=True):
    """`id` and `name` are those of a credential, key or administrator, `since` and `until` as the kind has it.

    Of an alert, `id` is what it is about and `name` what it says; of a broken audit log, `name` is the first fault.
    A key that nobody ever used is unused since it was made.
    """

    kind: Kind
    id: str | None = None
    name: str
    since: datetime | None = None
    until: datetime | None = None


class Attention(msgspec.Struct, frozen=True, kw_only=True):
    """`more` is how many of a kind there are beyond those in `data`."""

    items: tuple[Item, ...] = msgspec.field(name="data")
    more: dict[Kind, int]


async def attention(access: Access, *, certificate_ends_at: datetime | None = None) -> Attention:
    """Cheap enough for each look at the overview, with 10,000 keys."""
    now = datetime.now(UTC)
    items: list[Item] = []
    verified = await access.audit.verification.onward()
    if verified is not None and not verified.intact:
        items.append(Item(kind="audit_broken", name=verified.faults[0].message, since=verified.at))
    for credential in await access.credentials.list():
        items += _of_credential(credential, now)
    if certificate_ends_at is not None and certificate_ends_at - now < CERTIFICATE_ENDS_SOON:
        items.append(Item(kind="certificate_ending", name="certificate", until=certificate_ends_at))
    items += [
        Item(kind="alert", id=alert.about, name=alert.message, since=alert.at)
        for alert in access.alerts.latest()
        if now - alert.at < OF_LATE and alert.kind not in SHOWN_AS_THEY_ARE
    ]
    ending, unused = await _remembered_keys(access, now)
    items += [Item(kind="key_expiring", id=key.id, name=key.name, until=key.expires_at) for key in ending.items]
    items += [
        Item(kind="password_old", id=each.id, name=each.name, since=each.password_set_at)
        for each in await access.administrators.list()
        if each.is_reminded
    ]
    items += [
        Item(kind="key_unused", id=key.id, name=key.name, since=key.last_used_at or key.created_at)
        for key in unused.items
    ]
    return _bounded(items, {"key_expiring": ending.total, "key_unused": unused.total})


def _of_credential(credential: CredentialRecord, now: datetime) -> Iterator[Item]:
    if credential.refused_at is not None:
        yield Item(kind="credential_refused", id=credential.id, name=credential.name, since=credential.refused_at)
    limit = credential.limit
    if limit is not None and limit.status == REJECTED:
        resets_at = None if limit.resets_at is None else datetime.fromtimestamp(limit.resets_at, UTC)
        if resets_at is None or resets_at > now:
            yield Item(
                kind="credential_limited", id=credential.id, name=credential.name,
                since=credential.limit_seen_at, until=resets_at,
            )  # fmt: skip


async def _remembered_keys(access: Access, now: datetime) -> KeysNoticed:
    """As they were within the last minute, unless a key was changed since."""
    known = access.keys_noticed.get("")
    if known is not None and now - known[0] < REMEMBERED:
        return known[1]
    read_at = access.keys_noticed.now()
    found = await _keys(access, now)
    access.keys_noticed.put("", (now, found), read_at)
    return found


async def _keys(access: Access, now: datetime) -> KeysNoticed:
    """Those that end soon, unless a rotation has put another in their place; and those that nobody uses."""
    soon = [
        *key_listing.conditions("", "live", None),
        api_keys.c.expires_at < now + ENDS_SOON,
        api_keys.c.replaced_by.is_(None),
    ]
    unused = key_listing.conditions("", "unused", None)
    async with access.database.read() as connection:
        return (
            await key_listing.page(connection, soon, sort="expires_at", descending=False, after=None, limit=SHOWN),
            await key_listing.page(connection, unused, sort="last_used_at", descending=False, after=None, limit=SHOWN),
        )


def _bounded(items: list[Item], totals: dict[Kind, int]) -> Attention:
    shown: list[Item] = []
    count: dict[Kind, int] = {}
    for item in items:
        count[item.kind] = count.get(item.kind, 0) + 1
        if count[item.kind] <= SHOWN:
            shown.append(item)
    more = {kind: totals.get(kind, number) - min(number, SHOWN) for kind, number in count.items()}
    return Attention(items=tuple(shown), more={kind: number for kind, number in more.items() if number})
