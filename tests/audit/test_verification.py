"""Whether the log is as it was written: known at any moment without walking through all of it again."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import delete, event, update

from claude_code_api.access import Access
from claude_code_api.audit import verification
from claude_code_api.errors import StorageFailure
from claude_code_api.settings import Settings
from claude_code_api.storage.tables import audit_entries

pytestmark = [pytest.mark.policy("L1"), pytest.mark.usefixtures("every_database")]


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(data_dir=tmp_path / "data")


@pytest.fixture
async def access(settings: Settings) -> AsyncIterator[Access]:
    async with Access.open(settings) as access:
        await fill(access)
        yield access


async def fill(access: Access, number: int = 5) -> None:
    for each in range(number):
        await access.audit.note("somebody", "thing.done", f"t{each}")


async def change(access: Access, statement: Any) -> None:
    async with access.database.write() as connection:
        await connection.execute(statement)


async def faults(access: Access) -> list[str]:
    known = await access.audit.verification.onward()
    assert known is not None
    return [fault.message for fault in known.faults]


async def test_before_the_whole_was_looked_through_nothing_is_claimed(access: Access) -> None:
    assert await access.audit.verification.onward() is None


async def test_only_what_has_come_since_is_looked_through(access: Access) -> None:
    whole = await access.audit.verification.whole()
    assert (whole.entries, whole.through, whole.intact) == (5, 5, True)
    await fill(access, 3)
    rows = []
    engine: Any = access.database._engine.sync_engine
    event.listen(engine, "after_cursor_execute", lambda *given: rows.append(given[2]))
    known = await access.audit.verification.onward()
    assert known is not None
    assert (known.entries, known.through, known.faults) == (8, 8, ())
    assert (known.whole_at, known.at > whole.at) == (whole.whole_at, True)
    assert len([statement for statement in rows if "audit_entries.number > " in statement]) == 1
    again = await access.audit.verification.onward()
    assert again is not None
    assert again.entries == 8


async def test_a_made_up_entry_is_found_and_stays_found(access: Access) -> None:
    await access.audit.verification.whole()
    await fill(access, 2)
    await change(access, update(audit_entries).where(audit_entries.c.number == 6).values(actor="somebody else"))
    assert await faults(access) == ["Entry 6 (thing.done) was changed, moved or made up."]
    await fill(access, 1)
    assert await faults(access) == ["Entry 6 (thing.done) was changed, moved or made up."]
    whole = await access.audit.verification.whole()
    assert [fault.number for fault in whole.faults] == [6]


async def test_entries_that_are_cut_off_are_missed_once(access: Access) -> None:
    await access.audit.verification.whole()
    await change(access, delete(audit_entries).where(audit_entries.c.number > 3))
    assert await faults(access) == ["Entry 5, which was proved before, is missing."]
    assert len(await faults(access)) == 1


async def test_the_last_proved_entry_may_not_change(access: Access) -> None:
    await access.audit.verification.whole()
    await change(access, update(audit_entries).where(audit_entries.c.number == 5).values(code=bytes(32)))
    assert (await faults(access))[0] == "Entry 5, which was proved before, was changed."


async def test_an_anchor_that_is_just_being_written_is_no_fault(
    access: Access, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first entry was committed, its anchor comes."""
    anchor, read = access.audit.verification._anchor, type(access.audit.verification._anchor).read
    looks: list[None] = []

    def late() -> Any:
        looks.append(None)
        return read(anchor) if len(looks) > 2 else None

    monkeypatch.setattr(anchor, "read", late)
    assert (await access.audit.verification.whole()).intact


async def test_an_anchor_that_is_gone_is_told(access: Access, settings: Settings) -> None:
    await access.audit.verification.whole()
    settings.audit_anchor_path.unlink()
    assert "anchor" in (await faults(access))[0]


@pytest.mark.parametrize("newer", [0, 2])
async def test_retention_is_no_fault(access: Access, newer: int) -> None:
    await access.audit.verification.whole()
    await fill(access, newer)
    await access.audit.shorten(datetime.now(UTC), "gateway")
    assert await faults(access) == []
    await fill(access, 2)
    assert await faults(access) == []
    assert (await access.audit.verification.whole()).faults == ()


async def test_many_who_ask_at_once_are_told_the_same(access: Access) -> None:
    await access.audit.verification.whole()
    await fill(access, 2)
    found = await asyncio.gather(*(access.audit.verification.onward() for _ in range(5)))
    assert {each.entries for each in found if each} == {7}


@pytest.mark.policy("L4")
async def test_a_broken_log_is_an_alert_of_a_gateway_that_runs(access: Access, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(verification, "INTERVAL", 0.01)
    async with access.audit.verification.kept_up(access.alerts), asyncio.timeout(20):
        while await access.audit.verification.onward() is None:
            await asyncio.sleep(0.001)
        assert access.alerts.latest() == []
        await change(access, delete(audit_entries).where(audit_entries.c.number == 2))
        while not access.alerts.latest():
            await asyncio.sleep(0.001)
    (alert,) = access.alerts.latest()
    assert (alert.kind, alert.message) == ("audit_broken", "the audit log is broken: Entry 2 is missing.")


async def test_a_database_that_fails_is_looked_at_again(access: Access, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(verification, "INTERVAL", 0.01)
    real = access.audit.verification.whole
    fails = iter([True, False])

    async def failing() -> Any:
        if next(fails, False):
            raise StorageFailure("The database is locked.")
        return await real()

    monkeypatch.setattr(access.audit.verification, "whole", failing)
    async with access.audit.verification.kept_up(access.alerts), asyncio.timeout(20):
        while await access.audit.verification.onward() is None:
            await asyncio.sleep(0.001)
