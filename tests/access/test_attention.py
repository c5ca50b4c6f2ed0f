"""What needs attention, and nothing that does not."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import delete
from structlog.testing import capture_logs

from claude_code_api.access import Access
from claude_code_api.access import attention as attention_module
from claude_code_api.access.attention import SHOWN, Item, attention
from claude_code_api.conversation import RateLimitStatus
from claude_code_api.operations import alerts as alerts_module
from claude_code_api.secret import Secret
from claude_code_api.stand_in import oauth_token
from claude_code_api.storage.tables import administrators, api_keys, audit_entries

NOW = datetime.now(UTC)
DAY = timedelta(days=1)


@pytest.fixture
async def access(access: Access) -> Access:
    await access.credentials.add("main", Secret(oauth_token("main")))
    return access


async def make(access: Access, name: str, **columns: Any) -> str:
    key, _ = await access.keys.create(name, "main")
    if columns:
        async with access.database.write() as connection:
            await connection.execute(api_keys.update().where(api_keys.c.id == key.id).values(columns))
    return key.id


async def items(access: Access, **given: Any) -> list[Item]:
    return list((await attention(access, **given)).items)


async def test_where_all_is_well_there_is_nothing(access: Access) -> None:
    await make(access, "in use", expires_at=NOW + 15 * DAY)
    await access.administrators.make_first(Secret("a long enough passphrase of words"), by="gateway")
    await access.audit.verification.whole()
    found = await attention(access, certificate_ends_at=NOW + 31 * DAY)
    assert (found.items, found.more) == ((), {})


@pytest.mark.policy("T6")
async def test_credentials_that_are_refused_or_limited_now(access: Access) -> None:
    refused = await access.credentials.get("main")
    limited = await access.credentials.add("limited", Secret(oauth_token("limited")))
    past = await access.credentials.add("past", Secret(oauth_token("past")))
    resets_at = int(time.time()) + 3600
    with capture_logs():
        await access.credentials.note_refused(refused.id)
        await access.credentials.note_limit(limited.id, RateLimitStatus(status="rejected", resets_at=resets_at))
        await access.credentials.note_limit(past.id, RateLimitStatus(status="rejected", resets_at=1))
    found = await items(access)
    assert [(item.kind, item.id) for item in found] == [
        ("credential_limited", limited.id),
        ("credential_refused", refused.id),
        ("alert", past.id),
        ("alert", limited.id),
    ]
    assert found[0].until == datetime.fromtimestamp(resets_at, UTC)
    assert found[1].since == (await access.credentials.get("main")).refused_at


@pytest.mark.policy("K5")
async def test_keys_that_end_soon_and_keys_that_nobody_uses(access: Access) -> None:
    later = await make(access, "later", expires_at=NOW + 13 * DAY)
    soon = await make(access, "soon", expires_at=NOW + DAY)
    unused = await make(access, "unused", created_at=NOW - 91 * DAY)
    await make(access, "rotated", expires_at=NOW + DAY, replaced_by="key_0")
    await make(access, "ended", expires_at=NOW - DAY)
    await make(access, "revoked", expires_at=NOW + DAY, revoked_at=NOW, created_at=NOW - 91 * DAY)
    assert await items(access) == [
        Item(kind="key_expiring", id=soon, name="soon", until=NOW + DAY),
        Item(kind="key_expiring", id=later, name="later", until=NOW + 13 * DAY),
        Item(kind="key_unused", id=unused, name="unused", since=NOW - 91 * DAY),
    ]


async def test_of_many_the_first_are_shown_and_the_others_counted(access: Access) -> None:
    for n in range(SHOWN + 3):
        await make(access, f"unused {n}", created_at=NOW - (91 + n) * DAY)
    found = await attention(access)
    assert len(found.items) == SHOWN
    assert found.more == {"key_unused": 3}


@pytest.mark.policy("A5")
async def test_old_passwords(access: Access) -> None:
    made = await access.administrators.make_first(Secret("a long enough passphrase of words"), by="gateway")
    assert made is not None
    old = NOW - 91 * DAY
    async with access.database.write() as connection:
        await connection.execute(administrators.update().values(password_set_at=old))
    assert await items(access) == [Item(kind="password_old", id=made.id, name="admin", since=old)]


@pytest.mark.policy("L4")
async def test_alerts_of_late(access: Access, monkeypatch: pytest.MonkeyPatch) -> None:
    with capture_logs():
        access.alerts.tell("login_storm", "storm", "192.0.2.0/24")
    (item,) = await items(access)
    assert (item.kind, item.id, item.name) == ("alert", "192.0.2.0/24", "storm")
    monkeypatch.setattr(attention_module, "OF_LATE", timedelta(0))
    assert await items(access) == []
    monkeypatch.undo()
    assert alerts_module.KEPT > SHOWN
    with capture_logs():
        for n in range(SHOWN):
            access.alerts.tell("login_storm", "storm", str(n))
    assert (await attention(access)).more == {"alert": 1}


@pytest.mark.policy("L1")
async def test_an_audit_log_that_is_broken(access: Access) -> None:
    for _ in range(3):
        await access.audit.note("somebody", "thing.done")
    async with access.database.write() as connection:
        await connection.execute(delete(audit_entries).where(audit_entries.c.number == 2))
    assert await items(access) == []  # nobody has looked yet
    await access.audit.verification.whole()
    (item,) = await items(access)
    assert (item.kind, item.name) == ("audit_broken", "Entry 2 is missing.")


async def test_a_certificate_that_ends_soon(access: Access) -> None:
    ends_at = NOW + 29 * DAY
    assert await items(access, certificate_ends_at=ends_at) == [
        Item(kind="certificate_ending", name="certificate", until=ends_at)
    ]
