"""A rotation of the master key loses nothing, stops nobody, and goes on where one was killed."""

from __future__ import annotations

import asyncio
import base64
import json
import os
import secrets
import shutil
import subprocess
import sys
import tempfile
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing, suppress
from pathlib import Path
from sqlite3 import connect

import pytest
from gateways import until
from postgres import Postgres
from sqlalchemy import LargeBinary

from claude_code_api.access import Access, Rotation, key_sources, rotation
from claude_code_api.access.key_sources import KeyFile
from claude_code_api.access.own_secrets import own_secret
from claude_code_api.access.stored_vault import PEPPER, sealed_columns
from claude_code_api.access.vault import master_key_id
from claude_code_api.errors import StorageFailure, VaultFailure
from claude_code_api.secret import Secret
from claude_code_api.settings import Settings, given_only
from claude_code_api.stand_in import oauth_token
from claude_code_api.storage.data_directory import DataDirectory
from claude_code_api.storage.tables import metadata

pytestmark = pytest.mark.policy("T2")


def keys_in(settings: Settings) -> list[str]:
    keyring = KeyFile(settings.master_key_path).load()
    assert keyring is not None
    return keyring.ids


def keys_needed(settings: Settings) -> set[str]:
    """The master keys that the records of the database are under."""
    with closing(connect(settings.data_dir / "gateway.db")) as connection:
        return {
            master_key_id(sealed).hex()
            for table, column in sealed_columns()
            for (sealed,) in connection.execute(f"SELECT {column.name} FROM {table.name} WHERE {column.name} NOTNULL")
        }


def set_keys(settings: Settings, text: str) -> None:
    settings.master_key_path.write_text(text)


def fresh_key() -> str:
    return base64.b64encode(secrets.token_bytes(32)).decode()


@asynccontextmanager
async def opened(settings: Settings) -> AsyncIterator[Access]:
    async with Access.open(settings) as access:
        yield access


async def fill(settings: Settings, token: Secret) -> Secret:
    async with Access.open(settings) as access:
        await access.credentials.add("mine", token)
        return (await access.keys.create("laptop", "mine"))[1]


async def opens(settings: Settings, key: Secret, token: Secret) -> None:
    async with Access.open(settings) as access:
        assert (await access.keys.verify(key)).name == "laptop"
        assert (await access.credentials.unlock("mine")).token == token


async def pepper(access: Access) -> bytes:
    async with access.database.write() as connection:
        return await own_secret(connection, access.vault, PEPPER.record)


async def test_everything_comes_under_a_new_key_and_opens(own_settings: Settings, token: Secret) -> None:
    key = await fill(own_settings, token)
    (old,) = keys_in(own_settings)
    async with Access.open(own_settings) as access:
        before = await pepper(access)
        done = await access.rotate_master_key()
        assert await pepper(access) == before
    assert (done.older_ids, done.records, done.resumed) == ([old], 3, False), "pepper, audit key and token"
    assert keys_in(own_settings) == [done.master_key_id, old]
    assert keys_needed(own_settings) == {done.master_key_id}
    await opens(own_settings, key, token)
    set_keys(own_settings, own_settings.master_key_path.read_text().splitlines()[1])  # the new one alone
    await opens(own_settings, key, token)


async def test_nothing_that_the_old_key_opens_is_left_on_disk(own_settings: Settings, token: Secret) -> None:
    await fill(own_settings, token)
    (old,) = keys_in(own_settings)

    def traces() -> list[str]:
        files = [path for path in own_settings.data_dir.iterdir() if path.is_file() and path.name != "master.key"]
        return [path.name for path in files if bytes.fromhex(old) in path.read_bytes()]

    async with opened(own_settings) as running, opened(own_settings) as other:
        await running.credentials.replace("mine", token)
        assert "gateway.db-wal" in traces()
        await other.rotate_master_key()
        assert traces() == []


async def test_the_old_key_alone_no_longer_opens_it_and_changes_nothing(own_settings: Settings, token: Secret) -> None:
    await fill(own_settings, token)
    old = own_settings.master_key_path.read_text()
    async with Access.open(own_settings) as access:
        done = await access.rotate_master_key()
    set_keys(own_settings, old)
    for _ in range(2):
        with pytest.raises(VaultFailure, match=f"needs the key {done.master_key_id}. Nothing was changed"):
            async with Access.open(own_settings, migrate=True):
                pytest.fail("opened")
    assert keys_needed(own_settings) == {done.master_key_id}
    assert own_settings.master_key_path.read_text() == old


