"""The audit log as pages and files: every entry that fits, once, and nothing that a spreadsheet would run."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from claude_code_api.access import Access
from claude_code_api.audit import AuditLog, EntryFilter, listing
from claude_code_api.audit.listing import as_csv, as_json_lines
from claude_code_api.errors import InvalidRequest
from claude_code_api.settings import Settings
from claude_code_api.storage.pages import cursor_of

pytestmark = [pytest.mark.policy("L1"), pytest.mark.usefixtures("every_database")]


@pytest.fixture
async def audit(tmp_path: Path) -> AsyncIterator[AuditLog]:
    """Seven entries."""
    async with Access.open(Settings(data_dir=tmp_path / "data")) as access:
        for n in range(6):
            await access.audit.note("anna" if n % 2 else "bert", ("key.made", "keys")[n % 3 == 2], f"t{n % 3}", order=n)
        await access.audit.note("=cmd|' /C calc'!A0", "credential.added", None, name="@SUM(A1)")
        yield access.audit


async def numbers(audit: AuditLog, **wanted: Any) -> list[int]:
    page = await audit.page(EntryFilter(**wanted))
    assert page.next is None
    return [entry.number for entry in page.items]


async def test_the_newest_come_first_and_each_comes_once(audit: AuditLog) -> None:
    found: list[int] = []
    page = await audit.page(EntryFilter(), limit=3)
    while True:
        found += [entry.number for entry in page.items]
        await audit.note("carl", "thing.done")  # what comes meanwhile moves nothing
        if page.next is None:
            break
        page = await audit.page(EntryFilter(), limit=3, after=page.next)
    assert found == [7, 6, 5, 4, 3, 2, 1]


async def test_entries_are_filtered_by_who_what_whom_and_when(audit: AuditLog) -> None:
    entries = (await audit.page(EntryFilter())).items
    assert await numbers(audit, actor="anna") == [6, 4, 2]
    assert await numbers(audit, action="key") == [5, 4, 2, 1]
    assert await numbers(audit, action="key.made", actor="anna") == [4, 2]
    assert await numbers(audit, action="k%") == []
    assert await numbers(audit, target="t2") == [6, 3]
    third, sixth = entries[-3], entries[-6]
    assert await numbers(audit, since=third.at, until=sixth.at) == [5, 4, 3]
    assert await numbers(audit, since=datetime.now(UTC) + timedelta(hours=1)) == []


@pytest.mark.parametrize("cursor", ["x", cursor_of("a"), cursor_of(1, 2), cursor_of(None), cursor_of(2**63)])
async def test_a_wrong_cursor_or_size_is_told(audit: AuditLog, cursor: str) -> None:
    with pytest.raises(InvalidRequest) as failure:
        await audit.page(EntryFilter(), after=cursor)
    assert failure.value.code == "invalid_cursor"
    with pytest.raises(InvalidRequest):
        await audit.page(EntryFilter(), limit=1000)


async def test_a_file_of_json_lines_has_all_that_fit_oldest_first(
    audit: AuditLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listing, "AT_ONCE", 2)
    lines = [json.loads(line) async for line in as_json_lines(audit.every(EntryFilter(action="key")))]
    assert [line["number"] for line in lines] == [1, 2, 4, 5]
    entry = (await audit.page(EntryFilter(action="key"))).items[-1]
    assert lines[0] == {
        "number": 1, "at": entry.at.isoformat().replace("+00:00", "Z"), "actor": "bert", "action": "key.made",
        "target": "t0", "details": {"order": 0}, "code": entry.code.hex(),
    }  # fmt: skip


async def test_a_file_of_comma_separated_values_holds_no_formula(audit: AuditLog) -> None:
    text = "".join([line async for line in as_csv(audit.every(EntryFilter()))])
    head, *rows = list(csv.reader(io.StringIO(text)))
    assert head == ["number", "at", "actor", "action", "target", "details", "code"]
    assert len(rows) == 7
    assert rows[-1][2:6] == ["'=cmd|' /C calc'!A0", "credential.added", "", '{"name":"@SUM(A1)"}']
    assert not any(cell.startswith(("=", "+", "-", "@")) for row in rows for cell in row)
