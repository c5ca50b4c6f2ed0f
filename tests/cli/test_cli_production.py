"""`doctor --production` answers each item of the policy's checklists, and says how to mend or to see it."""

from __future__ import annotations

import asyncio
import json
import os
import re
import shutil
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest

from claude_code_api.access import Access, Administrator, ApiKey
from claude_code_api.application import running
from claude_code_api.audit import Entry
from claude_code_api.cli.production import deployment, item, maintenance
from claude_code_api.cli.production.item import Answer, Stored, stored
from claude_code_api.secret import Secret
from claude_code_api.settings import Settings, given_only
from claude_code_api.stand_in import oauth_token
from claude_code_api.storage.data_directory import DataDirectory

pytestmark = pytest.mark.policy("D6")

ROOT = Path(__file__).parents[2]
BEFORE = ["password", "certificates", "firewall", "headers", "rate limits", "monitoring", "container permissions",
          "dependencies"]  # fmt: skip
MAINTENANCE = ["updates", "password", "key usage", "advisories", "restore", "access logs"]
NOW = datetime.now(UTC)


@pytest.fixture(autouse=True)
def _nothing_else_on_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PORT", "0")
    monkeypatch.setenv("HTTPS_PORT", "0")
    monkeypatch.setattr(shutil, "which", lambda *_, **__: None)


def answer(check: Callable[[Settings, Stored], Answer], kept: Stored | None = None, **given: Any) -> Answer:
    return check(given_only(**given), kept or Stored())


def administrator(name: str, days: int) -> Administrator:
    at = NOW - timedelta(days)
    return Administrator(
        id=name, name=name, role="owner", password_set_at=at, sessions_valid_from=at, created_at=at, created_by="x"
    )


def entry(action: str, days: float) -> Entry:
    return Entry(number=1, at=NOW - timedelta(days), actor="x", action=action, target=None, details="{}")


# --- as a command ---------------------------------------------------------------------------------------


def test_each_of_the_fourteen_is_answered_with_how_to_mend_or_to_see_it(run: Any, data_dir: Path) -> None:
    ran = run("doctor", "--production", "--json")
    items = json.loads(ran.out)["production"]
    assert [each["name"] for each in items] == BEFORE + MAINTENANCE
    assert [each["checklist"] for each in items] == ["before deployment"] * 8 + ["maintenance"] * 6
    assert {each["status"] for each in items} <= {"pass", "fail", "see"}
    assert all(each["message"] and (each["remedy"] or each["status"] == "pass") for each in items)
    assert not data_dir.exists(), "nothing is made by looking"


def test_something_that_fails_is_status_1_and_one_line(run: Any) -> None:
    ran = run("doctor", "--production")
    assert ran.status == 1
    (line,) = ran.err.splitlines()
    assert "certificates" in line
    assert "Before deployment" in ran.out
    assert "Maintenance" in ran.out
    assert "→ Name one that clients trust" in ran.out
    assert "production" not in run("doctor", "--json").json


def test_both_lists_are_in_the_documents_and_say_the_same() -> None:
    page = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8")
    for heading, names in (("Before deployment", BEFORE), ("Maintenance", MAINTENANCE)):
        section = page.split(f"\n## {heading}\n")[1].split("\n## ")[0]
        assert re.findall(r"^\| ([a-z ]+) \|", section, re.MULTILINE)[1:] == names


def test_a_gateway_in_use_is_answered_from_its_own_records(run: Any, data_dir: Path, tmp_path: Path) -> None:
    run("credentials", "add", "main", stdin=oauth_token("main"))
    run("keys", "create", "program", "--credential", "main")
    run("backup", str(tmp_path / "backup"))
    run("restore", str(tmp_path / "backup"), "--check")
    run("admin", "set-password", stdin="correct horse battery staple 7\n")
    said = {
        (each["checklist"], each["name"]): each
        for each in json.loads(run("doctor", "--production", "--json").out)["production"]
    }
    assert said["before deployment", "password"]["status"] == "pass"
    assert said["maintenance", "password"]["message"] == "The oldest was set 0 days ago."
    assert said["maintenance", "key usage"]["status"] == "pass"
    assert (
        said["maintenance", "restore"]["message"] == "The last backup was made today; the last restore was tried today."
    )


# --- before deployment ----------------------------------------------------------------------------------


def test_a_missing_owner_fails() -> None:
    assert answer(deployment.password)[0] == "fail"
    assert answer(deployment.password, Stored(administrators=[administrator("anna", 1)]))[0] == "pass"


