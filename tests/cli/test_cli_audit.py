"""`audit` as a person and a script use it."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

from sqlalchemy import delete
from structlog.testing import capture_logs

from claude_code_api.access import Access
from claude_code_api.settings import Settings
from claude_code_api.storage.tables import audit_entries


def keep(data_dir: Path, number: int = 3, *, without: int | None = None) -> None:
    async def entries() -> None:
        async with Access.open(Settings(data_dir=data_dir)) as access:
            for each in range(number):
                await access.audit.note("administrator anna", "key.created", f"key_{each}", name="x\x1b[31m")
            async with access.audit.change("nobody") as change:
                await change.connection.execute(delete(audit_entries).where(audit_entries.c.number == without))

    with capture_logs():
        asyncio.run(entries())


def test_what_was_done_is_listed(run: Any, data_dir: Path) -> None:
    keep(data_dir)
    shown = run("audit", "list", "--limit", "2")
    assert [line.split()[0] for line in shown.out.splitlines()] == ["No.", "2", "3"]
    assert "\x1b" not in shown.out, "no name can paint the terminal"
    (entry,) = run("audit", "list", "--json", "--since", "1h", "--target", "key_1").json
    assert (entry["number"], entry["actor"], entry["action"]) == (2, "administrator anna", "key.created")


def test_a_log_that_is_whole_is_proved(run: Any, data_dir: Path) -> None:
    keep(data_dir)
    shown = run("audit", "verify")
    assert (shown.status, shown.err) == (0, "")
    assert shown.out == "All 3 entries are as they were written, and none is missing.\n"


def test_a_missing_entry_is_named_on_one_line(run: Any, data_dir: Path) -> None:
    keep(data_dir, without=2)
    shown = run("audit", "verify")
    assert (shown.status, shown.out) == (1, "")
    assert shown.err == ("The audit log is broken: Entry 2 is missing.\n")
    told = run("audit", "verify", "--json")
    assert told.status == 1
    assert [fault["number"] for fault in json.loads(told.out)["faults"]] == [2]


def test_all_of_it_can_be_printed_for_a_sheet_or_a_script(run: Any, data_dir: Path) -> None:
    keep(data_dir)
    head, *rows = run("audit", "export", "--target", "key_1").out.splitlines()
    assert (head, len(rows)) == ("number,at,actor,action,target,details,code", 1)
    assert rows[0].startswith("2,")
    lines = run("audit", "export", "--json", "--actor", "administrator anna", "--action", "key", "--since", "1h").out
    assert [json.loads(line)["number"] for line in lines.splitlines()] == [1, 2, 3]
    assert "\x1b" not in lines
