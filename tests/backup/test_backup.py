"""A backup and what becomes of it: everything is there again, or it is refused and nothing is changed."""

from __future__ import annotations

import asyncio
import io
import os
import pwd
import resource
import secrets
import shutil
import sqlite3
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import func, select

from claude_code_api.access import Access, own_secrets, rotation
from claude_code_api.access.key_sources import KeyFile
from claude_code_api.access.stored_vault import sealed_columns
from claude_code_api.backup import Backup, Restored, back_up, check, making, note_made, restore
from claude_code_api.backup.making import tidy, written_to
from claude_code_api.backup.sealed_file import MAGIC
from claude_code_api.engines.claude_code.identities import identities
from claude_code_api.errors import StorageFailure, Unauthenticated, VaultFailure
from claude_code_api.secret import Secret
from claude_code_api.settings import Settings, given_only
from claude_code_api.stand_in import oauth_token
from claude_code_api.storage import changeover, migrations
from claude_code_api.storage.data_directory import DataDirectory
from claude_code_api.storage.tables import usage_records
from claude_code_api.usage.journal import Segment, encode
from claude_code_api.usage.record import Record
from claude_code_api.usage.recorder import journal_directory

pytestmark = pytest.mark.policy("D4")


def machine(tmp_path: Path, name: str) -> Settings:
    """The settings of a gateway; the master key lies beside the data, not in it."""
    (tmp_path / name).mkdir(exist_ok=True)
    return given_only(data_dir=tmp_path / name / "data", master_key_file=tmp_path / name / "master.key")


@pytest.fixture
def here(tmp_path: Path) -> Settings:
    return machine(tmp_path, "here")


@pytest.fixture
def there(tmp_path: Path, here: Settings) -> Settings:
    """An empty machine, with the master key handed over."""
    return machine(tmp_path, "there")


def hand_over(here: Settings, there: Settings) -> None:
    shutil.copy(here.master_key_path, there.master_key_path)


@pytest.fixture
async def access(here: Settings) -> AsyncIterator[Access]:
    async with Access.open(here) as access:
        yield access


async def made(settings: Settings, access: Access) -> tuple[Backup, bytes]:
    file = io.BytesIO()
    backup = await back_up(settings, access, file)
    await note_made(access, backup)
    return backup, file.getvalue()


async def restored(settings: Settings, content: bytes) -> Restored:
    return await asyncio.to_thread(restore, settings, io.BytesIO(content))


def tree(settings: Settings) -> dict[str, bytes]:
    """Every file of a gateway, but for its locks, which hold nothing."""
    files = [path for path in settings.data_dir.parent.rglob("*") if path.is_file() and path.suffix != ".lock"]
    return {str(path): path.read_bytes() for path in files}


@contextmanager
def unchanged(settings: Settings) -> Iterator[None]:
    before = tree(settings)
    yield
    assert tree(settings) == before


def record(number: int) -> Record:
    return Record(
        request_id=f"req_{number}", key_id="key", credential_id="cred", endpoint="/v1/chat/completions",
        model="haiku", stream=False, status=200, error=None, started_at=datetime.now(UTC), first_token_ms=1,
        duration_ms=2, input_tokens=1, output_tokens=1, cache_read_tokens=0, cache_write_tokens=0, reasoning_tokens=0,
        cost=1,
    )  # fmt: skip


# --- what is in it --------------------------------------------------------------------------------------


async def test_an_empty_machine_goes_on_with_keys_tokens_and_log(
    here: Settings, there: Settings, access: Access
) -> None:
    await access.credentials.add("main", Secret(oauth_token("main")))
    key, text = await access.keys.create("program", "main")
    backup, content = await made(here, access)
    hand_over(here, there)
    found = await restored(there, content)
    assert (found.id, found.keys, found.credentials, found.audit_entries) == (backup.id, 1, 1, 2)
    assert (found.lost_entries, found.moved_aside, found.faults) == (None, None, [])
    async with Access.open(there) as again:
        assert (await again.keys.verify(text)).id == key.id
        assert (await again.credentials.unlock("main")).token == Secret(oauth_token("main"))
        actions = [entry.action for entry in await again.audit.entries()]
        assert actions == ["credential.added", "key.created", "backup.restored"]
        assert await again.audit.verify() == (3, [])
    assert {path.name for path in there.data_dir.iterdir() if path.suffix != ".lock"} == {
        "gateway.db", "audit.anchor", "generation",
    }  # fmt: skip
    assert {path.stat().st_mode & 0o077 for path in there.data_dir.rglob("*")} == {0}


