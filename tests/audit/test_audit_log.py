"""The audit log of a data directory: entries hold with the change that they tell of, and outlive what comes."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import delete, update
from structlog.testing import capture_logs

from claude_code_api.access import Access
from claude_code_api.audit import log
from claude_code_api.audit.anchor import Anchor
from claude_code_api.errors import Conflict, StorageFailure
from claude_code_api.secret import Secret
from claude_code_api.settings import Settings
from claude_code_api.stand_in import oauth_token
from claude_code_api.storage.tables import audit_entries

pytestmark = [pytest.mark.policy("L1"), pytest.mark.usefixtures("every_database")]


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(data_dir=tmp_path / "data")


async def told(access: Access) -> list[str]:
    return [f"{entry.actor}: {entry.action}" for entry in await access.audit.entries()]


async def fill(access: Access, number: int = 4) -> None:
    for each in range(number):
        await access.audit.note("somebody", f"thing.done{each}", f"t{each}", order=each)


async def messages(access: Access) -> list[str]:
    return [fault.message for fault in (await access.audit.verify())[1]]


async def test_every_change_of_keys_and_credentials_is_in_it_with_who_made_it(settings: Settings) -> None:
    async with Access.open(settings) as access:
        credential = await access.credentials.add("main", Secret(oauth_token("a")), by="administrator anna")
        key, text = await access.keys.create("program", "main", by="administrator anna")
        await access.credentials.replace("main", Secret(oauth_token("b")))
        await access.credentials.note_refused(credential.id)
        await access.keys.revoke(key.id)
        await access.credentials.remove("main")
        assert await told(access) == [
            "administrator anna: credential.added",
            "administrator anna: key.created",
            "command line: credential.replaced",
            "gateway: credential.refused",
            "command line: key.revoked",
            "command line: credential.removed",
        ]
        entries = await access.audit.entries()
        assert (entries[1].target, entries[1].said) == (key.id, {"name": "program", "credential": credential.id})
        written = str(entries)
        assert text.reveal() not in written
        assert oauth_token("a") not in written
        assert await access.audit.verify() == (6, [])


async def test_a_change_that_fails_leaves_no_entry(settings: Settings) -> None:
    async with Access.open(settings) as access:
        await access.credentials.add("main", Secret(oauth_token("a")))
        with pytest.raises(Conflict):
            await access.credentials.add("main", Secret(oauth_token("b")))
        assert await told(access) == ["command line: credential.added"]
        assert await access.audit.verify() == (1, [])


async def test_a_change_holds_where_its_anchor_cannot_be_written(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    async with Access.open(settings) as access:
        await fill(access, 1)
        with monkeypatch.context() as patch, capture_logs() as logged:
            patch.setattr(Anchor, "advance", full)
            await fill(access, 1)
        assert [line["log_level"] for line in logged if "anchor" in line["event"]] == ["error"]
        await fill(access, 1)
        assert await access.audit.verify() == (3, [])


async def test_it_goes_on_after_a_restart_and_under_many_hands(settings: Settings) -> None:
    async with Access.open(settings) as access:
        await fill(access)
    async with Access.open(settings) as one, Access.open(settings) as other:
        await asyncio.gather(*(fill(access, 10) for access in (one, other)))
        assert await one.audit.verify() == (24, [])


@pytest.mark.parametrize(
    ("number", "message"),
    [(1, "Entry 1 is missing."), (2, "Entry 2 is missing."), (4, "Entry 4 is cut off at the end.")],
)
async def test_a_removed_entry_is_named(settings: Settings, number: int, message: str) -> None:
    async with Access.open(settings) as access:
        await fill(access)
        async with access.audit.change("nobody") as change:
            await change.connection.execute(delete(audit_entries).where(audit_entries.c.number == number))
        assert (await messages(access))[0] == message


async def test_a_changed_entry_is_named(settings: Settings) -> None:
    async with Access.open(settings) as access:
        await fill(access)
        async with access.audit.change("nobody") as change:
            this = update(audit_entries).where(audit_entries.c.number == 3)
            await change.connection.execute(this.values(actor="somebody else"))
        assert await messages(access) == ["Entry 3 (thing.done2) was changed, moved or made up."]


async def test_an_emptied_log_is_found(settings: Settings) -> None:
    async with Access.open(settings) as access:
        await fill(access)
        async with access.audit.change("nobody") as change:
            await change.connection.execute(delete(audit_entries))
        assert await messages(access) == ["Entries 1 to 4 are cut off at the end."]


@pytest.mark.parametrize("content", [None, b"nonsense", b'{"number":1,"code":"00","proof":"00"}'])
async def test_a_lost_or_changed_anchor_is_found(settings: Settings, content: bytes | None) -> None:
    async with Access.open(settings) as access:
        await fill(access)
        settings.audit_anchor_path.unlink()
        if content is not None:
            settings.audit_anchor_path.write_bytes(content)
        (message,) = await messages(access)
        assert "anchor" in message


@pytest.mark.sqlite
async def test_a_whole_directory_put_back_is_found_by_an_anchor_elsewhere(tmp_path: Path) -> None:
    import shutil

    settings = Settings(data_dir=tmp_path / "data", audit_anchor_file=tmp_path / "elsewhere" / "anchor")
    settings.audit_anchor_path.parent.mkdir()
    async with Access.open(settings) as access:
        await fill(access, 2)
    shutil.copytree(settings.data_dir, tmp_path / "copy")
    async with Access.open(settings) as access:
        await fill(access, 2)
    shutil.rmtree(settings.data_dir)
    (tmp_path / "copy").rename(settings.data_dir)
    async with Access.open(settings) as access:
        assert await messages(access) == ["Entries 3 to 4 are cut off at the end."]


async def test_retention_keeps_the_rest_provable(settings: Settings) -> None:
    async with Access.open(settings) as access:
        await fill(access)
        assert await access.audit.shorten(datetime.now(UTC) - timedelta(days=1), "gateway") == 0
        assert await access.audit.shorten(datetime.now(UTC), "gateway") == 4
        await fill(access, 1)
        assert await told(access) == ["gateway: audit.shortened", "somebody: thing.done0"]
        assert await access.audit.verify() == (2, [])


async def test_what_is_past_its_time_is_removed_while_a_gateway_runs(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with Access.open(settings) as access:
        await fill(access)
        monkeypatch.setattr(log, "TIDY_INTERVAL", 0.01)
        monkeypatch.setattr(log, "timedelta", lambda days: timedelta(seconds=0))
        async with access.audit.kept(30, "gateway"):
            while "somebody: thing.done3" in await told(access):
                await asyncio.sleep(0.01)
        assert (await access.audit.verify())[1] == []


async def test_a_database_that_fails_keeps_its_old_entries_and_the_gateway_running(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with Access.open(settings) as access:
        await fill(access, 1)

        def full(*_: object, **__: object) -> None:
            raise StorageFailure("The disk is full.")

        monkeypatch.setattr(access.audit, "change", full)
        with capture_logs() as logged:
            async with access.audit.kept(30, "gateway"):
                while not logged:
                    await asyncio.sleep(0.01)
        assert [line["event"] for line in logged] == ["old entries of the audit log stay"]


async def test_it_is_filtered_by_what_one_looks_for(settings: Settings) -> None:
    async with Access.open(settings) as access:
        await access.credentials.add("main", Secret(oauth_token("a")))
        key, _ = await access.keys.create("program", "main")
        await access.keys.revoke(key.id)

        async def numbers(**wanted: object) -> list[int]:
            return [entry.number for entry in await access.audit.entries(**wanted)]

        assert await numbers(action="key") == [2, 3]
        assert await numbers(action="key.revoked") == [3]
        assert await numbers(target=key.id) == [2, 3]
        assert await numbers(limit=1) == [3]
        assert await numbers(actor="administrator") == []
        assert await numbers(since=datetime.now(UTC) + timedelta(hours=1)) == []