async def test_a_copy_from_before_opens_with_its_key_and_with_the_keyring(
    own_settings: Settings, token: Secret, tmp_path: Path
) -> None:
    key = await fill(own_settings, token)
    for name in ("with its key", "with the keyring"):
        shutil.copytree(own_settings.data_dir, tmp_path / name)
    async with Access.open(own_settings) as access:
        await access.rotate_master_key()
        await access.rotate_master_key()
    shutil.copy(own_settings.master_key_path, tmp_path / "with the keyring" / "master.key")
    for name in ("with its key", "with the keyring"):
        await opens(given_only(data_dir=tmp_path / name), key, token)
    # and from there a rotation brings it under the newest key, without another one
    async with Access.open(given_only(data_dir=tmp_path / "with the keyring")) as access:
        done = await access.rotate_master_key()
    assert (done.resumed, done.master_key_id) == (True, keys_in(own_settings)[0])


async def test_who_has_it_open_goes_on_and_seals_under_the_new_key(own_settings: Settings, token: Secret) -> None:
    await fill(own_settings, token)
    async with opened(own_settings) as running, opened(own_settings) as other:
        for number in range(2):
            done = await other.rotate_master_key()
            assert (await running.credentials.unlock("mine")).token == token
            added = Secret(oauth_token(f"new-{number}"))
            await running.credentials.add(f"new-{number}", added)
            await running.credentials.replace("mine", token)
            assert (await other.credentials.unlock(f"new-{number}")).token == added
            assert keys_needed(own_settings) == {done.master_key_id}


async def test_what_is_stored_meanwhile_is_not_missed(
    own_settings: Settings, token: Secret, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rotation, "BATCH", 1)
    await fill(own_settings, token)
    async with opened(own_settings) as running, opened(own_settings) as other:

        async def add(number: int) -> None:
            await running.credentials.add(f"c{number}", Secret(oauth_token(f"c{number}")))

        done, *_ = await asyncio.gather(other.rotate_master_key(), *(add(number) for number in range(20)))
        assert keys_needed(own_settings) == {done.master_key_id}
        for number in range(20):
            assert (await running.credentials.unlock(f"c{number}")).token == Secret(oauth_token(f"c{number}"))


def test_killed_at_any_step_everything_opens_and_the_next_run_finishes() -> None:
    memory = Path("/dev/shm")  # where making durable takes no time; a killed process loses nothing either way
    with tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else None) as directory:
        script = Path(__file__).with_name("killed_rotation.py")
        ran = subprocess.run(
            [sys.executable, "-W", "error", str(script), directory],
            env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}, capture_output=True, check=False,
        )  # fmt: skip
    assert ran.stderr == b""
    found = json.loads(ran.stdout)
    assert all(run["opens"] and run["opens afterwards"] and run["without the older keys"] for run in found)
    assert {str(run["files"]) for run in found} == {"['master.key']"}
    # Before the new key is durable, after it and before everything is under it, after that.
    states = [(run["keys"], run["resumed"], run["keys afterwards"]) for run in found]
    before, within, after = [states.count(state) for state in ((1, False, 2), (2, True, 2), (2, False, 3))]
    assert (before, before + within + after) == (3, len(found))
    # Around the renaming's end, and around the transactions up to the last commit, that of the renaming included.
    assert within == 2 * 7
    assert after == 2 + 4  # killed after the last batch, or around the audit entry and its anchor; and not at all


async def test_a_key_that_the_operator_put_first_is_the_new_one(own_settings: Settings, token: Secret) -> None:
    key = await fill(own_settings, token)
    (old,) = keys_in(own_settings)
    set_keys(own_settings, f"{fresh_key()}\n{own_settings.master_key_path.read_text()}")
    await opens(own_settings, key, token)
    assert keys_needed(own_settings) == {old}  # until it is rotated
    async with Access.open(own_settings) as access:
        await access.credentials.replace("mine", token)
        assert keys_needed(own_settings) == {old}
        done = await access.rotate_master_key()
    assert done.resumed
    assert keys_in(own_settings) == [done.master_key_id, old]
    assert keys_needed(own_settings) == {done.master_key_id}
    await opens(own_settings, key, token)


async def test_a_setting_is_rotated_in_two_steps(own_settings: Settings, token: Secret) -> None:
    old, new = fresh_key(), fresh_key()
    first, both, last = (
        given_only(data_dir=own_settings.data_dir, master_key=text) for text in (old, f"{new} {old}", new)
    )
    key = await fill(first, token)
    async with Access.open(first) as access:
        with pytest.raises(VaultFailure, match="yours to change"):
            await access.rotate_master_key()
    async with Access.open(both) as running:
        async with Access.open(both) as access:
            assert (await access.rotate_master_key()).resumed
            with pytest.raises(VaultFailure, match="yours to change"):  # nothing is left to do
                await access.rotate_master_key()
        assert (await running.credentials.unlock("mine")).token == token
        await running.credentials.replace("mine", token)
    await opens(last, key, token)
    with pytest.raises(VaultFailure, match=r"^The setting master_key holds the master key .* but the database needs"):
        await opens(first, key, token)