def test_a_self_signed_certificate_fails_and_a_proxy_is_for_a_person_to_look_at() -> None:
    assert answer(deployment.certificates)[0] == "fail"
    status, _, how = answer(deployment.certificates, public_url="https://gateway.example:443")
    assert status == "see"
    assert "openssl s_client -connect gateway.example:443" in str(how)


@pytest.mark.parametrize(
    ("given", "status"),
    [
        ({}, "pass"),
        ({"host": "localhost"}, "pass"),
        ({"host": "::1", "plain_http": "allow"}, "pass"),
        ({"host": "0.0.0.0"}, "see"),
        ({"host": "0.0.0.0", "plain_http": "allow"}, "fail"),
    ],
)
def test_what_other_machines_reach_is_told(given: dict[str, Any], status: str) -> None:
    assert answer(deployment.firewall, **given)[0] == status


@pytest.mark.parametrize(
    ("given", "status"),
    [
        ({}, "pass"),
        ({"rate_limit_per_ip": "off"}, "fail"),
        ({"public_url": "https://gateway.example"}, "fail"),
        ({"public_url": "https://gateway.example", "trusted_proxies": "127.0.0.1"}, "pass"),
    ],
)
def test_limits_that_do_not_hold_fail(given: dict[str, Any], status: str) -> None:
    assert answer(deployment.rate_limits, **given)[0] == status


async def test_the_running_gateway_is_asked_for_its_headers(
    settings: Callable[..., Settings], monkeypatch: pytest.MonkeyPatch
) -> None:
    given = settings(port=0, https_port=0)
    async with running(given) as gateway:
        port = int(gateway.server.https_url.rpartition(":")[2])
        kept = Stored(server=os.getpid())
        found = given.model_copy(update={"https_port": port})
        assert (await asyncio.to_thread(deployment.headers, found, kept))[0] == "pass"
        with monkeypatch.context() as patch:
            patch.setattr(deployment, "security_headers", lambda *, secure: [(b"x-other", b"1")])
            assert (await asyncio.to_thread(deployment.headers, found, kept))[:2] == (
                "fail", "What answers there lacks x-other.",
            )  # fmt: skip
    assert (await asyncio.to_thread(deployment.headers, found, kept))[0] == "see"
    assert deployment.headers(found, Stored())[0] == "see"


@pytest.mark.parametrize(
    ("in_one", "user", "capabilities", "mount", "faults"),
    [
        (False, 1000, "000001ffffffffff", "rw", []),
        (False, 0, "0", "ro", ["root"]),
        (True, 1000, "0", "ro", []),
        (True, 0, "00000000a80425fb", "rw", ["as root", "capabilities", "written to"]),
    ],
)
def test_rights_that_the_gateway_does_not_need_fail(
    monkeypatch: pytest.MonkeyPatch, in_one: bool, user: int, capabilities: str, mount: str, faults: list[str]
) -> None:
    files = {
        "/proc/self/status": f"Name:\tpython\nUid:\t{user}\t{user}\t{user}\t{user}\nCapEff:\t{capabilities}\n",
        "/proc/self/mounts": f"overlay / overlay {mount},relatime 0 0\ntmpfs /tmp tmpfs rw 0 0\n",
    }
    monkeypatch.setattr(Path, "read_text", lambda path, **_: files[str(path)])
    monkeypatch.setattr(deployment, "container", lambda: in_one)
    status, message, _ = answer(deployment.container_permissions)
    assert status == ("fail" if faults else "pass")
    assert all(fault in message for fault in faults)


def test_other_versions_than_the_locked_ones_fail(monkeypatch: pytest.MonkeyPatch) -> None:
    locked = (ROOT / "requirements" / "run.txt").read_text(encoding="utf-8")
    versions = dict(re.findall(r"^([\w.-]+)==([^\s;]+)", locked, re.MULTILINE))
    monkeypatch.setattr(deployment, "_installed", lambda name: versions[name])
    assert answer(deployment.dependencies)[0] == "pass"
    monkeypatch.setattr(deployment, "_installed", lambda name: "0.1" if name == "aiohttp" else None)
    status, message, _ = answer(deployment.dependencies)
    assert (status, "aiohttp 0.1 instead of" in message) == ("fail", True)


# --- maintenance ----------------------------------------------------------------------------------------


def test_an_old_password_fails() -> None:
    kept = Stored(administrators=[administrator("anna", 91), administrator("bert", 2)])
    assert answer(maintenance.password, kept)[:2] == ("fail", "Older than 90 days: anna.")
    assert answer(maintenance.password)[0] == "see"


