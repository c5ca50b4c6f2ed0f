"""What is written down of a request, when, and what happens where it cannot be."""

from __future__ import annotations

import asyncio
import resource
import tracemalloc
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs
from tallying import FINISHED, count_in, lines_in, one_answer, recorded

from claude_code_api.conversation import Accepted, Finished, Started, TextDelta, Usage
from claude_code_api.errors import Overloaded, StorageFailure
from claude_code_api.settings import Settings, given_only
from claude_code_api.storage.database import Database
from claude_code_api.storage.tables import usage_hours, usage_records
from claude_code_api.usage import recorder as recorder_module
from claude_code_api.usage.recorder import Recorder, fold_left_over


@contextmanager
def full_disk() -> Iterator[None]:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.fixture
def own_settings(tmp_path: Path) -> Settings:
    return given_only(data_dir=tmp_path)


async def test_a_line_is_in_the_journal_before_the_end_of_an_answer_passes_on(
    own_settings: Settings, database: Database
) -> None:
    async with Recorder.open(own_settings, database) as recorder:
        with recorded(recorder) as tally:
            tally.ask("sonnet", "cred_a")
            for event in (Accepted(), Started("claude-sonnet-5-5"), TextDelta("Hi")):
                tally.read(event)
            assert lines_in(own_settings) == []
            tally.read(FINISHED)
            (line,) = lines_in(own_settings)
    assert (line.status, line.error, line.model, line.credential_id) == (200, None, "claude-sonnet-5-5", "cred_a")
    assert (line.input_tokens, line.output_tokens, line.cost) == (10, 2, 10 * 2000 + 2 * 10_000)
    assert line.first_token_ms is not None
    assert line.first_token_ms <= line.duration_ms


async def test_what_was_written_down_is_in_the_table_when_the_recorder_has_ended(
    own_settings: Settings, database: Database, rows: Any
) -> None:
    async with Recorder.open(own_settings, database) as recorder:
        for n in range(3):
            one_answer(recorder, f"req_{n}")
    assert [row["request_id"] for row in await rows(usage_records)] == ["req_0", "req_1", "req_2"]
    assert sorted(path.name for path in (own_settings.data_dir / "usage").iterdir()) == ["lock"]


async def test_many_lines_go_into_the_table_at_once_and_few_after_a_while(
    own_settings: Settings, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recorder_module, "INTERVAL", 3600)
    async with Recorder.open(own_settings, database) as recorder:
        for n in range(recorder_module.MANY):
            one_answer(recorder, f"req_{n}")
        async with asyncio.timeout(20):
            while await count_in(database) < recorder_module.MANY:
                await asyncio.sleep(0.01)
    monkeypatch.setattr(recorder_module, "INTERVAL", 0.01)
    async with Recorder.open(own_settings, database) as recorder:
        one_answer(recorder, "req_few")
        async with asyncio.timeout(20):
            while await count_in(database) == recorder_module.MANY:
                await asyncio.sleep(0.01)


@pytest.mark.parametrize(
    ("fault", "status", "code"),
    [
        (Overloaded("full"), 503, "overloaded"),
        (asyncio.CancelledError(), 499, "given_up"),
        (GeneratorExit(), 499, "given_up"),
        (ZeroDivisionError(), 500, "internal_error"),
        (None, 500, "internal_error"),
    ],
)
async def test_a_request_that_has_no_whole_answer_is_written_down_with_what_is_known(
    own_settings: Settings, database: Database, rows: Any, fault: BaseException | None, status: int, code: str
) -> None:
    async with Recorder.open(own_settings, database) as recorder:
        with suppress(*([type(fault)] if fault else [])), recorded(recorder) as tally:
            tally.ask("opus", "cred_a")
            tally.read(Started("claude-opus-5-5", Usage(input_tokens=7, cache_read_input_tokens=5)))
            if fault:
                raise fault
    (row,) = await rows(usage_records)
    assert (row["status"], row["error"], row["first_token_ms"]) == (status, code, None)
    assert (row["input_tokens"], row["cache_read_tokens"], row["cost"]) == (7, 5, 7 * 4000 + 5 * 200)


async def test_what_ends_a_request_after_its_whole_answer_changes_nothing(
    own_settings: Settings, database: Database, rows: Any
) -> None:
    async with Recorder.open(own_settings, database) as recorder:
        with suppress(asyncio.CancelledError), recorded(recorder) as tally:
            tally.read(FINISHED)
            raise asyncio.CancelledError
    assert [row["status"] for row in await rows(usage_records)] == [200]


async def test_numbers_that_cannot_be_break_no_sum(own_settings: Settings, database: Database, rows: Any) -> None:
    async with Recorder.open(own_settings, database) as recorder:
        with recorded(recorder) as tally:
            tally.read(Started("claude-opus-4-1"))
            usage = Usage(input_tokens=10**30, output_tokens=-4, reasoning_tokens=None)
            tally.read(Finished(stop_reason="end_turn", usage=usage))
    (row,) = await rows(usage_records)
    assert (row["input_tokens"], row["output_tokens"], row["reasoning_tokens"]) == (10**12, 0, 0)
    assert row["cost"] == 15_000 * 10**12
    assert len(await rows(usage_hours)) == 1


