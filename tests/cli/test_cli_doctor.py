"""`doctor`: tells what is wrong and how to mend it, and changes nothing."""

from __future__ import annotations

import asyncio
import os
import secrets
import socket
import subprocess
import sys
import tomllib
from base64 import b64encode
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from redis_server import RedisServer

from claude_code_api.access import Access
from claude_code_api.cli import checks
from claude_code_api.cli.checks import SDK_VERSION, Finding
from claude_code_api.conversation import RateLimitStatus
from claude_code_api.secret import Secret
from claude_code_api.settings import load
from claude_code_api.stand_in import api_key, oauth_token
from claude_code_api.storage.data_directory import DataDirectory
from claude_code_api.storage.tables import administrators
from claude_code_api.surface import tls

ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def _ports(monkeypatch: pytest.MonkeyPatch) -> None:
    """Any free ones: what else runs on this machine is nothing to these tests."""
    monkeypatch.setenv("PORT", "0")
    monkeypatch.setenv("HTTPS_PORT", "0")


def findings(of: Any, **given: Any) -> list[Finding]:
    return list(of(load(**given)))


def found(ran: Any, name: str) -> list[dict[str, Any]]:
    import json

    return [check for check in json.loads(ran.out)["checks"] if check["name"] == name]


def store(data_dir: Path, *tokens: str) -> list[str]:
    """Stores tokens under their place in this list, and returns the ids."""

    async def work() -> list[str]:
        async with Access.open(load(data_dir=data_dir)) as access:
            return [(await access.credentials.add(f"c{n}", Secret(token))).id for n, token in enumerate(tokens)]

    return asyncio.run(work())


# --- as a command ---------------------------------------------------------------------------------------


def test_a_fresh_installation_is_sound_and_stays_untouched(run: Any, data_dir: Path) -> None:
    ran = run("doctor", "--json")
    assert ran.err == ""
    assert ran.json["ok"] is True
    assert {check["status"] for check in ran.json["checks"]} == {"ok", "warn"}
    assert all(check["remedy"] for check in ran.json["checks"] if check["status"] == "warn")
    assert found(ran, "program")[0]["status"] == "ok"
    assert not data_dir.exists()


def test_a_person_gets_a_table_with_remedies(run: Any, data_dir: Path) -> None:
    store(data_dir, oauth_token("main"))
    ran = run("doctor")
    assert (ran.status, ran.err) == (0, "")
    assert "c0: OAuth token …" in ran.out
    data_dir.chmod(0o755)
    ran = run("doctor")
    assert ran.status == 1
    assert "fail" in ran.out
    assert f"→ Run `chmod 700 {data_dir}`." in ran.out
    (line,) = ran.err.splitlines()
    assert line.endswith("checks failed: data directory.")
    assert data_dir.stat().st_mode & 0o777 == 0o755
    assert "It was not looked at" in ran.out


def test_a_failed_check_is_status_1_and_one_document_all_the_same(run: Any, data_dir: Path) -> None:
    data_dir.parent.mkdir(exist_ok=True)
    data_dir.write_text("a file")
    ran = run("doctor", "--json")
    assert ran.status == 1
    assert found(ran, "data directory")[0]["status"] == "fail"
    assert len(ran.err.splitlines()) == 1


