"""`backup` and `restore` as a person and a script use them."""

from __future__ import annotations

import io
import sys
from pathlib import Path
from typing import Any

import pytest

from claude_code_api.stand_in import oauth_token
from claude_code_api.storage.data_directory import DataDirectory

pytestmark = pytest.mark.policy("D4")


@pytest.fixture
def file(run: Any, tmp_path: Path) -> Path:
    run("credentials", "add", "main", stdin=oauth_token("main"))
    return tmp_path / "gateway.backup"


def test_a_backup_is_made_looked_through_and_restored(run: Any, data_dir: Path, file: Path) -> None:
    made = run("backup", str(file), "--json").json
    assert set(made) == {"id", "made_at", "bytes", "master_keys"}
    assert (made["bytes"], file.stat().st_mode & 0o777) == (file.stat().st_size, 0o600)
    key = run("keys", "create", "program", "--credential", "main", "--json").json

    ran = run("restore", str(file), "--check")
    assert ran.out.startswith(f"The backup {made['id']} of ")
    assert "could be restored: 0 API keys, 1 credentials, 1 entries" in ran.out
    assert run("keys", "list", "--json").json[0]["id"] == key["id"]

    ran = run("restore", str(file))
    assert " is restored: 0 API keys, 1 credentials" in ran.out
    assert "It lacks what was done since: entries 2 to 4 of the audit log." in ran.err
    (aside,) = data_dir.glob("gateway.db.before-*")
    assert f"The database that was here is {aside} now." in ran.err
    assert run("keys", "list", "--json").json == []
    assert run("audit", "verify", "--json").json["intact"] is True
    actions = [entry["action"] for entry in run("audit", "list", "--json").json]
    assert actions == ["credential.added", "backup.restored"]


def test_what_was_made_and_what_was_checked_stand_in_the_audit_log(run: Any, file: Path) -> None:
    made = run("backup", str(file), "--json").json
    assert run("restore", str(file), "--check", "--json").json["id"] == made["id"]
    entries = run("audit", "list", "--action", "backup", "--json").json
    assert [(entry["action"], entry["target"]) for entry in entries] == [
        ("backup.made", made["id"]), ("backup.checked", made["id"]),
    ]  # fmt: skip


def test_a_check_on_an_empty_machine_makes_no_gateway(run: Any, run_bare: Any, data_dir: Path, file: Path) -> None:
    run("backup", str(file))
    other = data_dir.parent / "other"
    other.mkdir(mode=0o700)
    (other / "master.key").write_bytes((data_dir / "master.key").read_bytes())
    (other / "master.key").chmod(0o600)
    assert run_bare("restore", str(file), "--check", "--data-dir", str(other)).status == 0
    assert {path.name for path in other.iterdir()} == {"master.key", "backup.lock"}


def test_a_backup_that_is_there_is_replaced_only_when_asked_to_and_nothing_else_ever(
    run: Any, data_dir: Path, file: Path
) -> None:
    first = run("backup", str(file), "--json").json["id"]
    assert run("backup", str(file)).failure == f"The file {file} is there already; --force replaces a backup."
    assert run("backup", str(file), "--force", "--json").json["id"] != first
    file.write_bytes(b"")
    assert run("backup", str(file), "--force").status == 0
    for other in (data_dir / "gateway.db", data_dir / "master.key"):
        before = other.read_bytes()
        assert run("backup", str(other), "--force").failure == f"The file {other} is no backup, and stays."
        assert other.read_bytes() == before
    assert "cannot be written" in run("backup", str(file.parent / "nowhere" / "file")).failure


def test_it_goes_through_pipes(run: Any, monkeypatch: pytest.MonkeyPatch, file: Path) -> None:
    out = io.BytesIO()
    with monkeypatch.context() as patch:
        patch.setattr(sys, "stdout", io.TextIOWrapper(out, write_through=True))
        ran = run("backup", "-")
        content = out.getvalue()
    assert ran.status == 0
    assert "bytes are in the backup" in ran.err
    assert run("restore", "-", "--check", "--json", stdin=content).json["credentials"] == 1


def test_one_document_and_the_backup_do_not_both_go_to_standard_output(run: Any, file: Path) -> None:
    ran = run("backup", "-", "--json")
    assert (ran.status, ran.out) == (2, "")
    assert "standard output" in ran.err


def test_a_wrong_data_directory_is_not_backed_up_as_an_empty_one(run_bare: Any, tmp_path: Path) -> None:
    ran = run_bare("backup", str(tmp_path / "file"), "--data-dir", str(tmp_path / "nowhere"))
    assert ran.failure == f"There is no database {tmp_path / 'nowhere' / 'gateway.db'} to back up."
    assert list(tmp_path.iterdir()) == []


def test_every_refusal_is_one_line(run: Any, run_bare: Any, data_dir: Path, file: Path) -> None:
    key = run("backup", str(file), "--json").json["master_keys"][0]
    failure = run_bare("restore", str(file), "--data-dir", str(data_dir.parent / "other")).failure
    assert f"The backup needs the master key {key}. The file " in failure
    assert not (data_dir.parent / "other").exists()
    with DataDirectory(data_dir).server_lock():
        assert "A server already runs" in run("restore", str(file)).failure
    file.write_bytes(file.read_bytes()[:-1])
    assert run("restore", str(file)).failure == "The backup is damaged: it was changed or cut. Nothing was changed."
    assert "no backup of Claude Code API" in run("restore", str(data_dir / "gateway.db")).failure
    assert "cannot be read" in run("restore", str(data_dir / "nothing")).failure


@pytest.mark.parametrize("command", ["backup", "restore"])
def test_postgresql_is_told_its_own_tools(run: Any, file: Path, monkeypatch: pytest.MonkeyPatch, command: str) -> None:
    file.touch()
    monkeypatch.setenv("DATABASE_URL", "postgresql+asyncpg://host/name")
    assert "`pg_dump` and `pg_restore`" in run(command, str(file)).failure