@pytest.mark.parametrize("asked", ["sonnet; drop", "claude-anna@example.com", "x" * 5000])
async def test_a_name_of_a_model_that_nobody_knows_is_not_kept(
    own_settings: Settings, database: Database, rows: Any, asked: str
) -> None:
    async with Recorder.open(own_settings, database) as recorder:
        with suppress(Overloaded), recorded(recorder) as tally:
            tally.ask(asked, "cred_a")
            raise Overloaded("no")
    assert [row["model"] for row in await rows(usage_records)] == [""]


# --- where it cannot be written -------------------------------------------------------------------------


async def test_on_a_full_disk_answers_go_on_and_are_written_down_later(
    own_settings: Settings, database: Database, rows: Any
) -> None:
    async with Recorder.open(own_settings, database) as recorder:
        with capture_logs() as logs, full_disk():
            for n in range(3):
                one_answer(recorder, f"req_{n}")
    assert [(line["log_level"], line["alert"], line["requests"]) for line in logs] == [
        ("error", "usage_not_recorded", "answered")
    ]
    assert [row["request_id"] for row in await rows(usage_records)] == ["req_0", "req_1", "req_2"]


async def test_on_a_full_disk_nothing_is_answered_where_the_setting_says_so(
    own_settings: Settings, database: Database, rows: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recorder_module, "INTERVAL", 0.01)
    refusing = own_settings.model_copy(update={"usage_failure": "refuse"})
    async with Recorder.open(refusing, database) as recorder:
        with capture_logs(), full_disk():
            for request in ("req_0", "req_1"):  # the first one is in mid-answer: it does not end as a whole one
                with pytest.raises(Overloaded) as refused:
                    one_answer(recorder, request)
                assert refused.value.code == "usage_not_recorded"
        async with asyncio.timeout(20):  # and it goes on by itself when there is room
            while True:
                try:
                    one_answer(recorder, "req_2")
                    break
                except Overloaded:
                    await asyncio.sleep(0.01)
    kept = {row["request_id"]: (row["status"], row["output_tokens"]) for row in await rows(usage_records)}
    assert kept == {"req_0": (503, 2), "req_2": (200, 2)}


async def test_what_is_held_while_the_disk_is_full_is_bounded_and_what_is_lost_is_told(
    own_settings: Settings, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recorder_module, "HELD", 10)
    with capture_logs() as logs:
        async with Recorder.open(own_settings, database) as recorder:
            with full_disk():
                for n in range(25):
                    one_answer(recorder, f"req_{n}")
    assert await count_in(database) == 10
    assert [line["lost"] for line in logs if "lost" in line] == [15]


async def test_a_database_that_fails_keeps_nobody_waiting_and_gets_it_all_later(
    own_settings: Settings, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recorder_module, "INTERVAL", 0.01)
    real, tried = recorder_module.fold, asyncio.Event()

    async def failing(*_: Any) -> None:
        tried.set()
        raise StorageFailure("The database is locked.")

    monkeypatch.setattr(recorder_module, "fold", failing)
    with capture_logs() as logs:
        async with Recorder.open(own_settings, database) as recorder:
            for n in range(5):
                one_answer(recorder, f"req_{n}")
                tried.clear()
                await tried.wait()
            assert len([line for line in logs if line.get("alert") == "usage_not_folded"]) == 1
            monkeypatch.setattr(recorder_module, "fold", real)
    assert await count_in(database) == 5


async def test_what_cannot_be_folded_at_the_end_waits_for_the_next_start(
    own_settings: Settings, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = recorder_module.fold

    async def failing(*_: Any) -> None:
        raise StorageFailure("The database is locked.")

    monkeypatch.setattr(recorder_module, "fold", failing)
    async with Recorder.open(own_settings, database) as recorder:
        one_answer(recorder, "req_0")
    assert await count_in(database) == 0
    monkeypatch.setattr(recorder_module, "fold", real)
    async with Recorder.open(own_settings, database):
        pass
    assert await count_in(database) == 1


async def test_a_command_takes_over_what_is_left_and_nothing_that_a_server_writes(
    own_settings: Settings, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recorder_module, "INTERVAL", 3600)
    async with Recorder.open(own_settings, database) as recorder:
        one_answer(recorder, "req_0")
        await fold_left_over(own_settings, database)
        assert await count_in(database) == 0
        assert len(lines_in(own_settings)) == 1


async def test_memory_does_not_grow_with_the_number_of_requests(
    own_settings: Settings, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recorder_module, "INTERVAL", 3600)
    monkeypatch.setattr(recorder_module, "MANY", 10**9)

    async with Recorder.open(own_settings, database) as recorder:
        one_answer(recorder, "req_warm")
        tracemalloc.start()
        before, _ = tracemalloc.get_traced_memory()
        for n in range(2000):
            one_answer(recorder, f"req_{n}")
        after, _ = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    assert after - before < 50_000
    assert await count_in(database) == 2001
