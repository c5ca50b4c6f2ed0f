"""The checklist for maintenance: updates, password, key usage, advisories, restore, access logs."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path

from claude_code_api import __version__, environment
from claude_code_api.audit import Entry
from claude_code_api.cli.production.item import Answer, Checks, Stored
from claude_code_api.settings import Settings
from claude_code_api.storage.database import sqlite_file

UPDATED_EVERY = timedelta(days=31)
BACKED_UP_EVERY = timedelta(days=7)
DRILLED_EVERY = timedelta(days=92)
AUDIT_TIMEOUT = 120.0
"""Seconds for `pip-audit`, which asks a service on the network."""


def updates(_: Settings, __: Stored) -> Answer:
    mend = "Install the newest release (CHANGELOG.md says what is new), then run this again."
    records = [file for file in metadata.files("claude-agent-sdk") or [] if file.name == "RECORD"]
    if not records:
        return "see", f"This is release {__version__}; when it was installed cannot be told.", mend
    installed = datetime.fromtimestamp(Path(str(records[0].locate())).stat().st_mtime, UTC)
    message = f"This is release {__version__}; its dependencies were installed on {installed:%Y-%m-%d}."
    if datetime.now(UTC) - installed > UPDATED_EVERY:
        return "fail", message, mend
    return "pass", message, None


def password(_: Settings, kept: Stored) -> Answer:
    if kept.missing or not kept.administrators:
        return "see", kept.missing or "There is no administrator yet.", "See the item password before deployment."
    old = [each.name for each in kept.administrators if each.is_reminded]
    if old:
        mend = f"`claude-code-api admin set-password --name {shlex.quote(old[0])}` sets another."
        return "fail", f"Older than 90 days: {', '.join(old)}.", mend
    oldest = max(each.password_age.days for each in kept.administrators)
    return "pass", f"The oldest was set {oldest} days ago.", None


def key_usage(_: Settings, kept: Stored) -> Answer:
    if kept.missing:
        return "see", kept.missing, "`claude-code-api usage --by key` shows it, once there is some."
    unused = [key for key in kept.keys if key.is_unused]
    if unused:
        names = ", ".join(f"{key.name} ({key.id})" for key in unused[:5]) + (" …" if len(unused) > 5 else "")
        return "fail", f"Not used for 90 days: {names}.", f"`claude-code-api keys revoke {unused[0].id}` ends one."
    live = sum(key.is_live for key in kept.keys)
    return "pass", f"Each of the {live} keys is new, or was used within 90 days.", None


def advisories(_: Settings, __: Stored) -> Answer:
    program = shutil.which("pip-audit", path=os.pathsep.join([str(Path(sys.executable).parent), _path()]))
    command = [sys.executable, "-m", "pip_audit"] if find_spec("pip_audit") else [program] if program else []
    if not command:
        return (
            "see", "No program that knows of advisories is installed.",
            "`pip install pip-audit`, then run this again; and watch the advisories of this project's repository.",
        )  # fmt: skip
    how = "Run `pip-audit` by hand to see why."
    try:
        ran = subprocess.run(
            [*command, "--format", "json", "--progress-spinner", "off"],
            env=dict(environment.inherited()), capture_output=True, timeout=AUDIT_TIMEOUT, check=False,
        )  # fmt: skip
        found = json.loads(ran.stdout)["dependencies"]
        known = sorted({f"{each['name']} {fault['id']}" for each in found for fault in each.get("vulns", [])})
    except (OSError, subprocess.SubprocessError, ValueError, KeyError, TypeError):
        return "see", "pip-audit gave no answer; it asks a service on the network.", how
    if known:
        return "fail", f"Known faults: {', '.join(known)}.", "Install versions that mend them; `make lock` finds these."
    return "pass", f"None is known of {len(found)} packages.", None


def restore(settings: Settings, kept: Stored) -> Answer:
    if sqlite_file(settings.database) is None:
        return (
            "see",
            "The database is PostgreSQL.",
            "Restore the newest `pg_dump` on another machine (docs/operations.md).",
        )
    if kept.missing:
        return "see", kept.missing, "Start the gateway once, then run this again."
    backup, drill = _time_since(kept.backup), _time_since(kept.drill)
    made = f"The last backup was made {_ago(backup)}" if backup is not None else "No backup was ever made"
    tried = f"the last restore was tried {_ago(drill)}" if drill is not None else "no restore was ever tried"
    message = f"{made}; {tried}."
    if backup is None or backup > BACKED_UP_EVERY:
        return "fail", message, "`claude-code-api backup FILE`, each night."
    if drill is None or drill > DRILLED_EVERY:
        return "fail", message, "`claude-code-api restore FILE --check`, and the drill in docs/operations.md."
    return "pass", message, None


def access_logs(settings: Settings, kept: Stored) -> Answer:
    if settings.log_level in {"warning", "error"}:
        return "fail", f"At log_level {settings.log_level} no request is logged.", "Set log_level to info."
    where = "its standard error"
    if kept.server is not None:
        try:
            where = os.readlink(f"/proc/{kept.server}/fd/2")
        except OSError:  # it lets nobody look
            where = f"the standard error of process {kept.server}"
    if where == "/dev/null":
        return (
            "fail",
            "The log goes nowhere.",
            "Start the gateway with its standard error going to a file or a service.",
        )
    how = (
        "Look through lines with a status of 401, 403 and 429 or the level warning, "
        "and `claude-code-api audit list --since 7d`."
    )
    return "see", f"One line for each request goes to {where}.", how


def _time_since(entry: Entry | None) -> timedelta | None:
    return None if entry is None else datetime.now(UTC) - entry.at


def _ago(time: timedelta) -> str:
    return "today" if time.days == 0 else f"{time.days} days ago"


def _path() -> str:
    return environment.inherited().get("PATH", "")


CHECKS: Checks = {
    "updates": updates,
    "password": password,
    "key usage": key_usage,
    "advisories": advisories,
    "restore": restore,
    "access logs": access_logs,
}
