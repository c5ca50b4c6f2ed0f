"""The restore drill: a backup under load, an empty machine, the master key handed over apart, and all goes on."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from asking import ask, said, user
from canaries import Search, canary
from gateways import ROOT, Gateway, StartGateway, until
from making import device_of
from sqlalchemy import select

from claude_code_api.access import Access
from claude_code_api.secret import Secret
from claude_code_api.settings import Settings
from claude_code_api.stand_in import StandIn
from claude_code_api.storage.tables import usage_records

pytestmark = pytest.mark.policy("D4")


def command(settings: Settings, *arguments: str) -> Any:
    """The one document that the command prints."""
    done = subprocess.run(
        [sys.executable, "-m", "claude_code_api", *arguments, "--data-dir", str(settings.data_dir), "--json"],
        env={
            "PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), "CCAPI_MASTER_KEY_FILE": str(settings.master_key_path),
        },
        cwd=settings.data_dir.parent, capture_output=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


class Load:
    """Clients that ask without pause; `answered` are the ids of requests that they were answered."""

    def __init__(self, gateway: Gateway, key: str) -> None:
        self.answered: list[str] = []
        self._gateway, self._key = gateway, key
        self._ended = threading.Event()

    @contextmanager
    def on(self) -> Iterator[Load]:
        threads = [threading.Thread(target=self._ask) for _ in range(3)]
        for thread in threads:
            thread.start()
        try:
            yield self
        finally:
            self._ended.set()
            for thread in threads:
                thread.join()

    def _ask(self) -> None:
        with self._gateway.client(self._key) as client:
            while not self._ended.is_set():
                answer = client.chat.completions.with_raw_response.create(model="haiku", messages=[user("Hello")])  # type: ignore[list-item]
                assert answer.parse().choices
                self.answered.append(answer.headers["x-request-id"])


def test_a_backup_under_load_is_restored_on_an_empty_machine(
    start_gateway: StartGateway, stand_in: StandIn, tmp_path: Path
) -> None:
    for name in ("old", "new"):
        (tmp_path / name).mkdir()
    old_place = {"data_dir": tmp_path / "old" / "data", "master_key_file": tmp_path / "old" / "master.key"}
    new_place = {"data_dir": tmp_path / "new" / "data", "master_key_file": tmp_path / "new" / "master.key"}
    file = tmp_path / "gateway.backup"
    marks = {name: canary() for name in ("token", "key's name", "credential's name")}
    token = f"sk-ant-oat01-{marks['token']}_AA"

    async def key_on(access: Access) -> str:
        await access.credentials.add(marks["credential's name"], Secret(token))
        return (await access.keys.create(marks["key's name"], marks["credential's name"]))[1].reveal()

    with start_gateway(**old_place, max_processes=3) as gateway:
        key = gateway.access(key_on)
        with Load(gateway, key).on() as load:
            until(lambda: len(load.answered) > 10, 60)
            before = set(load.answered)
            made = command(gateway.settings, "backup", str(file))
            until(lambda: len(load.answered) > len(before) + 10, 60)
        until(lambda: before <= gateway.access(counted), 60)
    device = device_of(stand_in.requests[-1])

    # What the file shows to those without the master key: nothing.
    marks |= {"key": key[3:-4], "request's id": load.answered[0], "device": device}
    search = Search(marks)
    search.look(file.read_bytes(), "the backup")
    assert search.found == set()
    assert b"claude-haiku" not in file.read_bytes()

    shutil.copy(tmp_path / "old" / "master.key", tmp_path / "new" / "master.key")
    shutil.rmtree(tmp_path / "old")
    with_settings = Settings(**new_place)
    restored = command(with_settings, "restore", str(file))
    assert (restored["id"], restored["keys"], restored["faults"]) == (made["id"], 1, [])
    stand_in.clear()
    with start_gateway(**new_place) as gateway:
        with gateway.client(key) as client:
            assert said(ask(client))
        assert stand_in.requests[-1].headers["authorization"] == f"Bearer {token}"
        assert device_of(stand_in.requests[-1]) == device, "to Anthropic, it is no new device"
        assert before <= gateway.access(counted), "whatever was answered before the backup began"
        assert command(gateway.settings, "audit", "verify")["intact"] is True


async def counted(access: Access) -> set[str]:
    async with access.database.read() as connection:
        return set(await connection.scalars(select(usage_records.c.request_id)))