@pytest.mark.policy("A2")
async def test_no_session_and_no_invitation_comes_back_with_it(here: Settings, there: Settings, access: Access) -> None:
    """One that was ended since, or used, would be good again."""
    password = Secret(secrets.token_urlsafe())
    anna = await access.administrators.set_password("anna", password)
    _, session = await access.sessions.begin(anna, address="::1", device="")
    _, invitation = await access.invitations.invite("bert", "admin")
    _, content = await made(here, access)
    hand_over(here, there)
    await restored(there, content)
    async with Access.open(there) as again:
        for attempt in (again.sessions.check(session), again.invitations.accept(invitation, password)):
            with pytest.raises(Unauthenticated):
                await attempt
        await again.administrators.check("anna", password)
        assert (await again.audit.verify())[1] == []


async def test_usage_that_is_still_in_the_journal_is_in_it_whoever_writes_it(
    here: Settings, there: Settings, access: Access
) -> None:
    written = await asyncio.to_thread(Segment.create, journal_directory(here))
    for number in range(3):
        written.append(encode(record(number)))
    written.append(b"half of a li")
    _, content = await made(here, access)
    hand_over(here, there)
    for _ in range(2):  # counted once, however often
        await restored(there, content)
        async with Access.open(there) as again, again.database.read() as connection:
            assert await connection.scalar(select(func.count()).select_from(usage_records)) == 3
    written.remove()


async def test_each_credential_keeps_its_device_identity_and_nothing_else_of_its_directory(
    here: Settings, there: Settings, access: Access
) -> None:
    home = here.data_dir / "claude" / "cred_1"
    (home / "sessions").mkdir(parents=True)
    (home / "sessions" / "1").write_text("something")
    (home / ".claude.json").write_text('{"userID": "a-device", "projects": {"/secret/place": 1}}')
    _, content = await made(here, access)
    hand_over(here, there)
    await restored(there, content)
    assert identities(there) == {"cred_1": "a-device"}
    restored_home = there.data_dir / "claude" / "cred_1"
    assert [path.name for path in restored_home.iterdir()] == [".claude.json"]
    assert (restored_home / ".claude.json").read_text() == '{"userID":"a-device"}'
    (restored_home / ".claude.json").write_text('{"userID": "of-its-own"}')
    await restored(there, content)
    assert identities(there) == {"cred_1": "of-its-own"}, "what has one already keeps it"


async def test_a_backup_while_a_rotation_is_under_way_names_both_keys(
    here: Settings, there: Settings, access: Access, monkeypatch: pytest.MonkeyPatch
) -> None:
    await access.credentials.add("main", Secret(oauth_token("main")))
    old = here.master_key_path.read_text()

    async def stop(*_: Any) -> Any:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        real, calls = rotation._wrap, 0

        async def first_alone(*arguments: Any) -> Any:
            nonlocal calls
            calls += 1
            return await (stop() if calls > 5 else real(*arguments))

        patch.setattr(rotation, "_wrap", first_alone)
        with pytest.raises(KeyboardInterrupt):
            await access.rotate_master_key()
    assert await access.unfinished_rotation()
    backup, content = await made(here, access)
    ring = KeyFile(here.master_key_path).load()
    assert ring
    assert backup.master_keys == ring.ids
    there.master_key_path.write_text(old)
    there.master_key_path.chmod(0o600)
    with pytest.raises(VaultFailure, match=f"needs the master key {ring.ids[0]}. "):
        await restored(there, content)
    hand_over(here, there)
    await restored(there, content)
    async with Access.open(there) as again:
        assert (await again.credentials.unlock("main")).token == Secret(oauth_token("main"))


async def test_an_old_backup_opens_with_an_older_key_of_the_keyring(here: Settings, access: Access) -> None:
    await access.credentials.add("main", Secret(oauth_token("main")))
    _, content = await made(here, access)
    await access.rotate_master_key()
    await access.rotate_master_key()
    assert (await asyncio.to_thread(check, here, io.BytesIO(content))).credentials == 1


# --- what refuses ---------------------------------------------------------------------------------------