@pytest.mark.policy("T1")
def test_secrets_among_the_settings_are_redacted(run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLAUDE_CODE_OAUTH_TOKEN", oauth_token("main"))
    monkeypatch.setenv("HTTPS_PROXY", "http://user:hunter2@proxy:3128")
    monkeypatch.setenv("CCAPI_MODEL_ALIASES", "fast=haiku")
    ran = run("doctor", "--json")
    shown = {check["message"] for check in found(ran, "setting")}
    assert "https_proxy = http://[redacted]proxy:3128" in shown
    assert f"claude_code_oauth_token = Secret(…{oauth_token('main')[-4:]})" in shown
    assert "model_aliases = {'fast': 'haiku'}" in shown
    assert "hunter2" not in ran.out
    assert not any(message.startswith("host =") for message in shown)


# --- the program ----------------------------------------------------------------------------------------


def test_the_pinned_sdk_is_the_one_of_the_project_file() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert f"claude-agent-sdk=={SDK_VERSION}" in project["dependencies"]


def test_another_sdk_is_pointed_out(monkeypatch: pytest.MonkeyPatch) -> None:
    assert [finding.status for finding in findings(checks.sdk)] == ["ok"]
    monkeypatch.setattr(checks, "SDK_VERSION", "0.0.1")
    (finding,) = findings(checks.sdk)
    assert finding.status == "warn"
    assert "claude-agent-sdk==0.0.1" in str(finding.remedy)


@pytest.mark.parametrize(
    ("script", "status", "said"),
    [
        (None, "fail", "There is no Claude Code program"),
        ("echo '1.0.0 (Claude Code)'", "warn", "is 1.0.0 (Claude Code)"),
        ("true", "warn", "of unknown version"),
        ("exit 3", "fail", "does not run"),
        ("sleep 60", "fail", "timed out"),
        ('test -z "$CANARY" && echo "$HOME" && exit 4', "fail", "exit status 4"),
    ],
)
def test_a_program_that_is_not_the_right_one_is_pointed_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str | None, status: str, said: str
) -> None:
    monkeypatch.setenv("CANARY", "ours")
    monkeypatch.setattr(checks, "PROGRAM_TIMEOUT", 1.0 if script == "sleep 60" else 20.0)
    path = tmp_path / "claude"
    if script:
        path.write_text(f"#!/bin/sh\n{script.replace('sleep', 'exec sleep')}\n")
        path.chmod(0o755)
    (finding,) = findings(checks.program, claude_code_path=path)
    assert (finding.status, said in finding.message) == (status, True), finding.message
    assert "claude_code_path" in str(finding.remedy)


def test_a_broken_installation_says_how_to_repair_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checks, "bundled_program", lambda: tmp_path / "nothing")
    (finding,) = findings(checks.program)
    assert "--force-reinstall" in str(finding.remedy)


# --- what is stored -------------------------------------------------------------------------------------


def test_a_data_directory_whose_path_is_no_text_is_a_failure(tmp_path: Path) -> None:
    (finding,) = findings(checks.data_directory, data_dir=os.fsdecode(bytes(tmp_path / "data") + b"\xff"))
    assert (finding.status, finding.remedy) == ("fail", "Choose another with --data-dir.")
    assert "is not UTF-8" in finding.message


