"""Opening agrees between processes, and with a missing or wrong master key refuses and changes nothing."""

from __future__ import annotations

import asyncio
import base64
import os
import stat
import subprocess
import sys
from collections.abc import Callable
from contextlib import AsyncExitStack, closing
from pathlib import Path
from sqlite3 import connect

import pytest
from blockbuster import blockbuster_ctx

from claude_code_api.access import Access
from claude_code_api.access.key_sources import KeyFile
from claude_code_api.errors import StorageFailure, VaultFailure
from claude_code_api.secret import Secret
from claude_code_api.settings import Settings


def rows(settings: Settings) -> list[str]:
    with closing(connect(settings.data_dir / "gateway.db")) as connection:
        return list(connection.iterdump())


def newest(settings: Settings) -> str:
    """The id of the newest master key in the file."""
    keyring = KeyFile(settings.master_key_path).load()
    assert keyring is not None
    return keyring.ids[0]


async def filled(settings: Settings, token: Secret) -> Secret:
    async with Access.open(settings) as access:
        await access.credentials.add("mine", token)
        return (await access.keys.create("laptop", "mine"))[1]


async def test_what_was_kept_is_there_after_a_restart(own_settings: Settings, token: Secret) -> None:
    key = await filled(own_settings, token)
    for migrate in (False, True):
        async with Access.open(own_settings, migrate=migrate) as access:
            assert (await access.keys.verify(key)).name == "laptop"
            assert (await access.credentials.unlock("mine")).token == token


async def test_a_server_and_a_command_may_be_open_at_once(
    access: Access, token: Secret, in_another_process: Callable[[str], str]
) -> None:
    await access.credentials.add("mine", token)
    said = await asyncio.to_thread(in_another_process, "print((await access.keys.create('n', 'mine'))[1].reveal())")
    key = await access.keys.verify(Secret(said.strip()))
    assert key.credential_id == (await access.credentials.get("mine")).id


async def test_many_that_open_a_fresh_directory_at_once_agree(own_settings: Settings, token: Secret) -> None:
    async with AsyncExitStack() as stack:
        one, *others = await asyncio.gather(
            *(stack.enter_async_context(Access.open(own_settings, migrate=i == 0)) for i in range(5))
        )
        await one.credentials.add("mine", token)
        _, text = await one.keys.create("laptop", "mine")
        for other in others:
            assert (await other.keys.verify(text)).name == "laptop"
            assert (await other.credentials.unlock("mine")).token == token


async def test_processes_that_open_a_fresh_directory_at_once_agree(own_settings: Settings, token: Secret) -> None:
    program = (
        "import asyncio, pathlib, sys\nfrom claude_code_api.access import Access\n"
        "from claude_code_api.settings import Settings\n"
        "async def main():\n    async with Access.open(Settings(data_dir=pathlib.Path(sys.argv[1]))) as access:\n"
        "        print(access.keys._mac.hexdigest())\nasyncio.run(main())"
    )
    environment = {**os.environ, "PYTHONPATH": str(Path(sys.modules["claude_code_api"].__path__[0]).parent)}
    started = [
        subprocess.Popen(
            [sys.executable, "-c", program, str(own_settings.data_dir)],
            env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )
        for _ in range(4)
    ]  # fmt: skip
    said = [await asyncio.to_thread(process.communicate) for process in started]
    assert [errors for _, errors in said] == [b""] * 4
    assert len({output for output, _ in said}) == 1


@pytest.mark.policy("T2")
async def test_a_missing_master_key_is_named_and_nothing_is_changed(own_settings: Settings, token: Secret) -> None:
    await filled(own_settings, token)
    found = newest(own_settings)
    own_settings.master_key_path.rename(own_settings.data_dir / "away")
    before = rows(own_settings)
    with pytest.raises(VaultFailure, match=f"{own_settings.master_key_path} is missing.*{found}"):
        async with Access.open(own_settings, migrate=True):
            pytest.fail("opened")
    assert rows(own_settings) == before
    assert not own_settings.master_key_path.exists()
    (own_settings.data_dir / "away").rename(own_settings.master_key_path)
    async with Access.open(own_settings) as access:
        assert (await access.credentials.unlock("mine")).token == token


@pytest.mark.policy("T2")
async def test_a_wrong_master_key_is_refused_and_nothing_is_changed(
    own_settings: Settings, token: Secret, tmp_path: Path
) -> None:
    await filled(own_settings, token)
    right = newest(own_settings)
    other = tmp_path / "other.key"
    other.write_text(base64.b64encode(b"o" * 32).decode())
    other.chmod(0o600)
    before = rows(own_settings)
    with pytest.raises(VaultFailure, match=f"The file {other} holds the master key .* needs the key {right}"):
        async with Access.open(own_settings.model_copy(update={"master_key_file": other}), migrate=True):
            pytest.fail("opened")
    assert rows(own_settings) == before


async def test_a_master_key_that_is_there_first_is_used(own_settings: Settings, tmp_path: Path, token: Secret) -> None:
    elsewhere = tmp_path / "kept.key"
    elsewhere.write_text(base64.b64encode(b"o" * 32).decode())
    elsewhere.chmod(0o600)
    settings = own_settings.model_copy(update={"master_key_file": elsewhere})
    await filled(settings, token)
    assert not (settings.data_dir / "master.key").exists()
    async with Access.open(settings) as access:
        assert (await access.credentials.unlock("mine")).token == token


async def test_everything_in_the_data_directory_is_private(access: Access, own_settings: Settings) -> None:
    assert stat.S_IMODE(own_settings.data_dir.stat().st_mode) == 0o700
    modes = {file.name: stat.S_IMODE(file.stat().st_mode) for file in own_settings.data_dir.iterdir()}
    assert {"gateway.db", "gateway.db-wal", "master.key", "generation"} <= set(modes)
    assert set(modes.values()) == {0o600}


async def test_a_directory_that_others_may_write_to_is_refused(own_settings: Settings) -> None:
    own_settings.data_dir.mkdir()
    own_settings.data_dir.chmod(0o777)
    with pytest.raises(StorageFailure, match="Others may write"):
        async with Access.open(own_settings):
            pytest.fail("opened")
    assert list(own_settings.data_dir.iterdir()) == []


async def test_opening_and_working_never_blocks_the_event_loop(own_settings: Settings, token: Secret) -> None:
    with blockbuster_ctx("claude_code_api"):
        key = await filled(own_settings, token)
        async with Access.open(own_settings) as access:
            await access.keys.verify(key)
            await access.keys.revoke("laptop")