def test_unused_keys_fail_and_are_named() -> None:
    key = ApiKey(
        id="key_1", name="old", credential_id="c", hint="abcd", models=(), rate_limit=None, max_concurrent=None,
        created_at=NOW - timedelta(200), created_by="x", expires_at=None, revoked_at=None,
        last_used_at=NOW - timedelta(91),
    )  # fmt: skip
    status, message, how = answer(maintenance.key_usage, Stored(keys=[key]))
    assert (status, message) == ("fail", "Not used for 90 days: old (key_1).")
    assert "keys revoke key_1" in str(how)
    for other in ({"last_used_at": NOW}, {"revoked_at": NOW}):
        assert answer(maintenance.key_usage, Stored(keys=[msgspec.structs.replace(key, **other)]))[0] == "pass"


@pytest.mark.parametrize(
    ("backup", "drill", "status"),
    [(None, None, "fail"), (8, 1, "fail"), (1, None, "fail"), (1, 93, "fail"), (1, 20, "pass")],
)
def test_backups_and_restores_that_are_late_fail(backup: int | None, drill: int | None, status: str) -> None:
    kept = Stored(
        backup=None if backup is None else entry("backup.made", backup),
        drill=None if drill is None else entry("backup.checked", drill),
    )
    assert answer(maintenance.restore, kept)[0] == status


def test_monitoring_says_where_alerts_go_and_how_they_could() -> None:
    status, message, how = answer(deployment.monitoring)
    assert status == "see"
    assert "sends nothing" in message
    assert "set alert_webhook" in str(how)
    assert "alerts go to alert_webhook" in answer(deployment.monitoring, alert_webhook="https://a.example/x")[1]


def test_postgresql_is_for_a_person_to_look_at() -> None:
    assert answer(maintenance.restore, database_url="postgresql+asyncpg://host/name")[0] == "see"


def test_a_log_that_goes_nowhere_or_lacks_requests_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    assert answer(maintenance.access_logs)[0] == "see"
    assert answer(maintenance.access_logs, log_level="error")[0] == "fail"
    monkeypatch.setattr(os, "readlink", lambda _: "/dev/null")
    assert answer(maintenance.access_logs, Stored(server=1))[0] == "fail"


def test_what_was_installed_long_ago_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    assert answer(maintenance.updates)[0] in {"pass", "fail"}
    monkeypatch.setattr(maintenance, "UPDATED_EVERY", timedelta(0))
    assert answer(maintenance.updates)[0] == "fail"


@pytest.mark.parametrize(
    ("output", "status", "message"),
    [
        ('{"dependencies": [{"name": "a", "version": "1", "vulns": []}]}', "pass", "None is known of 1 packages."),
        ('{"dependencies": [{"name": "a", "version": "1", "vulns": [{"id": "PYSEC-1"}]}, {"name": "b"}]}', "fail",
         "Known faults: a PYSEC-1."),
        ("no network", "see", "gave no answer"),
    ],
)  # fmt: skip
def test_a_program_that_knows_of_advisories_is_asked(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, output: str, status: str, message: str
) -> None:
    monkeypatch.setattr(maintenance, "find_spec", lambda _: None)
    assert answer(maintenance.advisories)[0] == "see"
    program = tmp_path / "pip-audit"
    program.write_text(f"#!/bin/sh\ncat <<'END'\n{output}\nEND\n")
    program.chmod(0o700)
    monkeypatch.setattr(shutil, "which", lambda *_, **__: str(program))
    found = answer(maintenance.advisories)
    assert found[0] == status
    assert message in found[1]


# --- what the database tells ----------------------------------------------------------------------------


async def test_nothing_is_opened_that_would_be_made_by_it(tmp_path: Path) -> None:
    settings = given_only(data_dir=tmp_path / "data")
    assert (await asyncio.to_thread(stored, settings)).missing == "There is no database yet."
    async with Access.open(settings) as access:
        await access.credentials.add("main", Secret(oauth_token("main")))
        await access.keys.create("program", "main")
    with DataDirectory(settings.data_dir).server_lock():
        kept = await asyncio.to_thread(stored, settings)
    assert (kept.missing, len(kept.keys), kept.server) == (None, 1, os.getpid())
    settings.master_key_path.rename(tmp_path / "elsewhere")
    assert "must be mended first" in str((await asyncio.to_thread(stored, settings)).missing)
    assert not settings.master_key_path.exists()
    settings.master_key_path.write_text("nonsense")
    settings.master_key_path.chmod(0o600)
    assert "no master key" in str((await asyncio.to_thread(stored, settings)).missing)
    assert item.DRILLS == ("backup.checked", "backup.restored")