async def test_a_missing_or_wrong_master_key_names_the_needed_one_and_changes_nothing(
    here: Settings, there: Settings, access: Access
) -> None:
    backup, content = await made(here, access)
    with pytest.raises(VaultFailure, match=f"needs the master key {backup.master_keys[0]}. .* is missing"):
        await restored(there, content)
    assert not there.data_dir.exists()
    async with Access.open(there) as other:
        await other.credentials.add("other", Secret(oauth_token("other")))
    for attempt in (restore, check):
        with unchanged(there), pytest.raises(VaultFailure, match=f"needs the master key {backup.master_keys[0]}. "):
            await asyncio.to_thread(attempt, there, io.BytesIO(content))


async def test_a_damaged_backup_changes_nothing(here: Settings, access: Access) -> None:
    await access.credentials.add("main", Secret(oauth_token("main")))
    _, content = await made(here, access)
    await access.database.forget_overwritten()
    for position in (len(content) // 2, len(content) - 1):
        damaged = bytearray(content)
        damaged[position] ^= 1
        for attempt in (restore, check):
            with unchanged(here), pytest.raises(VaultFailure, match="damaged"):
                await asyncio.to_thread(attempt, here, io.BytesIO(damaged))
    with unchanged(here), pytest.raises(VaultFailure, match="damaged"):
        await restored(here, content[: len(content) // 2])


async def test_a_key_from_another_backup_does_not_open_this_one(here: Settings, access: Access) -> None:
    one, other = (await made(here, access))[1], (await made(here, access))[1]
    size = one.index(b"}") + 1
    assert other[size - 1 : size] == b"}"
    with pytest.raises(VaultFailure, match="damaged"):
        await restored(here, one[:size] + other[size:])


async def test_it_is_refused_while_a_server_runs_but_a_check_is_not(here: Settings, access: Access) -> None:
    _, content = await made(here, access)
    with DataDirectory(here.data_dir).server_lock():
        with unchanged(here), pytest.raises(StorageFailure, match="A server already runs"):
            await restored(here, content)
        assert (await asyncio.to_thread(check, here, io.BytesIO(content))).faults == []


async def test_it_is_refused_while_another_command_has_the_database_open(
    here: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(changeover, "WAIT", 0.01)
    async with Access.open(here) as access:
        _, content = await made(here, access)
        with pytest.raises(StorageFailure, match="Another command uses the database"):
            await restored(here, content)
        assert await access.audit.verify() == (1, [])
    with closing(sqlite3.connect(here.data_dir / "gateway.db")) as another_program:
        another_program.execute("PRAGMA journal_mode = WAL")
        another_program.execute("BEGIN")
        another_program.execute("SELECT count(*) FROM usage_records").fetchone()
        with pytest.raises(StorageFailure, match="Another command uses the database"):
            await restored(here, content)
    await restored(here, content)


async def test_two_backups_at_once_are_refused(here: Settings, access: Access) -> None:
    with (
        DataDirectory(here.data_dir).backup_lock(),
        pytest.raises(StorageFailure, match="already being made or checked"),
    ):
        await back_up(here, access, io.BytesIO())


@contextmanager
def a_full_disk() -> Iterator[None]:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


async def test_a_full_disk_changes_nothing(here: Settings, access: Access) -> None:
    _, content = await made(here, access)
    await access.database.forget_overwritten()
    with unchanged(here):
        with a_full_disk(), pytest.raises(StorageFailure, match=r"cannot be unpacked into .* Nothing was changed"):
            await restored(here, content)
        with a_full_disk(), pytest.raises(StorageFailure, match="The database cannot be copied"):
            await back_up(here, access, io.BytesIO())


async def test_a_database_of_a_newer_release_is_refused(
    here: Settings, access: Access, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = making._keys_needed

    def of_a_newer_release(snapshot: Path) -> list[bytes]:
        with closing(sqlite3.connect(snapshot)) as connection, connection:
            connection.execute("UPDATE alembic_version SET version_num = '9999'")
        return real(snapshot)

    monkeypatch.setattr(making, "_keys_needed", of_a_newer_release)
    _, content = await made(here, access)
    await access.database.forget_overwritten()
    with unchanged(here), pytest.raises(StorageFailure, match="which a newer release made"):
        await restored(here, content)


async def test_a_database_of_an_older_release_is_migrated(
    here: Settings, there: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = io.BytesIO()
    with monkeypatch.context() as patch:
        patch.setattr(migrations, "HEAD", "0004")
        then = [(each, column) for each, column in sealed_columns() if each.name in {"vault_records", "credentials"}]
        for module in (own_secrets, making):
            patch.setattr(module, "sealed_columns", lambda: then)
        async with Access.open(here) as access:
            await back_up(here, access, file)
    hand_over(here, there)
    await restored(there, file.getvalue())
    async with Access.open(there) as access:
        await access.credentials.add("main", Secret(oauth_token("main")))
        await access.keys.create("program", "main")
        assert (await access.audit.verify())[1] == []


# --- what was here before -------------------------------------------------------------------------------


async def test_the_database_that_was_there_is_whole_where_it_was_moved(here: Settings, tmp_path: Path) -> None:
    async with Access.open(here) as access:
        await access.credentials.add("main", Secret(oauth_token("main")))
        _, content = await made(here, access)
        _, later = await access.keys.create("later", "main")
    found = await restored(here, content)
    assert found.moved_aside
    aside = given_only(
        data_dir=tmp_path / "aside", master_key_file=here.master_key_path,
        database_url=Secret(f"sqlite+aiosqlite:///{found.moved_aside}"),
    )  # fmt: skip
    async with Access.open(aside) as access:
        await access.keys.verify(later)
    async with Access.open(here) as access:
        with pytest.raises(Unauthenticated):
            await access.keys.verify(later)


async def test_a_damaged_database_is_moved_aside_as_it_is(here: Settings) -> None:
    async with Access.open(here) as access:
        await access.credentials.add("main", Secret(oauth_token("main")))
        _, content = await made(here, access)
    (here.data_dir / "gateway.db").write_bytes(b"no database at all" * 1000)
    found = await restored(here, content)
    assert found.moved_aside
    assert Path(found.moved_aside).read_bytes().startswith(b"no database at all")
    assert found.lost_entries == [2, 2], "from the anchor, which knows of the entry of the backup"
    async with Access.open(here) as access:
        assert (await access.audit.verify())[1] == []


@pytest.mark.policy("L1")
async def test_the_log_names_what_the_restored_database_lacks_and_stays_provable(here: Settings) -> None:
    async with Access.open(here) as access:
        await access.credentials.add("main", Secret(oauth_token("main")))
        backup, content = await made(here, access)  # entry 2 tells of it
        await access.credentials.remove("main")
    assert (await restored(here, content)).lost_entries == [2, 3]
    async with Access.open(here) as access:
        assert await access.audit.verify() == (2, [])
        last = (await access.audit.entries())[-1]
        assert (last.number, last.action, last.target, last.said["lost"]) == (4, "backup.restored", backup.id, [2, 3])
    here.audit_anchor_path.unlink()  # even without it, the database that is replaced tells
    assert (await restored(here, content)).lost_entries == [2, 4]
    async with Access.open(here) as access:
        assert await access.audit.verify() == (2, [])


@pytest.mark.policy("L1")
async def test_over_another_gateway_its_anchor_goes_aside_with_its_database(
    here: Settings, there: Settings, access: Access
) -> None:
    _, content = await made(here, access)
    async with Access.open(there) as other:
        for name in "abc":
            await other.credentials.add(name, Secret(oauth_token(name)))
    anchor = there.audit_anchor_path.read_bytes()
    there.master_key_path.write_text(there.master_key_path.read_text() + here.master_key_path.read_text())
    found = await restored(there, content)
    assert found.lost_entries is None, "those entries were of another log"
    assert [path.read_bytes() for path in there.data_dir.glob("audit.anchor.before-*")] == [anchor]
    async with Access.open(there) as again:
        assert await again.audit.verify() == (1, [])


@pytest.mark.policy("L1")
async def test_a_log_that_was_cut_before_the_backup_is_told(here: Settings, there: Settings, access: Access) -> None:
    from sqlalchemy import delete

    from claude_code_api.storage.tables import audit_entries

    for number in range(3):
        await access.audit.note("somebody", f"thing.done{number}")
    async with access.database.write() as connection:
        await connection.execute(delete(audit_entries).where(audit_entries.c.number == 3))
    file = io.BytesIO()
    await back_up(here, access, file)
    hand_over(here, there)
    found = await restored(there, file.getvalue())
    assert [fault.message for fault in found.faults] == ["Entry 3 is cut off at the end."]
    assert found.lost_entries == [3, 3]


async def test_files_that_the_settings_put_elsewhere_go_there(here: Settings, access: Access, tmp_path: Path) -> None:
    """Another file system, too, where there is one to be had."""
    _, content = await made(here, access)
    memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else None) as elsewhere:
        there = given_only(
            data_dir=tmp_path / "there", master_key_file=here.master_key_path,
            audit_anchor_file=Path(elsewhere) / "anchors" / "audit.anchor",
            database_url=Secret(f"sqlite+aiosqlite:///{elsewhere}/databases/of-mine.db"),
        )  # fmt: skip
        (Path(elsewhere) / "databases").mkdir()
        for _ in range(2):
            found = await restored(there, content)
            async with Access.open(there) as again:
                assert (await again.audit.verify())[1] == []
        assert str(found.moved_aside).startswith(f"{elsewhere}/databases/of-mine.db.before-")
        assert there.audit_anchor_path.exists()
        assert {path.name for path in there.data_dir.iterdir() if path.suffix != ".lock"} == {"generation"}


async def test_a_place_that_cannot_be_written_to_is_told_before_anything_is_decided(
    here: Settings, access: Access, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, content = await made(here, access)
    there = given_only(
        data_dir=tmp_path / "there", master_key_file=here.master_key_path, audit_anchor_file=tmp_path / "a" / "anchor"
    )
    monkeypatch.setattr(os, "access", lambda path, _: Path(path) != tmp_path)
    with pytest.raises(StorageFailure, match="Nothing can be written into"):
        await restored(there, content)
    assert not (there.data_dir / "gateway.db").exists()
    assert not (there.data_dir / "restored").exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may give a file away")
async def test_identities_belong_to_the_user_that_claude_code_runs_as(
    here: Settings, there: Settings, access: Access
) -> None:
    home = here.data_dir / "claude" / "cred_1"
    home.mkdir(parents=True)
    (home / ".claude.json").write_text('{"userID": "a-device"}')
    _, content = await made(here, access)
    hand_over(here, there)
    await restored(there.model_copy(update={"claude_code_user": "nobody"}), content)
    theirs = [there.data_dir / "claude" / "cred_1", there.data_dir / "claude" / "cred_1" / ".claude.json"]
    assert {path.stat().st_uid for path in theirs} == {pwd.getpwnam("nobody").pw_uid}


async def test_who_has_it_open_afterwards_sees_what_was_restored(here: Settings) -> None:
    async with Access.open(here) as access:
        await access.credentials.add("main", Secret(oauth_token("main")))
        _, before = await access.keys.create("before", "main")
        _, content = await made(here, access)
    generation = (here.data_dir / "generation").read_bytes()
    await restored(here, content)
    assert (here.data_dir / "generation").read_bytes() != generation
    async with Access.open(here) as access:
        assert (await access.keys.verify(before)).name == "before"


# --- the file, and what stays behind --------------------------------------------------------------------


def test_a_file_that_is_there_is_not_replaced_and_a_failure_leaves_none(tmp_path: Path) -> None:
    path = tmp_path / "backup"
    with pytest.raises(ZeroDivisionError), written_to(path, replace=False):
        raise ZeroDivisionError
    assert list(tmp_path.iterdir()) == []
    with written_to(path, replace=False) as file:
        file.write(MAGIC + b"one")
        assert not path.exists()
    with pytest.raises(FileExistsError), written_to(path, replace=False):
        pytest.fail("opened")
    with written_to(path, replace=True) as file:
        file.write(b"two")
        assert path.read_bytes() == MAGIC + b"one"
    assert path.read_bytes() == b"two"
    with pytest.raises(FileExistsError), written_to(path, replace=True):
        pytest.fail("what is no backup was opened")
    assert path.stat().st_mode & 0o777 == 0o600
    assert [each.name for each in tmp_path.iterdir()] == ["backup"]


def test_a_start_removes_what_a_killed_backup_or_restore_has_left(here: Settings) -> None:
    directory = DataDirectory(here.data_dir)
    (here.data_dir / "snapshot.db").write_text("x")
    for name in ("restoring", "checking"):
        (here.data_dir / name).mkdir()
        (here.data_dir / name / "gateway.db").write_text("x")
    with directory.backup_lock():
        tidy(directory)
        assert {path.name for path in here.data_dir.iterdir()} == {"snapshot.db", "checking", "backup.lock"}
    tidy(directory)
    assert {path.name for path in here.data_dir.iterdir()} == {"backup.lock"}