async def test_what_a_command_prints_is_picked_up_without_a_restart(
    own_settings: Settings, token: Secret, tmp_path: Path
) -> None:
    printed = tmp_path / "printed"
    printed.write_text(fresh_key())
    settings = given_only(data_dir=own_settings.data_dir, master_key_command=f"cat '{printed}'")
    key = await fill(settings, token)
    async with Access.open(settings) as running:
        printed.write_text(f"{fresh_key()}\n{printed.read_text()}")
        async with Access.open(settings) as access:
            await access.rotate_master_key()
        assert (await running.credentials.unlock("mine")).token == token
        await running.credentials.replace("mine", token)
    printed.write_text(printed.read_text().splitlines()[0])
    await opens(settings, key, token)


async def test_a_key_that_the_running_one_cannot_get_stops_what_needs_it_and_nothing_else(
    own_settings: Settings, token: Secret
) -> None:
    old, new = fresh_key(), fresh_key()
    first, both = (given_only(data_dir=own_settings.data_dir, master_key=text) for text in (old, f"{new} {old}"))
    key = await fill(first, token)
    async with Access.open(first) as running:
        async with Access.open(both) as access:
            done = await access.rotate_master_key()
        await running.keys.verify(key)
        with pytest.raises(VaultFailure, match=f"needs the master key {done.master_key_id}"):
            await running.credentials.unlock("mine")
        with pytest.raises(VaultFailure, match=f"needs the master key {done.master_key_id}"):
            await running.credentials.add("other", token)
        assert [record.name for record in await running.credentials.list()] == ["mine"]


async def test_a_record_that_does_not_open_is_named_and_stays_and_the_others_follow(
    own_settings: Settings, token: Secret
) -> None:
    await fill(own_settings, token)
    async with Access.open(own_settings) as access:
        broken = await access.credentials.add("broken", token)
        with closing(connect(own_settings.data_dir / "gateway.db")) as connection, connection:
            connection.execute("UPDATE credentials SET token = zeroblob(200) WHERE id = ?", [broken.id])
        for keys in (2, 3):  # it is no reason to stay with a key that may be known to others
            with pytest.raises(VaultFailure, match=rf"left as it is: credentials.token of '{broken.id}'\."):
                await access.rotate_master_key()
            assert len(keys_in(own_settings)) == keys
        assert keys_needed(own_settings) == {keys_in(own_settings)[0], "00" * 8}
        await access.credentials.replace("broken", token)
        assert (await access.credentials.unlock("mine")).token == token


async def test_there_is_one_rotation_at_a_time(own_settings: Settings, token: Secret) -> None:
    await fill(own_settings, token)
    async with Access.open(own_settings) as access:
        refusal = pytest.raises(StorageFailure, match=f"A rotation .* already runs .*process {os.getpid()}")
        with DataDirectory(own_settings.data_dir).rotation_lock(), refusal:
            await access.rotate_master_key()
        assert len(keys_in(own_settings)) == 1
        await access.rotate_master_key()


def test_every_column_of_bytes_is_sealed_or_known_not_to_be() -> None:
    """What is sealed elsewhere would stay under the old key."""
    binary = {str(column) for table in metadata.sorted_tables for column in table.columns
              if isinstance(column.type, LargeBinary)}  # fmt: skip
    assert binary - {f"{table.name}.{column.name}" for table, column in sealed_columns()} == {
        "admin_sessions.hash",
        "admin_tokens.hash",
        "api_keys.hash",
        "audit_entries.code",
        "invitations.hash",
        "recovery_codes.hash",
        "setup_links.hash",
    }
    assert all(len(table.primary_key.columns) == 1 for table, _ in sealed_columns())


async def test_two_gateways_that_rotate_at_once_lose_no_key(
    tmp_path: Path, postgres: Postgres, token: Secret, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With data directories of their own and one key file, each adds its key to what the other has left there."""
    url, key_file = postgres.create(postgres.at_head), tmp_path / "master.key"
    one, other = (Settings(data_dir=tmp_path / n, database_url=url, master_key_file=key_file) for n in ("one", "other"))
    both = threading.Barrier(2)
    write = key_sources._written_beside

    def write_together(path: Path, text: bytes) -> Path:
        before = path.read_bytes()
        with suppress(threading.BrokenBarrierError):  # the other one waits
            if both.wait(0.5):
                until(lambda: path.read_bytes() != before)
        return write(path, text)

    async with Access.open(one) as here, Access.open(other) as there:
        await here.credentials.add("mine", token)
        monkeypatch.setattr(key_sources, "_written_beside", write_together)
        told = await asyncio.gather(here.rotate_master_key(), there.rotate_master_key(), return_exceptions=True)
        made = {rotated.master_key_id for rotated in told if isinstance(rotated, Rotation)}
        assert made
        assert made <= set(keys_in(one))
    async with Access.open(one) as later:
        assert (await later.credentials.unlock("mine")).token == token