def test_a_data_directory_of_another_user_is_a_failure(data_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data_dir.mkdir()
    user = os.geteuid()
    monkeypatch.setattr(os, "geteuid", lambda: user + 1)
    (finding,) = findings(checks.data_directory, data_dir=data_dir)
    assert "another user" in finding.message


def test_a_master_key_that_others_may_read_is_a_failure(run: Any, data_dir: Path) -> None:
    store(data_dir)
    (data_dir / "master.key").chmod(0o644)
    ran = run("doctor", "--json")
    (finding,) = found(ran, "master key")
    assert finding["status"] == "fail"
    assert f"chmod 600 {data_dir / 'master.key'}" in finding["message"]


def test_a_master_key_beside_the_data_is_pointed_out(data_dir: Path, tmp_path: Path) -> None:
    store(data_dir)
    (tmp_path / "elsewhere").mkdir()
    kept = (data_dir / "master.key").rename(tmp_path / "elsewhere" / "master.key")
    given = {"data_dir": data_dir, "master_key_file": kept}
    assert [finding.status for finding in findings(checks.master_key, **given)] == ["ok"]
    for path in (kept.rename(data_dir / "master.key"), tmp_path / "link"):
        if path.name == "link":
            path.symlink_to(data_dir / "master.key")
        (finding,) = findings(checks.master_key, data_dir=data_dir, master_key_file=path)
        assert finding.status == "warn"
        assert "lies in the data directory" in finding.message
        assert "master_key_file" in str(finding.remedy)


def test_a_master_key_from_elsewhere_is_tried(data_dir: Path, tmp_path: Path) -> None:
    store(data_dir)
    key = (data_dir / "master.key").read_text().splitlines()[1]
    (data_dir / "master.key").rename(tmp_path / "key")
    for given in ({"master_key": key}, {"master_key_command": f"cat {tmp_path / 'key'}"}):
        (finding,) = findings(checks.master_key, data_dir=data_dir, **given)
        assert finding.status == "ok"
        assert [each.status for each in findings(checks.stored, data_dir=data_dir, **given)] == ["ok", "warn", "warn"]
    failing = [each for each in checks.examine(load(data_dir=data_dir, master_key_command="false"))
               if each.name == "master key"]  # fmt: skip
    assert [each.status for each in failing] == ["fail"]


def test_a_rotation_that_was_not_finished_is_pointed_out(run: Any, data_dir: Path) -> None:
    run("credentials", "add", "a", stdin=oauth_token("a"))
    path = data_dir / "master.key"
    path.write_text(f"{b64encode(b'n' * 32).decode()}\n{path.read_text()}")
    (finding,) = found(run("doctor", "--json"), "rotation")
    assert (finding["status"], "3 records" in finding["message"]) == ("warn", True)
    run("vault", "rotate")
    assert found(run("doctor", "--json"), "rotation") == []


@pytest.mark.policy("T3")
def test_secrets_in_the_environment_are_pointed_out(monkeypatch: pytest.MonkeyPatch) -> None:
    assert findings(checks.secrets_in_the_environment) == []
    monkeypatch.setenv("CLAUDE_CODE_OAUTH_TOKEN", oauth_token("main"))
    monkeypatch.setenv("CCAPI_MASTER_KEY", "canary")
    monkeypatch.setenv("ANTHROPIC_API_KEY_FILE", __file__)
    told = findings(checks.secrets_in_the_environment)
    assert [finding.message.split()[0] for finding in told] == ["CCAPI_MASTER_KEY", "CLAUDE_CODE_OAUTH_TOKEN"]
    assert {finding.status for finding in told} == {"warn"}
    assert all("_FILE" in str(finding.remedy) for finding in told)
    assert "canary" not in str(told)


def test_a_wrong_master_key_is_a_failure_and_nothing_is_changed(data_dir: Path, tmp_path: Path) -> None:
    store(data_dir)
    store(tmp_path / "other")
    before = (data_dir / "master.key").read_bytes()
    (data_dir / "master.key").write_bytes((tmp_path / "other" / "master.key").read_bytes())
    (finding,) = findings(checks.stored, data_dir=data_dir)
    assert (finding.name, finding.status) == ("database", "fail")
    assert "needs the key" in finding.message
    (data_dir / "master.key").write_bytes(before)
    assert [finding.status for finding in findings(checks.stored, data_dir=data_dir)] == ["ok", "warn", "warn"]


def test_a_lost_master_key_is_not_made_anew(data_dir: Path) -> None:
    store(data_dir)
    (data_dir / "master.key").unlink()
    (finding,) = findings(checks.stored, data_dir=data_dir)
    assert finding.status == "warn"
    assert not (data_dir / "master.key").exists()


def test_refused_and_limited_credentials_are_pointed_out(data_dir: Path) -> None:
    ids = store(data_dir, oauth_token("a"), api_key("b"), oauth_token("c"), oauth_token("d"))
    soon = int((datetime.now(UTC) + timedelta(hours=1)).timestamp())

    async def note() -> None:
        async with Access.open(load(data_dir=data_dir)) as access:
            await access.credentials.note_refused(ids[0])
            await access.credentials.note_limit(ids[1], RateLimitStatus(status="rejected", resets_at=soon))
            await access.credentials.note_limit(ids[2], RateLimitStatus(status="allowed", resets_at=soon))
            await access.credentials.note_limit(ids[3], RateLimitStatus(status="rejected", resets_at=1))

    asyncio.run(note())
    database, refused, limited, *fine = findings(checks.stored, data_dir=data_dir)
    assert database.status == "ok"
    assert (refused.status, "credentials replace c0" in str(refused.remedy)) == ("fail", True)
    assert (limited.status, "limit reached, until" in limited.message) == ("warn", True)
    assert [finding.status for finding in fine if finding.name == "credential"] == ["ok", "ok"]


@pytest.mark.policy("A5")
def test_an_old_password_and_a_missing_owner_are_pointed_out(run: Any, data_dir: Path) -> None:
    store(data_dir)
    (none,) = found(run("doctor", "--json"), "administrators")
    assert (none["status"], "admin set-password" in none["remedy"]) == ("warn", True)
    password = Secret(secrets.token_urlsafe())

    async def make(age: timedelta) -> None:
        async with Access.open(load(data_dir=data_dir)) as access:
            await access.administrators.set_password("anna", password)
            async with access.database.write() as connection:
                await connection.execute(administrators.update().values(password_set_at=datetime.now(UTC) - age))

    for days, status, said in ((89, "ok", "set 89 days ago"), (91, "warn", "set 91 days ago, change it")):
        asyncio.run(make(timedelta(days=days)))
        (finding,) = found(run("doctor", "--json"), "administrator")
        assert (finding["status"], finding["message"]) == (status, f"anna (owner): password {said}")
        assert ("--name anna" in str(finding["remedy"])) == (status == "warn")


# --- Redis ----------------------------------------------------------------------------------------------


@pytest.mark.policy("N5")
def test_redis_is_tried_where_it_is_set(redis: RedisServer) -> None:
    assert findings(checks.redis) == []
    (finding,) = findings(checks.redis, redis_url=redis.url)
    assert (finding.name, finding.status) == ("redis", "ok")
    assert finding.message == f"127.0.0.1, port {redis.port}: limits outlive a restart, and are shared"


@pytest.mark.policy("N5")
def test_a_redis_that_cannot_be_used_is_a_failure_without_its_password(
    run: Any, redis: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REDIS_URL", redis.url.replace(f":{redis.port}", ":1"))
    ran = run("doctor", "--json")
    (finding,) = found(ran, "redis")
    assert (ran.status, finding["status"]) == (1, "fail")
    assert finding["message"] == (
        "The setting redis_url: Redis at 127.0.0.1, port 1 cannot be used: nothing listens there."
    )
    assert {check["message"] for check in found(ran, "setting")} >= {"redis_url = Secret(…:1/0)"}
    assert redis.password[:12] not in ran.out + ran.err


# --- the certificate ------------------------------------------------------------------------------------


def certificate(directory: Path, days: int) -> dict[str, Path]:
    """A certificate for localhost that ends in so many days, as the settings that name it."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    now = datetime.now(UTC)
    signed = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(days=400))
        .not_valid_after(now + timedelta(days=days))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .sign(key, hashes.SHA256())
    )
    directory.mkdir(parents=True, exist_ok=True)
    pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    (directory / "key.pem").write_bytes(pem)
    (directory / "certificate.pem").write_bytes(signed.public_bytes(serialization.Encoding.PEM))
    return {"cert": directory / "certificate.pem", "key": directory / "key.pem"}


@pytest.mark.parametrize(("days", "status"), [(-1, "fail"), (10, "warn"), (60, "ok")])
def test_a_certificate_is_pointed_out_before_it_ends(tmp_path: Path, run: Any, days: int, status: str) -> None:
    given = certificate(tmp_path / "tls", days)
    (finding,) = [each for each in checks.examine(load(**given)) if each.name == "certificate"]
    assert finding.status == status


@pytest.mark.policy("N1")
def test_the_self_signed_certificate_is_shown_as_it_is(data_dir: Path) -> None:
    made = tls.load_certificate(load(data_dir=data_dir))
    (finding,) = findings(checks.certificate, data_dir=data_dir)
    assert finding.status == "ok"
    assert f"{made.ends_at:%Y-%m-%d}" in finding.message
    assert "localhost" in finding.message


def test_a_self_signed_certificate_that_ended_is_no_failure_and_stays(data_dir: Path) -> None:
    kept = certificate(data_dir / "tls", -1)["cert"]
    before = kept.read_bytes()
    (finding,) = findings(checks.certificate, data_dir=data_dir)
    assert (finding.status, finding.remedy) == ("warn", "The next start makes another one.")
    assert kept.read_bytes() == before


# --- ports ----------------------------------------------------------------------------------------------


@pytest.fixture
def taken() -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as sock:
        yield sock.getsockname()[1]


def test_a_port_of_another_program_is_a_failure(taken: int, data_dir: Path) -> None:
    https, http = sorted(findings(checks.ports, data_dir=data_dir, https_port=taken), key=lambda each: each.name)
    assert (http.status, https.status) == ("ok", "fail")
    assert "serve --https-port" in str(https.remedy)


def test_a_port_of_the_running_server_is_none(taken: int, data_dir: Path) -> None:
    with DataDirectory(data_dir).server_lock():
        port, _ = findings(checks.ports, data_dir=data_dir, port=taken)
    assert (port.status, f"process {os.getpid()}" in port.message) == ("ok", True)


@pytest.mark.parametrize("left", ["", "no number", "9" * 30, "PID"])
def test_a_server_that_was_killed_runs_no_more(taken: int, data_dir: Path, left: str) -> None:
    data_dir.mkdir()
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    (data_dir / "server.lock").write_text(left.replace("PID", str(gone.pid)))
    port, _ = findings(checks.ports, data_dir=data_dir, port=taken)
    assert port.status == "fail"


def test_an_address_that_is_none_of_this_machine_is_a_failure(data_dir: Path) -> None:
    port, _ = findings(checks.ports, data_dir=data_dir, host="192.0.2.1")
    assert port.status == "fail"
