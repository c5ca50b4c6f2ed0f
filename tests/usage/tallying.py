"""Requests as a gateway has them recorded, and what became of them."""

from __future__ import annotations

from contextlib import AbstractContextManager

from sqlalchemy import func, select

from claude_code_api.conversation import Accepted, Finished, Started, TextDelta, Usage
from claude_code_api.settings import Settings
from claude_code_api.storage.database import Database
from claude_code_api.storage.tables import usage_records
from claude_code_api.usage.journal import decode
from claude_code_api.usage.record import Record, Tally
from claude_code_api.usage.recorder import Recorder

FINISHED = Finished(stop_reason="end_turn", usage=Usage(input_tokens=10, output_tokens=2))


def recorded(recorder: Recorder, request_id: str = "req_1") -> AbstractContextManager[Tally]:
    return recorder.recording(key_id="key_a", request_id=request_id, endpoint="/v1/chat/completions", stream=True)


def one_answer(recorder: Recorder, request_id: str) -> None:
    with recorded(recorder, request_id) as tally:
        tally.ask("claude-haiku-4-5", "cred_a")
        for event in (Accepted(), Started("claude-haiku-4-5"), TextDelta("Hi"), FINISHED):
            tally.read(event)


def lines_in(settings: Settings) -> list[Record]:
    """What the journal holds now."""
    found = []
    for path in (settings.data_dir / "usage").glob("*.journal"):
        for line in path.read_bytes().splitlines(keepends=True):
            record = decode(line)
            assert record
            found.append(record)
    return found


async def count_in(database: Database) -> int:
    async with database.read() as connection:
        return int(await connection.scalar(select(func.count()).select_from(usage_records)) or 0)
